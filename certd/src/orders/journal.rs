//! What an order remembers, in the store.

use std::time::Duration;

use async_trait::async_trait;
use model::acme::{Challenge, ChallengeKind};
use model::certificate::Certificate;
use model::{HostPattern, Timestamp};
use store::OrderPatch;
use zeroize::Zeroizing;

use super::Memory;
use crate::acme::{AcmeError, Journal};
use crate::edges;

#[async_trait]
impl Journal for Memory<'_> {
    fn host(&self) -> &HostPattern {
        &self.order.host
    }

    fn names(&self) -> Vec<HostPattern> {
        self.order.names.clone()
    }

    async fn challenge(&mut self, usual: ChallengeKind) -> ChallengeKind {
        self.chosen.map_or(usual, |chosen| chosen.kind)
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
        self.look().await?;
        self.confirm_beside().await
    }

    async fn take_turn(&mut self) -> Result<(), AcmeError> {
        let authority = self.authority()?;
        let work = self.work;
        let failures = authority.limits().failure(self.order.host.base().as_str());
        let rested = work.store.budget_free_at(authority.name(), &failures).await?;
        if rested > work.store.now() && self.order.beside().is_some() {
            self.order = work.store.part_order(&self.order).await?;
        }
        let draws = work.draws(authority, &self.order, &self.predecessor);
        self.order =
            work.store.reserve_order(self.order.id, self.order.fence, authority.name(), &draws).await?;
        let stopped = self.stopped_until().await?;
        let until = self.order.slot_at.map_or(rested, |turn| turn.max(rested)).max(stopped);
        if until > self.now() { Err(AcmeError::Spent { until }) } else { Ok(()) }
    }

    async fn take_turn_without_predecessor(&mut self) -> Result<(), AcmeError> {
        self.predecessor.unlinked();
        let authority = self.authority()?;
        let store = &self.work.store;
        let draws = self.work.draws(authority, &self.order, &self.predecessor);
        let until = store.budget_free_at(authority.name(), &draws).await?.max(self.stopped_until().await?);
        if until > self.now() {
            return Err(AcmeError::Spent { until });
        }
        Ok(store.draw_budget(authority.name(), &draws).await?)
    }

    fn patience(&self) -> Duration {
        self.work.settings.order_wait
    }

    fn is_overdue(&self) -> bool {
        self.work.is_overdue(&self.order, &self.predecessor)
    }

    fn predecessor(&self) -> Option<&str> {
        self.predecessor.chain_of(self.chosen?.authority.name())
    }

    async fn sending(&mut self) -> Result<(), AcmeError> {
        self.patch(OrderPatch { is_sent: Some(true), ..OrderPatch::default() }).await
    }

    async fn not_taken(&mut self) -> Result<(), AcmeError> {
        self.patch(OrderPatch { is_sent: Some(false), ..OrderPatch::default() }).await
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

    fn lacks(&mut self, kind: ChallengeKind) {
        if let Some(chosen) = self.chosen.filter(|_| kind == ChallengeKind::DnsPersist01) {
            chosen.authority.note_no_standing();
        }
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
