//! Visitors who come and go while something happens, and what is counted of them.

use anyhow::{Result, ensure};
use testkit::edge::Edge;
use testkit::load::Load;
use testkit::marketplace::Tenant;
use testkit::origin::Origin;
use testkit::wait;

/// Visitors who keep their connections (HTTP/2), keep them over HTTP/1.1, and make a new one each time.
pub(crate) struct Crowd([Load; 3]);

impl Crowd {
    /// They ask for the host until they are told to leave.
    pub(crate) fn gather(edge: &Edge, host: &str) -> Result<Self> {
        let (kept, kept1) = (edge.visitor(host)?, edge.visitor_http1(host)?);
        let (edge, host) = (edge.clone(), host.to_owned());
        let new = Load::start(1, move || {
            let request = edge.visitor(&host);
            async move { request?.get("/").await.map(drop) }
        });
        Ok(Self([kept.load(2), kept1.load(2), new]))
    }

    /// Waits until 20 more have come.
    pub(crate) async fn come(&self) -> Result<()> {
        let [.., new] = &self.0;
        new.more(20).await
    }

    /// Sends them home.
    ///
    /// # Errors
    /// If one of them was not served.
    pub(crate) async fn leave(self) -> Result<()> {
        for load in self.0 {
            all_went_well(load).await?;
        }
        Ok(())
    }
}

/// Ends a load.
///
/// # Errors
/// If a request of it failed.
pub(crate) async fn all_went_well(load: Load) -> Result<()> {
    let tally = load.stop().await;
    ensure!(tally.failed() == 0, "{} of {} failed: {:?}", tally.failed(), tally.sent, tally.failures);
    Ok(())
}

/// Waits until exactly as much is counted as the app has seen.
pub(crate) async fn all_is_counted(tenant: &Tenant, origin: &Origin) -> Result<()> {
    let look = async || {
        let (used, seen) = (tenant.used().await?, origin.requests());
        ensure!(used.visitor == seen, "{used:?}, {seen} seen");
        Ok(())
    };
    wait::until("everything to be counted", wait::LONG, look).await
}
