//! Working off one order: lease, protocol, certificate into the store, and what becomes of a failure.

mod beside;
mod journal;
mod left;

use std::convert::Infallible;
use std::time::Duration;

use model::Timestamp;
use model::acme::Challenge;
use model::certificate::{Certificate, CertificateSource};
use model::chain::Inspected;
use model::domain::Routing;
use model::id::{CertificateId, OrderId};
use store::{
    Access, Actor, DomainRecord, NewCertificate, Order, OrderPatch, OrderState, StoreError, ZoneText,
};
use tokio::sync::watch;

use crate::acme::{self, AcmeError, Authority, Journal};
use crate::adapters::{self, NameError, Proof, ProofError, Proofs};
use crate::authorities::{LEAST, Predecessor};
use crate::caa::Candidate;
use crate::delegation::Places;
use crate::domains::Renewal;
use crate::work::Work;
use crate::{dns, facts, renewal};

/// How long one attempt may take in all.
const ATTEMPT: Duration = Duration::from_secs(240);
/// How long an order waits for others at the same authority before it goes back into the line.
const IN_LANE: Duration = Duration::from_secs(30);

impl Work {
    /// Makes one attempt at an order. Gives the order up for now when `shutdown` becomes true.
    pub(crate) async fn work_off(&self, id: OrderId, mut shutdown: watch::Receiver<bool>) {
        let mut memory = match self.lease(id).await {
            Ok(memory) => memory,
            // Somebody else was quicker, or the store is away: it stays due.
            Err(error) => return tracing::debug!(order = %id, %error, "order is not ours"),
        };
        let domains = memory.domains();
        let attempt = tokio::time::timeout(ATTEMPT, self.attempt(&mut memory));
        let outcome = tokio::select! {
            outcome = attempt => Some(outcome.unwrap_or_else(|_| Err(too_slow()))),
            () = told(&mut shutdown) => None,
            never = self.keep_lease(id) => match never {},
        };
        match outcome {
            // Texts are taken out of the DNS, which may take longer than a lease too.
            Some(outcome) => tokio::select! {
                () = self.conclude(memory, outcome) => {}
                never = self.keep_lease(id) => match never {},
            },
            None => return memory.release().await,
        }
        for domain in domains {
            self.check_again(domain, Renewal::WhenDue).await;
        }
    }

    /// Gives signs of life for as long as it is polled: a single request may take longer than a lease.
    async fn keep_lease(&self, id: OrderId) -> Infallible {
        loop {
            tokio::time::sleep(self.settings.lease / 3).await;
            if let Err(error) = self.store.extend_lease(id, &self.owner, self.settings.lease).await {
                tracing::debug!(order = %id, %error, "no sign of life was given");
            }
        }
    }

