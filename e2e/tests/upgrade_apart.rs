//! Edge and control plane run apart and are upgraded one by one; neither visitors nor creators notice.

use anyhow::{Result, ensure};
use testkit::api::Api;
use testkit::load::Load;
use testkit::marketplace::{App, Tenant};
use testkit::origin::Origin;

use crate::crowd::{Crowd, all_is_counted, all_went_well};
use crate::installation::Apart;

/// Long enough for a request that waits, short enough for a test.
const DRAIN: &str = "[edge]\ndrain_seconds = 4\n";

struct Market {
    apart: Apart,
    tenant: Tenant,
    app: App,
    origin: Origin,
}

impl Market {
    async fn open() -> Result<Self> {
        let (apart, origin) = (Apart::start("", DRAIN).await?, Origin::start("one").await?);
        let tenant = apart.tenant("ann").await?;
        tenant.unlimited().await?;
        let app = tenant.app("shop", &[&origin]).await?;
        app.live().await?;
        Ok(Self { apart, tenant, app, origin })
    }

    fn visitors(&self) -> Result<Crowd> {
        Crowd::gather(&self.apart.visited, &self.app.hostname)
    }

    /// A creator at a command line: each call is a connection of its own.
    fn creator(&self) -> Result<Load> {
        let (base, key) =
            (format!("http://{}", self.apart.control.ports().api.address()), self.apart.control.api()?);
        let (key, path) = (key.key().to_owned(), self.app.path(""));
        Ok(Load::start(1, move || {
            let (api, path) = (Api::new(&base, &key), path.clone());
            async move { api?.get(&path).await?.ok().map(drop) }
        }))
    }

    /// A change reaches visitors, and all that they used is counted once.
    async fn goes_on(&self) -> Result<()> {
        self.tenant.app("blog", &[&self.origin]).await?.live().await?;
        all_is_counted(&self.tenant, &self.origin).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_upgraded_alone() -> Result<()> {
    let mut market = Market::open().await?;
    let visitors = market.visitors()?;
    for _ in 0..2 {
        visitors.come().await?;
        market.apart.edge.renew().await?;
    }
    visitors.come().await?;
    visitors.leave().await?;
    market.apart.edge.settled().await?;
    market.goes_on().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_is_upgraded_alone() -> Result<()> {
    let mut market = Market::open().await?;
    let edge = market.apart.edge.in_charge()?;
    let (visitors, creator) = (market.visitors()?, market.creator()?);
    for _ in 0..2 {
        creator.more(20).await?;
        market.apart.control.renew().await?;
    }
    creator.more(20).await?;
    visitors.come().await?;
    visitors.leave().await?;
    all_went_well(creator).await?;
    market.apart.control.settled().await?;
    ensure!(market.apart.edge.settled().await? == edge, "the edge had no part in it");
    market.goes_on().await
}
