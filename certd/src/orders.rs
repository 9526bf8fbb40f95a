//! Working off one order: lease, protocol, certificate into the store, and what becomes of a failure.

use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;
use model::acme::{Challenge, ChallengeKind};
use model::certificate::{Certificate, CertificateName, CertificateSource};
use model::chain::Inspected;
use model::domain::Routing;
use model::id::{CertificateId, OrderId};
use model::{Host, Timestamp};
use store::{Access, Actor, NewCertificate, Order, OrderPatch, OrderState, StoreError};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::acme::{self, AcmeError, Authority, Journal};
use crate::adapters::{self, NameError, Proof, ProofError, Proofs};
use crate::authorities::Predecessor;
use crate::domains::Renewal;
use crate::work::Work;
use crate::{dns, edges, facts};

/// How long one attempt may take in all.
const ATTEMPT: Duration = Duration::from_secs(240);

impl Work {
    /// Makes one attempt at an order. Gives the order up for now when `shutdown` becomes true.
    pub(crate) async fn work_off(&self, order: Order, mut shutdown: watch::Receiver<bool>) {
        let mut memory = match self.lease(&order).await {
            Ok(memory) => memory,
            // Somebody else was quicker, or the store is away: it stays due.
            Err(error) => return tracing::debug!(order = %order.id, %error, "order is not ours"),
        };
        let attempt = tokio::time::timeout(ATTEMPT, self.attempt(&mut memory));
        let outcome = tokio::select! {
            outcome = attempt => Some(outcome.unwrap_or_else(|_| Err(too_slow()))),
            () = told(&mut shutdown) => None,
            never = self.keep_lease(order.id) => match never {},
        };
        match outcome {
            Some(outcome) => self.conclude(memory, outcome).await,
            None => return memory.release().await,
        }
        if let Some(domain) = order.domain {
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

    async fn lease(&self, order: &Order) -> Result<Memory<'_>, AcmeError> {
        let order = self.store.lease_order(order.id, &self.owner, self.settings.lease).await?;
        let predecessor = self.predecessor(&order).await?;
        Ok(Memory { work: self, order, predecessor, authority: None, put: Vec::new(), proofs: Vec::new() })
    }

    /// One attempt with the authority that is to be asked now.
    async fn attempt<'a>(&'a self, memory: &mut Memory<'a>) -> Result<(), AcmeError> {
        let authority = self.choose(&memory.order, &memory.predecessor).await?;
        memory.authority = Some(authority);
        memory.go_to(authority).await?;
        let outcome = self.certify_by(authority, memory).await;
        self.note_health(authority, &outcome).await?;
        if matches!(outcome, Err(AcmeError::Validation { .. })) {
            let failed = authority.limits().failure(&memory.order.host);
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
            issuer: found.issuer,
            serial: found.serial,
            names: found.names,
            chain_pem: found.chain_pem,
            key,
            not_before: found.not_before,
            not_after: found.not_after,
        };
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
        let written = match outcome {
            Ok(()) => {
                tracing::info!(%host, order = %memory.order.id, "certificate is in the store");
                memory.end(OrderState::Done, None).await
            }
            Err(AcmeError::Fenced) => return tracing::info!(%host, "order was taken over or taken away"),
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
        if let (AcmeError::UnknownAccount(_), Some(authority)) = (&error, memory.authority) {
            authority.forget().await?;
            memory.forget().await?;
        }
        if let AcmeError::Spent { until } = error {
            // No failure: its turn is still to come.
            tracing::info!(host = %memory.order.host, %until, "the order waits for the authority's limits");
            let error = Some(Some(error.to_string()));
            return memory.patch(OrderPatch { next_at: Some(until), error, ..OrderPatch::default() }).await;
        }
        // An authority that is away may still come for the answers that it was promised.
        if !matches!(error, AcmeError::Busy { .. } | AcmeError::Limited { .. }) {
            memory.drop_challenges().await?;
        }
        let attempts = memory.order.attempts.saturating_add(1);
        let mut retry_at = acme::next_at(&error, attempts, self.store.now(), rand::random());
        if let (AcmeError::Busy { .. }, true) = (&error, self.authorities.len() > 1) {
            // It goes to the next one when its patience with this one is over, and not when this one may be back.
            retry_at = retry_at.min(self.gives_up_at(&memory.order, &memory.predecessor).await?);
        }
        tracing::warn!(host = %memory.order.host, %error, attempts, %retry_at, "order failed");
        memory
            .patch(OrderPatch {
                attempts: Some(attempts),
                next_at: Some(retry_at),
                error: Some(Some(error.to_string())),
                ..OrderPatch::default()
            })
            .await
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
    predecessor: Predecessor,
    /// Where this attempt goes.
    authority: Option<&'a Authority>,
    /// Answers that were given to the edges in this attempt.
    put: Vec<model::acme::Token>,
    /// Texts that were written into the DNS in this attempt.
    proofs: Vec<Proof>,
}

impl Memory<'_> {
    async fn patch(&mut self, patch: OrderPatch) -> Result<(), AcmeError> {
        self.order = self.work.store.update_order(self.order.id, self.order.fence, patch).await?;
        Ok(())
    }

    /// Leaves the authority that the order was with, if that is another one.
    async fn go_to(&mut self, authority: &Authority) -> Result<(), AcmeError> {
        let Some(last) = self.order.authority.clone().filter(|last| last != authority.name()) else {
            return Ok(());
        };
        tracing::info!(host = %self.order.host, from = last, to = authority.name(), "order goes elsewhere");
        let left = self.work.authorities.iter().find(|known| known.name() == last);
        let draws = left.map(|left| self.work.draws(left, &self.order.host, &self.predecessor));
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

    /// A text that stays behind proves nothing to anybody: it does not fail the order.
    async fn withdraw(&self, proof: &Proof) {
        let Some(proofs) = &self.work.proofs else { return };
        if let Err(error) = proofs.withdraw(proof).await {
            tracing::warn!(place = %proof.place, %error, "the text of a proof stays in the zone");
        }
    }

    /// Writes the answer to a dns-01 challenge into our zone.
    async fn publish(&mut self, challenge: &Challenge) -> Result<(), AcmeError> {
        let Some(proofs) = &self.work.proofs else {
            return Err(AcmeError::Refused("there is no zone for dns-01".to_owned()));
        };
        let proof = self.proof(proofs, challenge).map_err(|error| AcmeError::Refused(error.to_string()))?;
        // Also what was written and not answered is taken away.
        if !self.proofs.contains(&proof) {
            self.proofs.push(proof.clone());
        }
        Ok(proofs.publish(&proof).await.map_err(ProofError::from)?)
    }

    /// The text that answers a dns-01 challenge, at its place.
    fn proof(&self, proofs: &Proofs, challenge: &Challenge) -> Result<Proof, NameError> {
        let place = match self.order.domain {
            Some(domain) => proofs.delegate(domain),
            None => proofs.own(&challenge.host),
        };
        Ok(Proof { place: place?, text: adapters::text_of(&challenge.key_authorization) })
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
        let domain = self.work.store.domain(Access::Platform, id).await?;
        let seen = dns::observe(self.work.lookup.as_ref(), &domain.target).await;
        let (claim, routing) = dns::judge(&seen, &domain.target);
        if facts::may_order(&domain.facts, domain.was_live, claim, &routing) {
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

#[async_trait]
impl Journal for Memory<'_> {
    fn host(&self) -> &Host {
        &self.order.host
    }

    fn names(&self) -> Vec<CertificateName> {
        self.order.names.clone()
    }

    /// Our own names by texts where there is a zone for them, and a creator's where its alias leads there.
    async fn challenge(&mut self, usual: ChallengeKind) -> ChallengeKind {
        let Some(proofs) = &self.work.proofs else { return usual };
        let by_text = match self.order.domain {
            Some(domain) => proofs.is_delegated(&self.order.host, domain).await,
            None => proofs.covers(&self.order.host),
        };
        if by_text { ChallengeKind::Dns01 } else { usual }
    }

    fn now(&self) -> Timestamp {
        self.work.store.now()
    }

    fn url(&self) -> Option<String> {
        self.order.order_url.clone()
    }

    fn key(&self) -> Result<Option<Zeroizing<Vec<u8>>>, AcmeError> {
        let context = Certificate::key_context(self.order.certificate);
        let open = |sealed| self.work.sealing.open(&context, sealed);
        Ok(self.order.key.as_ref().map(open).transpose()?)
    }

    async fn alive(&mut self) -> Result<(), AcmeError> {
        self.order =
            self.work.store.lease_order(self.order.id, &self.work.owner, self.work.settings.lease).await?;
        Ok(())
    }

    async fn confirm_here(&mut self) -> Result<(), AcmeError> {
        self.look().await
    }

    async fn take_turn(&mut self) -> Result<(), AcmeError> {
        let Some(authority) = self.authority else {
            return Err(AcmeError::Refused("no authority was chosen".to_owned()));
        };
        let (work, host) = (self.work, &self.order.host);
        let failures = authority.limits().failure(host);
        let draws = work.draws(authority, host, &self.predecessor);
        let rested = work.store.budget_free_at(authority.name(), &failures).await?;
        self.order =
            work.store.reserve_order(self.order.id, self.order.fence, authority.name(), &draws).await?;
        let until = self.order.slot_at.map_or(rested, |turn| turn.max(rested));
        if until > self.now() { Err(AcmeError::Spent { until }) } else { Ok(()) }
    }

    fn predecessor(&self) -> Option<&str> {
        self.predecessor.chain_of(self.authority?.name())
    }

    async fn opened(&mut self, url: &str) -> Result<(), AcmeError> {
        self.patch(OrderPatch { order_url: Some(Some(url.to_owned())), ..OrderPatch::default() }).await
    }

    async fn keep_key(&mut self, der: &[u8]) -> Result<(), AcmeError> {
        let key = self.work.sealing.seal(&Certificate::key_context(self.order.certificate), der)?;
        self.patch(OrderPatch { key: Some(Some(key)), ..OrderPatch::default() }).await
    }

    async fn forget(&mut self) -> Result<(), AcmeError> {
        self.patch(OrderPatch { order_url: Some(None), key: Some(None), ..OrderPatch::default() }).await
    }

    async fn put_challenge(&mut self, challenge: &Challenge) -> Result<(), AcmeError> {
        if challenge.kind == ChallengeKind::Dns01 {
            return self.publish(challenge).await;
        }
        self.put.push(challenge.token.clone());
        Ok(self.work.store.put_challenge(challenge).await?)
    }

    fn recall(&mut self, challenge: &Challenge) {
        let proof = self.work.proofs.as_ref().and_then(|proofs| self.proof(proofs, challenge).ok());
        self.proofs.extend(proof);
    }

    /// By design the order goes on after `edge_wait` even if no edge, or not every edge, has said that it
    /// holds the answer: a silent edge must not stop every certificate, and the authority, which asks several
    /// times, finds out. An answer that it does not get fails this attempt only.
    async fn wait_for_edges(&mut self) -> Result<(), AcmeError> {
        if let Some(proofs) = self.work.proofs.as_ref().filter(|_| !self.proofs.is_empty()) {
            proofs.wait(&self.proofs).await?;
        }
        if self.put.is_empty() {
            return Ok(());
        }
        let revision = self.work.store.head().await?;
        let bound = self.work.settings.edge_wait;
        if !edges::wait(&self.work.store, revision, bound).await? {
            tracing::warn!(host = %self.order.host, "not every edge holds the answer to the challenge yet");
        }
        Ok(())
    }
}