    async fn lease(&self, id: OrderId) -> Result<Memory<'_>, AcmeError> {
        let order = self.store.lease_order(id, &self.owner, self.settings.lease).await?;
        let predecessor = self.predecessor(&order).await?;
        let other = self.other_of(&order).await?;
        Ok(Memory {
            work: self,
            order,
            other,
            predecessor,
            places: Places::default(),
            candidates: Vec::new(),
            chosen: None,
            put: Vec::new(),
            proofs: Vec::new(),
        })
    }

    /// One attempt with the authority that is to be asked now.
    async fn attempt<'a>(&'a self, memory: &mut Memory<'a>) -> Result<(), AcmeError> {
        let authority = memory.choose().await?.authority;
        memory.go_to(authority).await?;
        let Some(_place) = authority.lane().enter(self.settings.orders_per_second, IN_LANE).await else {
            return Err(AcmeError::Spent { until: self.store.now().plus(LEAST) });
        };
        let outcome = self.certify_by(authority, memory).await;
        self.note_health(authority, &outcome).await?;
        if let Err(AcmeError::Limited { reason, retry_at }) = &outcome {
            let until = retry_at.unwrap_or_else(|| self.store.now().plus(acme::LIMITED));
            self.note_limit(authority, &memory.order, (reason, until)).await?;
        }
        if let Err(AcmeError::Validation { host, .. }) = &outcome {
            let failed = authority.limits().failure(host);
            if let Err(error) = self.store.draw_budget(authority.name(), &failed).await {
                tracing::warn!(%error, "a failed check was not counted");
            }
        }
        outcome
    }

    /// The certificate of the order, in the store when this returns.
    async fn certify_by(&self, authority: &Authority, memory: &mut Memory<'_>) -> Result<(), AcmeError> {
        match self.store.certificate(Access::Platform, memory.order.certificate).await {
            // A crash came between keeping the certificate and writing down that it is kept.
            Ok(_) => return Ok(()),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let found = acme::complete(authority, memory).await?;
        // Once the certificate is kept nobody looks for the answers any more: a crash must not leave them behind.
        memory.drop_challenges().await?;
        let order = &memory.order;
        let key = self.sealed(order.certificate, &found)?;
        let new = NewCertificate {
            id: order.certificate,
            tenant: order.tenant,
            app: order.app,
            source: CertificateSource::Acme,
            authority: Some(authority.name().to_owned()),
            issuer: found.issuer,
            serial: found.serial,
            names: found.names,
            chain_pem: found.chain_pem,
            key,
            not_before: found.not_before,
            not_after: found.not_after,
        };
        // A name that another account still has is served with it from the moment on at which the name moves.
        if let Some(domain) = order.domain
            && self.store.prepare_contest(domain, &new).await?
        {
            return Ok(());
        }
        self.store.insert_certificate(&Actor::system("certd"), new).await?;
        Ok(())
    }

    pub(crate) fn sealed(
        &self,
        id: CertificateId,
        found: &Inspected,
    ) -> Result<model::seal::Sealed, model::seal::SealError> {
        self.sealing.seal(&Certificate::key_context(id), &found.key_der)
    }

    /// Writes down how the attempt ended. What cannot be written down is tried again when the lease is over.
    async fn conclude(&self, mut memory: Memory<'_>, outcome: Result<(), AcmeError>) {
        let host = memory.order.host.clone();
        if let Err(error) = &outcome {
            match memory.go_on_alone(error).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    return tracing::warn!(%host, %error, "the end of an attempt was not written down");
                }
            }
        }
        let written = match outcome {
            Ok(()) => {
                tracing::info!(%host, order = %memory.order.id, "certificate is in the store");
                memory.end(OrderState::Done, None).await
            }
            Err(AcmeError::Fenced) => return tracing::info!(%host, "order was taken over or taken away"),
            Err(error @ AcmeError::Forbidden { .. }) if memory.order.domain.is_some() => {
                tracing::info!(%host, %error, "order was given up");
                memory.end(OrderState::Failed, Some(error.to_string())).await
            }
            Err(error @ (AcmeError::NotHere { .. } | AcmeError::Store(StoreError::NotFound { .. }))) => {
                tracing::info!(%host, %error, "order was given up");
                memory.end(OrderState::Failed, Some(error.to_string())).await
            }
            Err(error) => self.postpone(&mut memory, error).await,
        };
        if let Err(error) = written {
            tracing::warn!(%host, %error, "the end of an attempt was not written down");
        }
    }

    async fn postpone(&self, memory: &mut Memory<'_>, error: AcmeError) -> Result<(), AcmeError> {
        if let (AcmeError::UnknownAccount(reason), Some(chosen)) = (&error, memory.chosen) {
            chosen.authority.forget(reason).await?;
            memory.forget().await?;
        }
        if let AcmeError::Spent { until } = error {
            // No failure: its turn is still to come.
            tracing::info!(host = %memory.order.host, %until, "the order waits for the authority's limits");
            let error = Some(Some(error.to_string()));
            return memory.patch(OrderPatch { next_at: Some(until), error, ..OrderPatch::default() }).await;
        }
        // An authority that is away may still come for the answers that it was promised.
        let is_away = matches!(
            error,
            AcmeError::Busy { .. } | AcmeError::Limited { .. } | AcmeError::Unfinished { .. }
        );
        if !is_away {
            memory.drop_challenges().await?;
        }
        let attempts = memory.order.attempts.saturating_add(1);
        let retry_at = acme::next_at(&error, attempts, self.store.now(), rand::random());
        let retry_at = memory.hurried(&error, retry_at).await?;
        let retry_at = match &error {
            AcmeError::Busy { retry_at: None, .. } | AcmeError::Unfinished { .. } => {
                renewal::hurried(retry_at, memory.predecessor.held.as_ref(), self.store.now())
            }
            _ => retry_at,
        };
        tracing::warn!(host = %memory.order.host, %error, attempts, %retry_at, "order failed");
        let mut patch = OrderPatch {
            attempts: Some(attempts),
            next_at: Some(retry_at),
            error: Some(Some(error.to_string())),
            ..OrderPatch::default()
        };
        // It fell with its check. Until here its address says so to whoever goes on after a crash.
        if matches!(error, AcmeError::Validation { .. }) {
            (patch.order_url, patch.key) = (Some(None), Some(None));
        }
        memory.patch(patch).await
    }
}

async fn told(shutdown: &mut watch::Receiver<bool>) {
    let _ended = shutdown.wait_for(|stop| *stop).await;
}

fn too_slow() -> AcmeError {
    AcmeError::Busy { reason: format!("no certificate within {} s", ATTEMPT.as_secs()), retry_at: None }
}

