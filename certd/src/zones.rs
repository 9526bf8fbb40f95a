//! Certificates of the marketplace's own zones: a wildcard of the local authority for development, and on the
//! internet one of a public authority where dns-01 can prove it. Without dns-01 there is one order for each app's
//! name, unless an uploaded wildcard covers it.

use std::time::Duration;

use model::certificate::CertificateSource;
use model::{Host, HostPattern, Timestamp};
use store::{App, NewOrder};

use crate::domains::Owner;
use crate::work::Work;
use crate::{CertdError, renewal};

/// A label that no app can have: a certificate for it is one for all apps of the zone.
const ANY_APP: &str = "cname";
/// Most apps that orders are begun for in one walk.
const APPS: u32 = 100;
/// The longest wait until the zones are looked at again: somebody may have uploaded a certificate.
const LOOK: Duration = Duration::from_secs(60);

impl Work {
    /// Makes the wildcards that are missing or due; gives when to look again.
    pub(crate) async fn certify_zones(&self) -> Result<Timestamp, CertdError> {
        let mut next = self.store.now().plus(LOOK);
        for zone in self.store.zones().iter().filter(|zone| self.is_local(zone)) {
            next = next.min(self.certify_zone(zone, Duration::ZERO).await?);
        }
        Ok(next)
    }

    /// Makes the wildcard of one zone if it is missing or due within `ahead`; gives when it is due.
    async fn certify_zone(&self, zone: &Host, ahead: Duration) -> Result<Timestamp, CertdError> {
        let any = zone.with_label(ANY_APP).map_err(|error| CertdError::Settings(error.to_string()))?;
        let held = self.store.active_certificate_for(&any).await?;
        let due = held.map(|held| self.due_at(&held)).filter(|due| *due > self.store.now().plus(ahead));
        if let Some(due) = due {
            return Ok(due);
        }
        let names = [HostPattern::Wildcard(zone.clone()), HostPattern::Exact(zone.clone())];
        self.sign_locally(&names, Owner { tenant: None, app: None }).await?;
        tracing::info!(%zone, "the local authority signed a wildcard certificate");
        let made = self.store.active_certificate_for(&any).await?;
        Ok(made.map_or_else(|| self.store.now(), |made| self.due_at(&made)))
    }

    /// Makes the wildcard of one zone anew although it is not due.
    pub(crate) async fn renew_zone(&self, zone: &Host) -> Result<(), CertdError> {
        if self.has_public_wildcard(zone) {
            return self.order_zone(zone).await;
        }
        self.certify_zone(zone, Duration::MAX).await.map(drop)
    }

    /// Begins orders for apps' names on the internet that need one.
    pub(crate) async fn order_apps(&self) -> Result<(), CertdError> {
        for zone in self.store.zones().iter().filter(|zone| !self.is_local(zone)) {
            if self.has_public_wildcard(zone) {
                self.order_missing_zone(zone).await?;
                continue;
            }
            for app in self.store.uncertified_apps(zone, self.store.now(), APPS).await? {
                self.order_app(&app, zone).await?;
            }
        }
        Ok(())
    }

    async fn order_app(&self, app: &App, zone: &Host) -> Result<(), CertdError> {
        let Ok(host) = zone.with_label(app.name.as_str()) else {
            tracing::warn!(app = %app.id, %zone, "the app's name is too long for the zone");
            return Ok(());
        };
        let held = self.store.active_certificate_for(&host).await?;
        let held = held.filter(|held| held.source == CertificateSource::Acme);
        let order = NewOrder {
            urgency: renewal::urgency(held.as_ref(), self.store.now()),
            host: (&host).into(),
            names: vec![HostPattern::Exact(host.clone())],
            tenant: Some(app.tenant),
            app: Some(app.id),
            domain: None,
        };
        if self.store.begin_order(order).await?.is_some() {
            tracing::info!(%host, app = %app.id, "order was begun");
        }
        Ok(())
    }

    /// Begins an order for a zone whose wildcard nobody has; renewals are set going when they are due.
    async fn order_missing_zone(&self, zone: &Host) -> Result<(), CertdError> {
        let any = zone.with_label(ANY_APP).map_err(|error| CertdError::Settings(error.to_string()))?;
        let held = self.store.active_certificate_for(&any).await?;
        let is_held = held.is_some_and(|held| held.source != CertificateSource::LocalCa);
        if is_held { Ok(()) } else { self.order_zone(zone).await }
    }

    async fn order_zone(&self, zone: &Host) -> Result<(), CertdError> {
        let held = self.store.active_certificate_for(zone).await?;
        let held = held.filter(|held| held.source == CertificateSource::Acme);
        let order = NewOrder {
            urgency: renewal::urgency(held.as_ref(), self.store.now()),
            host: zone.into(),
            names: vec![HostPattern::Wildcard(zone.clone()), HostPattern::Exact(zone.clone())],
            tenant: None,
            app: None,
            domain: None,
        };
        if self.store.begin_order(order).await?.is_some() {
            tracing::info!(%zone, "order for the zone's wildcard was begun");
        }
        Ok(())
    }

    /// Whether a public authority can be shown that the whole zone is ours.
    fn has_public_wildcard(&self, zone: &Host) -> bool {
        !self.is_local(zone) && self.proofs.as_ref().is_some_and(|proofs| proofs.covers(zone))
    }

    /// Whether the local authority signs for the zone: it can never be on the internet, or there is no other.
    fn is_local(&self, zone: &Host) -> bool {
        zone.is_development() || !self.is_public()
    }
}
