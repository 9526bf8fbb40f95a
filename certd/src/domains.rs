//! One look at one domain: records, certificate, edges; then the facts and the time of the next look.

use std::time::Duration;

use model::certificate::CertificateSource;
use model::domain::{
    Authority, Certification, Claim, Contest, DomainStatus, Facts, Health, Presence, Routing,
};
use model::id::{AppId, CertificateId, DomainId, TenantId};
use model::{HostPattern, Timestamp};
use store::{
    Access, Actor, CertificateRecord, DomainRecord, NewCertificate, NewOrder, Order, OrderState, Shown,
    StoreError, Urgency,
};
use tokio::time::{Instant, sleep};

use crate::facts::Look;
use crate::work::Work;
use crate::{CertdError, dns, edges, facts, renewal, rhythm};

/// How long a look waits for the edges to show a certificate that was just made.
const SHOW: Duration = Duration::from_secs(1);
/// Time between two handshakes while waiting.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);
/// How long before its end an uploaded certificate is covered by one of ours, at most: its owner had time.
const UPLOAD_COVER: Duration = Duration::from_secs(3 * 24 * 3600);
/// Shortest and longest wait for the next look while a renewal is due; between them, a tenth of what is left.
const OVERDUE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// A turn with an authority that is further away is told to who waits for it.
const TURN: Duration = Duration::from_secs(60);
/// How often a look that somebody else overtook is taken again at once.
const TRIES: u32 = 5;

/// Whether a certificate is renewed that is not due yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    WhenDue,
    Now,
}

/// Whom a certificate is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) app: Option<AppId>,
}

/// How far a moment is away, for who is told.
pub(crate) fn seconds_until(next: Timestamp, now: Timestamp) -> u32 {
    u32::try_from(next.since(now).as_secs()).unwrap_or(u32::MAX)
}

impl Work {
    /// Looks at a domain whose look is due, or puts it off: its servers were asked a lot just now, and nobody waits.
    pub(crate) async fn check_in_turn(&self, domain: &DomainRecord) -> Result<(), CertdError> {
        let now = self.store.now();
        if domain.was_live && domain.status == DomainStatus::Live {
            let turn = self.pace.turn(domain.id, &domain.facts.authority.servers, now);
            if turn > now {
                return Ok(self.store.put_domain_check_off(domain, turn).await?);
            }
        }
        self.check(domain, Renewal::WhenDue).await
    }

