//! Orders for a domain and its `www` together: which of them are, and what becomes of one when the other name fails.
//!
//! Whatever may be one name's fault alone ends what they have in common, so that neither holds the other back: the order
//! goes on for its own name, at once unless that one is to blame, and the other domain is looked at again, which begins
//! an order of its own.

use model::certificate::CertificateSource;
use model::domain::Policy;
use model::id::DomainId;
use store::{DomainRecord, Order, OrderPatch, StoreError};

use super::Memory;
use crate::acme::{AcmeError, Limits};
use crate::facts;
use crate::work::Work;

impl Work {
    /// The domain whose name is to be on the certificate of `domain` too: its companion, if that is the same app's, is
    /// proved, and points here. Where a contest is open the name may be another account's soon; where an uploaded
    /// certificate is served its owner has chosen.
    pub(crate) async fn beside(&self, domain: &DomainRecord) -> Result<Option<DomainRecord>, StoreError> {
        let Some(other) = self.store.companion_of(domain).await? else { return Ok(None) };
        let known = &other.facts;
        let is_quiet = domain.facts.contest.is_none() && known.contest.is_none();
        let is_here = known.policy == Policy::Allowed
            && known.forbidden.is_none()
            && facts::may_order(known, other.was_live, known.claim, &known.routing);
        if !is_quiet || !is_here {
            return Ok(None);
        }
        // Its facts tell of an upload at its next look only.
        let held = self.certificate_of(&other).await?;
        Ok(Some(other).filter(|_| held.is_none_or(|held| held.source != CertificateSource::Upload)))
    }

    /// The domain whose name stands beside that of an order, if it is the same app's still.
    pub(super) async fn other_of(&self, order: &Order) -> Result<Option<DomainRecord>, StoreError> {
        let Some(beside) = order.beside() else { return Ok(None) };
        let other = self.store.domain_by_host(beside).await?;
        Ok(other.filter(|other| Some(other.app) == order.app))
    }
}

impl AcmeError {
    /// Whether a name may be to blame, and not the authority, our account there, or our own store.
    fn is_about_names(&self) -> bool {
        match self {
            Self::Validation { .. }
            | Self::NotYet { .. }
            | Self::NotHere { .. }
            | Self::Forbidden { .. }
            | Self::Refused(_)
            | Self::Unusable(_)
            | Self::Proof(_)
            | Self::Store(StoreError::NotFound { .. }) => true,
            Self::Limited { reason, .. } => Limits::is_about_names(reason),
            _ => false,
        }
    }

    /// Whether that name is known to be to blame.
    fn blames(&self, name: &str) -> bool {
        match self {
            Self::Validation { host, .. } | Self::NotHere { host, .. } | Self::NotYet { host, .. } => {
                host == name
            }
            _ => false,
        }
    }
}

impl Memory<'_> {
    /// The domains that the order is for.
    pub(super) fn domains(&self) -> Vec<DomainId> {
        self.order.domain.into_iter().chain(self.other.as_ref().map(|other| other.id)).collect()
    }

    /// Leaves the other name out if `error` may be its fault. Whether it did.
    ///
    /// # Errors
    /// [`AcmeError::Store`] or [`AcmeError::Fenced`].
    pub(super) async fn part_over(&mut self, error: &AcmeError) -> Result<bool, AcmeError> {
        let Some(beside) = self.order.beside().filter(|_| error.is_about_names()) else { return Ok(false) };
        tracing::info!(host = %self.order.host, %beside, %error, "the order goes on for one name of two");
        self.order = self.work.store.part_order(&self.order).await?;
        Ok(true)
    }

    /// As [`Self::part_over`], after an attempt that came to its end. True if the order is due again at once; else the
    /// error is its own name's as well.
    pub(super) async fn go_on_alone(&mut self, error: &AcmeError) -> Result<bool, AcmeError> {
        if !self.part_over(error).await? || error.blames(&self.order.host.to_string()) {
            return Ok(false);
        }
        self.drop_challenges().await?;
        // The error says to the other name's next order that it must not count on this one.
        let (next_at, error) = (Some(self.work.store.now()), Some(Some(error.to_string())));
        self.patch(OrderPatch { next_at, error, ..OrderPatch::default() }).await?;
        Ok(true)
    }

    /// Leaves the other name out if it is proved in another way: an order has one way for all its names.
    pub(super) async fn agree_on_way(&mut self) -> Result<(), AcmeError> {
        let other = self.other.as_ref().filter(|other| self.order.beside() == Some(&other.host));
        let Some(other) = other.filter(|_| self.order.order_url.is_none()) else { return Ok(()) };
        if self.places.has(&other.host) != self.places.has(&self.order.host) {
            tracing::info!(host = %self.order.host, beside = %other.host, "the two names are proved in different ways");
            self.order = self.work.store.part_order(&self.order).await?;
        }
        Ok(())
    }

    /// Leaves the other name out unless it points here at this moment, and the authority would look at it.
    pub(super) async fn confirm_beside(&mut self) -> Result<(), AcmeError> {
        if self.order.beside().is_none() {
            return Ok(());
        }
        if let Err(error) = self.look_beside().await {
            self.part_over(&error).await?;
        }
        Ok(())
    }

    async fn look_beside(&self) -> Result<(), AcmeError> {
        let known = self.other.as_ref().map(|other| other.id);
        let other = self.work.other_of(&self.order).await?.filter(|other| Some(other.id) == known);
        let Some(other) = other else {
            let host = self.order.beside().map(ToString::to_string).unwrap_or_default();
            return Err(AcmeError::NotHere { host, reason: "it is not this app's any more".to_owned() });
        };
        self.look_at(&other).await?;
        let authority = self.authority()?;
        let failures = authority.limits().failure(other.host.base().as_str());
        let rested = self.work.store.budget_free_at(authority.name(), &failures).await?;
        if rested > self.work.store.now() {
            let reason = "its last checks failed".to_owned();
            return Err(AcmeError::NotYet { host: other.host.to_string(), reason });
        }
        Ok(())
    }
}