/// The memory of an order in the store, held by a lease.
struct Memory<'a> {
    work: &'a Work,
    order: Order,
    /// The domain whose name stands beside the order's own.
    other: Option<DomainRecord>,
    predecessor: Predecessor,
    /// Where in our zone the names are proved.
    places: Places,
    /// Where this attempt may go.
    candidates: Vec<Candidate<'a>>,
    /// Where it goes.
    chosen: Option<Candidate<'a>>,
    /// Answers that were given to the edges in this attempt.
    put: Vec<model::acme::Token>,
    /// Texts that were written into the DNS in this attempt.
    proofs: Vec<Proof>,
}

impl<'a> Memory<'a> {
    /// The authority that is to be asked now. One that has not told yet who it is does so first: the records may not
    /// allow it.
    async fn choose(&mut self) -> Result<Candidate<'a>, AcmeError> {
        self.places = self.work.places(&self.order).await?;
        self.agree_on_way().await?;
        loop {
            self.candidates = match self.work.candidates(&self.order, &self.places).await {
                Err(error) if self.part_over(&error).await? => continue,
                found => found?,
            };
            let chosen = self.work.choose(&self.candidates, &self.order, &self.predecessor).await?;
            self.chosen = Some(chosen);
            if chosen.authority.caa_identities().is_some() {
                return Ok(chosen);
            }
            if let Err(error) = chosen.authority.directory().await {
                let outcome = Err(error);
                self.work.note_health(chosen.authority, &outcome).await?;
                outcome?;
            }
        }
    }

    /// When an order that failed is tried again, if that is before `retry_at`: it goes to the next authority when its
    /// patience with this one is over, and not when this one may be back.
    async fn hurried(&mut self, error: &AcmeError, retry_at: Timestamp) -> Result<Timestamp, AcmeError> {
        let (work, has_others) = (self.work, self.candidates.len() > 1);
        let soon = work.store.now().plus(LEAST);
        Ok(match (error, self.chosen) {
            (AcmeError::Unfinished { .. }, Some(chosen))
                if work.is_overdue(&self.order, &self.predecessor) =>
            {
                tracing::warn!(host = %self.order.host, url = self.order.order_url, "order is placed anew");
                // It may wait for one of two names.
                if self.order.beside().is_some() {
                    self.order = work.store.part_order(&self.order).await?;
                } else {
                    self.forget().await?;
                }
                if has_others {
                    work.stay_away(chosen.authority, &self.order).await?;
                }
                soon
            }
            (AcmeError::Unfinished { .. }, _) => {
                let overdue_at = work.overdue_at(&self.order, &self.predecessor);
                let gives_up_at = work.gives_up_at(&self.candidates, &self.order, &self.predecessor).await?;
                retry_at.min(overdue_at).min(if has_others { gives_up_at } else { overdue_at }).max(soon)
            }
            (AcmeError::Busy { .. }, _) if has_others => {
                retry_at.min(work.gives_up_at(&self.candidates, &self.order, &self.predecessor).await?)
            }
            (AcmeError::Limited { .. }, _)
                if has_others
                    && self.order.order_url.is_none()
                    && work.goes_elsewhere(&self.predecessor, retry_at) =>
            {
                soon
            }
            _ => retry_at,
        })
    }

    async fn patch(&mut self, patch: OrderPatch) -> Result<(), AcmeError> {
        self.order = self.work.store.update_order(self.order.id, self.order.fence, patch).await?;
        Ok(())
    }

    fn authority(&self) -> Result<&'a Authority, AcmeError> {
        let chosen = self.chosen.ok_or_else(|| AcmeError::Refused("no authority was chosen".to_owned()))?;
        Ok(chosen.authority)
    }

    /// Until when the authority has said that there is nothing more; not all who wait come back in the same moment.
    async fn stopped_until(&self) -> Result<Timestamp, AcmeError> {
        let (authority, now) = (self.authority()?, self.work.store.now());
        let stops = self.work.stops(authority, &self.order, &self.predecessor);
        let until = self.work.store.budget_free_at(authority.name(), &stops).await?;
        Ok(now.plus(until.since(now).mul_f64(1.0 + 0.1 * rand::random::<f64>())))
    }

    /// Leaves the authority that the order was with, if that is another one.
    async fn go_to(&mut self, authority: &Authority) -> Result<(), AcmeError> {
        let Some(last) = self.order.authority.clone().filter(|last| last != authority.name()) else {
            return Ok(());
        };
        tracing::info!(host = %self.order.host, from = last, to = authority.name(), "order goes elsewhere");
        let left = self.work.authorities.iter().find(|known| known.name() == last);
        let draws = left.map(|left| self.work.draws(left, &self.order, &self.predecessor));
        let (id, fence) = (self.order.id, self.order.fence);
        self.order = self.work.store.leave_authority(id, fence, &draws.unwrap_or_default()).await?;
        Ok(())
    }

    async fn end(&mut self, state: OrderState, error: Option<String>) -> Result<(), AcmeError> {
        self.drop_challenges().await?;
        // The key stays with the certificate only.
        self.patch(OrderPatch {
            state: Some(state),
            key: Some(None),
            error: Some(error),
            ..OrderPatch::default()
        })
        .await
    }

    async fn drop_challenges(&mut self) -> Result<(), AcmeError> {
        for token in std::mem::take(&mut self.put) {
            self.work.store.drop_challenge(&token).await?;
        }
        for proof in std::mem::take(&mut self.proofs) {
            self.withdraw(&proof).await;
        }
        Ok(())
    }

    /// A text that stays behind proves nothing to anybody: it does not fail the order, and is taken away later.
    async fn withdraw(&self, proof: &Proof) {
        let Some(proofs) = &self.work.proofs else { return };
        if let Err(error) = self.work.withdraw(proofs, proof).await {
            tracing::warn!(place = %proof.place, %error, "the text of a proof stays in the zone for now");
        }
    }

    /// Writes the answer to a dns-01 challenge into our zone.
    async fn publish(&mut self, challenge: &Challenge) -> Result<(), AcmeError> {
        let Some(proofs) = &self.work.proofs else {
            return Err(AcmeError::Refused("there is no zone for dns-01".to_owned()));
        };
        let proof = self.proof(proofs, challenge).map_err(|error| AcmeError::Refused(error.to_string()))?;
        let turn = self.work.turns.take(&proof.place, &self.order.host, self.work.store.now());
        turn.map_err(|until| AcmeError::Spent { until })?;
        let (place, text) = (proof.place.as_str().to_owned(), proof.text.clone());
        let kept = ZoneText { place, text, expires_at: challenge.expires_at };
        self.work.store.keep_text(&kept).await?;
        // Also what was written and not answered is taken away.
        if !self.proofs.contains(&proof) {
            self.proofs.push(proof.clone());
        }
        Ok(proofs.publish(&proof).await.map_err(ProofError::from)?)
    }

    /// The text that answers a dns-01 challenge, at its place.
    fn proof(&self, proofs: &Proofs, challenge: &Challenge) -> Result<Proof, NameError> {
        let text = adapters::text_of(&challenge.key_authorization);
        if let Some(place) = self.places.of(&challenge.host) {
            return Ok(Proof { place: place.clone(), text });
        }
        // The alias may be gone while an order goes on.
        let other = self
            .other
            .as_ref()
            .filter(|other| other.host.exact() == Some(&challenge.host))
            .map(|other| other.id);
        let place = match other.or(self.order.domain) {
            Some(domain) => proofs.delegate(domain),
            None => proofs.own(&challenge.host),
        };
        Ok(Proof { place: place?, text })
    }

    /// Lets others, or the next start, go on at once.
    async fn release(mut self) {
        let now = self.work.store.now();
        let released = self.patch(OrderPatch { next_at: Some(now), ..OrderPatch::default() }).await;
        if let Err(error) = released {
            tracing::debug!(order = %self.order.id, %error, "lease was left to run out");
        }
    }

    /// Looks at the records anew: what was true when the order was begun may not be any more. A proof that
    /// stays good for a renewal does so here too, see [`facts::may_order`].
    async fn look(&self) -> Result<(), AcmeError> {
        // The names of our own zones are ours; there is nothing to prove.
        let Some(id) = self.order.domain else { return Ok(()) };
        self.look_at(&self.work.store.domain(Access::Platform, id).await?).await
    }

    async fn look_at(&self, domain: &DomainRecord) -> Result<(), AcmeError> {
        let seen = dns::observe(self.work.lookup.as_ref(), &domain.target).await;
        let (claim, routing) = dns::judge(&seen, &domain.target);
        let is_covered = self.work.is_covered(domain, claim).await?;
        if facts::may_order(&domain.facts, domain.was_live && !is_covered, claim, &routing) {
            return Ok(());
        }
        let reason = match routing {
            Routing::Here => "the proof of ownership is missing".to_owned(),
            Routing::Absent | Routing::Unknown => "it has no records".to_owned(),
            Routing::Elsewhere { found } | Routing::Partial { found } => format!("it points to {found}"),
            Routing::Misplaced { name } => format!("its record is at {name}"),
            Routing::Proxied { by } => format!("it points to {by}"),
            Routing::Spreading { late, .. } => {
                let reason = format!("{late} does not have its record yet");
                return Err(AcmeError::NotYet { host: domain.host.to_string(), reason });
            }
            // Silence proves nothing either way: try again later.
            Routing::Broken { reason } => {
                return Err(AcmeError::NotYet { host: domain.host.to_string(), reason });
            }
        };
        Err(AcmeError::NotHere { host: domain.host.to_string(), reason })
    }
}