    /// Looks at a domain and writes down what was found.
    pub(crate) async fn check(&self, domain: &DomainRecord, renewal: Renewal) -> Result<(), CertdError> {
        if domain.facts.claim == Claim::Contested {
            return self.check_claim(domain).await;
        }
        let (mut look, mut domain) = (self.look(domain).await, domain.clone());
        look.is_covered = self.is_covered(&domain, look.claim).await?;
        let stays_good = domain.was_live && !look.is_covered;
        if let (Some(Contest::Challenged { .. }), Shown::Everywhere) = (domain.facts.contest, look.text) {
            domain = self.store.refute_contest(domain.id, &domain.target.proof).await?;
            tracing::info!(host = %domain.host, domain = %domain.id, "its holder proved a contested domain again");
        }
        let here = facts::may_order(&domain.facts, stays_good, look.claim, &look.routing);
        let mut held = self.certificate_of(&domain).await?;
        if here && (renewal == Renewal::Now || self.wants(held.as_ref())) {
            look = self.ask_permission(&domain, look).await?;
            let still = facts::may_order(&domain.facts, stays_good, look.claim, &look.routing);
            if still && look.forbidden.is_none() && look.unprovable.is_none() {
                domain = self.note_proof(domain, &look, held.as_ref()).await?;
                self.begin(&domain, held.as_ref()).await?;
                held = self.certificate_of(&domain).await?;
            }
        }
        look.certification = self.certification(&domain, held.as_ref()).await?;
        let found = facts::after(&domain.facts, domain.was_live, look.clone(), self.store.now());
        let domain = self.record(&domain, found, held.as_ref()).await?;
        match held {
            Some(held) if here && domain.facts.presence == Presence::Absent => {
                let presence = Some(self.presence(&domain, &held).await?);
                let look = Look { presence, ..look };
                let found = facts::after(&domain.facts, domain.was_live, look, self.store.now());
                self.record(&domain, found, Some(&held)).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether the name lies below another tenant's wildcard, and no proof shows that it is this domain's still.
    pub(crate) async fn is_covered(&self, domain: &DomainRecord, claim: Claim) -> Result<bool, StoreError> {
        Ok(claim != Claim::Proved && self.store.is_below_anothers(domain).await?)
    }

    /// The certificate that serves the domain. One of another account counts for nothing, and neither does a creator's
    /// wildcard for a name below it, which may be another app's: it goes with its own.
    pub(crate) async fn certificate_of(
        &self,
        domain: &DomainRecord,
    ) -> Result<Option<CertificateRecord>, StoreError> {
        let held = self.store.active_certificate_for(&domain.host).await?;
        let is_own =
            |held: &CertificateRecord, tenant| tenant == domain.tenant && held.names.contains(&domain.host);
        Ok(held.filter(|held| held.tenant.is_none_or(|tenant| is_own(held, tenant))))
    }

    /// Writes the proof down before an order is begun: the store keeps certificates of proved domains only, and an
    /// order that ends before this look does would lose its certificate.
    async fn note_proof(
        &self,
        domain: DomainRecord,
        look: &Look,
        held: Option<&CertificateRecord>,
    ) -> Result<DomainRecord, StoreError> {
        if domain.facts.claim == Claim::Proved {
            return Ok(domain);
        }
        let certification = match held {
            Some(held) => Certification::Ready { not_after: held.not_after },
            None => Certification::Ordering,
        };
        let look = Look { certification, ..look.clone() };
        let found = facts::after(&domain.facts, domain.was_live, look, self.store.now());
        self.record(&domain, found, held).await
    }

    /// What the domain's records and its name servers say.
    async fn look(&self, domain: &DomainRecord) -> Look {
        let seen = dns::observe(self.lookup.as_ref(), &domain.target).await;
        let found = dns::understand(&seen, &self.providers, &domain.target);
        Look {
            text: dns::shown(&seen, &domain.target.proof),
            claim: found.claim,
            routing: found.routing,
            authority: found.authority,
            certification: Certification::None,
            forbidden: None,
            unprovable: None,
            is_covered: false,
            remembered: found.remembered,
            presence: None,
        }
    }

    /// Whether the domain lets one of our authorities make its certificate, and can be proved to it. Records that cannot be
    /// told forbid it, as they do at the authority.
    async fn ask_permission(&self, domain: &DomainRecord, look: Look) -> Result<Look, StoreError> {
        let look = Look { unprovable: self.unprovable(domain).await?, ..look };
        Ok(match self.forbidden(domain).await {
            Ok(forbidden) => Look { forbidden: forbidden?, ..look },
            Err(error) => Look {
                routing: Routing::Broken { reason: error.to_string() },
                authority: Authority { health: Health::Failing, ..look.authority },
                ..look
            },
        })
    }

    /// Sets the renewal of `held` going, for each of these domains that it serves: with the first one that is renewed it may
    /// serve none of them any more.
    pub(crate) async fn renew_for(&self, held: CertificateId, domains: Vec<DomainRecord>, renewal: Renewal) {
        for domain in domains {
            match self.certificate_of(&domain).await {
                Ok(Some(serving)) if serving.id == held => self.check_again(domain.id, renewal).await,
                Ok(_) => {}
                Err(error) => tracing::warn!(host = %domain.host, %error, "a renewal could not be set going"),
            }
        }
    }

    /// Looks at a domain after something changed, even if another look is under way.
    pub(crate) async fn check_again(&self, id: DomainId, renewal: Renewal) {
        for _ in 0..TRIES {
            let checked = match self.store.domain(Access::Platform, id).await {
                Ok(domain) => self.check(&domain, renewal).await,
                Err(error) => Err(error.into()),
            };
            match checked {
                Err(CertdError::Store(StoreError::Stale { .. })) => {}
                Ok(()) | Err(CertdError::Store(StoreError::NotFound { .. })) => return,
                Err(error) => return tracing::warn!(domain = %id, %error, "domain could not be checked"),
            }
        }
    }

    async fn record(
        &self,
        domain: &DomainRecord,
        found: Facts,
        held: Option<&CertificateRecord>,
    ) -> Result<DomainRecord, StoreError> {
        let uploaded = held.filter(|held| held.source == CertificateSource::Upload);
        let mut found = Facts { uploaded_until: uploaded.map(|held| held.not_after), ..found };
        let next = self.next_check_at(domain, &found, held);
        found.look_every_seconds = Some(seconds_until(next, self.store.now()));
        let recorded = self.store.record_domain_check(domain.id, domain.version, found, next).await?;
        if recorded.status != domain.status {
            let (from, to) = (domain.status.as_str(), recorded.status.as_str());
            tracing::info!(host = %domain.host, domain = %domain.id, from, to, "domain changed");
        }
        Ok(recorded)
    }

    /// When to look again; writes down how often that is for now.
    fn next_check_at(
        &self,
        domain: &DomainRecord,
        found: &Facts,
        held: Option<&CertificateRecord>,
    ) -> Timestamp {
        let now = self.store.now();
        let deploying = held.filter(|_| found.presence == Presence::Absent).map(|held| held.created_at);
        let since = found.away_since.or(deploying).unwrap_or(domain.created_at);
        let next = rhythm::next_check_at(found, since, now, rand::random());
        let next = rhythm::watched(next, domain.watched_until, now);
        match held {
            Some(held) if facts::may_order(found, domain.was_live, found.claim, &found.routing) => {
                let overdue = (held.not_after.since(now) / 10).clamp(OVERDUE.0, OVERDUE.1);
                next.min(if self.wants(Some(held)) { now.plus(overdue) } else { self.due_at(held) })
            }
            _ => next,
        }
    }

    /// Whether a name that is held by `held` needs another certificate now.
    pub(crate) fn wants(&self, held: Option<&CertificateRecord>) -> bool {
        held.is_none_or(|held| {
            let private = held.source == CertificateSource::LocalCa && held.tenant.is_some();
            (private && self.is_public()) || self.due_at(held) <= self.store.now()
        })
    }

    pub(crate) fn due_at(&self, held: &CertificateRecord) -> Timestamp {
        match held.source {
            CertificateSource::Upload => {
                let lifetime = held.not_after.since(held.not_before);
                held.not_after.minus(UPLOAD_COVER.min(lifetime / 10))
            }
            CertificateSource::LocalCa | CertificateSource::Acme => renewal::due_at(held),
        }
    }

    /// Begins an order, or lets the local authority sign where no other is configured.
    async fn begin(&self, domain: &DomainRecord, held: Option<&CertificateRecord>) -> Result<(), CertdError> {
        let beside = self.beside(domain).await?;
        let hosts = std::iter::once(&domain.host).chain(beside.as_ref().map(|beside| &beside.host));
        let names: Vec<_> = hosts.cloned().collect();
        if !self.is_public() {
            let owner = Owner { tenant: Some(domain.tenant), app: Some(domain.app) };
            return self.sign_locally(&names, owner).await;
        }
        let order = NewOrder {
            urgency: self.urgency(held, beside.as_ref()).await?,
            host: domain.host.clone(),
            names,
            tenant: Some(domain.tenant),
            app: Some(domain.app),
            domain: Some(domain.id),
        };
        if self.store.begin_order_after(order, held.map(|held| held.id)).await?.is_some() {
            tracing::info!(host = %domain.host, domain = %domain.id, "order was begun");
        }
        Ok(())
    }

    /// How much an order hurries: as much as the one of its names that hurries more.
    async fn urgency(
        &self,
        held: Option<&CertificateRecord>,
        beside: Option<&DomainRecord>,
    ) -> Result<Urgency, StoreError> {
        let own = renewal::urgency(held, self.store.now());
        let Some(beside) = beside else { return Ok(own) };
        let others = self.certificate_of(beside).await?;
        Ok(own.min(renewal::urgency(others.as_ref(), self.store.now())))
    }

    /// A new certificate of the local authority, in the store when this returns.
    pub(crate) async fn sign_locally(&self, names: &[HostPattern], owner: Owner) -> Result<(), CertdError> {
        let new = self.signed_locally(names, owner)?;
        self.store.insert_certificate(&Actor::system("certd"), new).await?;
        Ok(())
    }

    /// A new certificate of the local authority, in nobody's hands yet.
    pub(crate) fn signed_locally(
        &self,
        names: &[HostPattern],
        owner: Owner,
    ) -> Result<NewCertificate, CertdError> {
        let now = self.store.now();
        let found = self.local.issue(names, self.settings.local_lifetime, now)?;
        let id = CertificateId::generate(now);
        let key = self.sealed(id, &found)?;
        Ok(NewCertificate {
            id,
            tenant: owner.tenant,
            app: owner.app,
            source: CertificateSource::LocalCa,
            authority: None,
            issuer: found.issuer,
            serial: found.serial,
            names: found.names,
            chain_pem: found.chain_pem,
            key,
            not_before: found.not_before,
            not_after: found.not_after,
        })
    }

    /// A valid certificate counts, whatever becomes of its renewal.
    async fn certification(
        &self,
        domain: &DomainRecord,
        held: Option<&CertificateRecord>,
    ) -> Result<Certification, StoreError> {
        if let Some(held) = held {
            return Ok(Certification::Ready { not_after: held.not_after });
        }
        let order = self.store.latest_order(&domain.host).await?;
        let soon = self.store.now().plus(TURN);
        Ok(match order.filter(|order| order.state == OrderState::Open) {
            None => Certification::None,
            // No failure, but nothing happens before that: whoever waits is told until when.
            Some(Order { slot_at: Some(turn), error, .. }) if turn > soon => {
                Certification::Failing { reason: error.unwrap_or_default(), retry_at: turn }
            }
            Some(order) => match order.error {
                Some(reason) if order.attempts > 0 => {
                    Certification::Failing { reason, retry_at: order.next_at }
                }
                _ => Certification::Ordering,
            },
        })
    }

    /// Whether the edges show `held`. Without an address to shake hands with, their word is taken for it.
    async fn presence(
        &self,
        domain: &DomainRecord,
        held: &CertificateRecord,
    ) -> Result<Presence, StoreError> {
        let end = Instant::now() + SHOW;
        let told = edges::wait(&self.store, self.store.head().await?, SHOW).await?;
        let Some(probe) = &self.probe else {
            return Ok(if told { Presence::Verified } else { Presence::Absent });
        };
        let name = dns::sample(&domain.host);
        loop {
            if probe.serial(&name).await.as_deref() == Some(held.serial.as_str()) {
                return Ok(Presence::Verified);
            }
            if Instant::now() >= end {
                return Ok(Presence::Absent);
            }
            sleep(SHOW_INTERVAL).await;
        }
    }
}
