//! Looks at a claim of a name that another account has, and at that account's proof with the same answers.
//!
//! What follows is decided by the store, in one change. Here is what needs the network: the proofs, and a certificate
//! that is ready before the name moves, so that its visitors notice nothing.

use std::time::Duration;

use model::domain::{Claim, Contest, Facts, Routing};
use store::{DomainRecord, NewOrder, Shown, Sight, Urgency};

use crate::domains::{Owner, Renewal, seconds_until};
use crate::work::Work;
use crate::{CertdError, dns, renewal, rhythm};

/// How long before a name moves its new certificate is ordered. Authorities take seconds; this leaves room for some
/// failures, and the old holder's padlock is in nobody's way for longer than that.
const AHEAD: Duration = Duration::from_secs(3600);

impl Work {
    /// Looks at a claim and writes down what follows.
    pub(crate) async fn check_claim(&self, claim: &DomainRecord) -> Result<(), CertdError> {
        let Some(contest @ (Contest::Asked | Contest::Waiting { .. })) = claim.facts.contest else {
            return Ok(());
        };
        let seen = dns::observe(self.lookup.as_ref(), &claim.target).await;
        let found = dns::understand(&seen, &self.providers, &claim.target);
        let proof = dns::shown(&seen, &claim.target.proof);
        let holder = self.store.domain_by_host(&claim.host).await?;
        let holders_proof = holder.map(|holder| holder.target.proof);
        let holders_proof = holders_proof.filter(|proof| dns::shown(&seen, proof) == Shown::Everywhere);
        if proof == Shown::Everywhere && found.routing == Routing::Here {
            self.prepare(claim, contest).await?;
        }
        let now = self.store.now();
        let next = rhythm::next_claim_check_at(contest, claim.created_at, now, rand::random());
        let next_check_at = rhythm::watched(next, claim.watched_until, now);
        let unprovable =
            if matches!(contest, Contest::Waiting { .. }) { self.unprovable(claim).await? } else { None };
        let facts = Facts {
            unprovable,
            routing: found.routing,
            authority: found.authority,
            checked_at: Some(now),
            look_every_seconds: Some(seconds_until(next_check_at, now)),
            ..claim.facts.clone()
        };
        let sight = Sight { facts, proof, holders_proof, next_check_at };
        let settled = self.store.settle_contest(claim.id, claim.version, sight).await?;
        if settled.facts.contest != claim.facts.contest {
            let (from, to) = (claim.facts.contest, settled.facts.contest);
            tracing::info!(host = %claim.host, domain = %claim.id, ?from, ?to, "claim of a name changed");
        }
        if settled.facts.claim != Claim::Contested {
            // It is a domain now; boxed, because a look at a domain may be a look at a claim.
            Box::pin(self.check_again(settled.id, Renewal::WhenDue)).await;
        }
        Ok(())
    }

    /// Makes the certificate, or orders it, that is served when the name moves. A renewal of the present holder that
    /// is under way, or cannot wait, goes first until the wait is over: then the move waits for this one.
    async fn prepare(&self, claim: &DomainRecord, contest: Contest) -> Result<(), CertdError> {
        let Contest::Waiting { until } = contest else { return Ok(()) };
        let now = self.store.now();
        if until.since(now) > AHEAD || self.store.is_prepared(claim.id).await? {
            return Ok(());
        }
        let names = vec![claim.host.clone()];
        if !self.is_public() {
            let owner = Owner { tenant: Some(claim.tenant), app: Some(claim.app) };
            let new = self.signed_locally(&names, owner)?;
            self.store.prepare_contest(claim.id, &new).await?;
            return Ok(());
        }
        let held = self.store.active_certificate_for(&claim.host).await?;
        let held = held.filter(|held| held.names.contains(&claim.host));
        let is_over = until <= now;
        let is_needed = held.is_some() && renewal::urgency(held.as_ref(), now) == Urgency::Emergency;
        let is_forbidden = !matches!(self.forbidden(claim).await, Ok(Ok(None)));
        let is_barred = is_forbidden || self.unprovable(claim).await?.is_some();
        if (is_needed && !is_over) || is_barred {
            return Ok(());
        }
        if is_over && self.store.make_way(claim.id).await? {
            tracing::info!(host = %claim.host, domain = %claim.id, "the order of a name's last holder was ended");
        }
        let order = NewOrder {
            urgency: Urgency::Waiting,
            host: claim.host.clone(),
            names,
            tenant: Some(claim.tenant),
            app: Some(claim.app),
            domain: Some(claim.id),
        };
        if self.store.begin_order(order).await?.is_some() {
            tracing::info!(host = %claim.host, domain = %claim.id, "order for a name that is to move was begun");
        }
        Ok(())
    }
}
