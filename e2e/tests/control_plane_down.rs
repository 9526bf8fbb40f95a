//! The control plane is away, and visitors do not notice, not even when an edge starts again.

use anyhow::Result;
use testkit::origin::Origin;
use testkit::postgres::Postgres;

use crate::installation::Apart;

#[tokio::test]
async fn an_edge_that_restarts_alone_serves_everything_it_served() -> Result<()> {
    restarts_alone("").await
}

#[tokio::test]
async fn the_same_holds_beside_postgres() -> Result<()> {
    let postgres = Postgres::start().await?;
    restarts_alone(&format!("[store]\nurl = {:?}\n", postgres.database().await)).await
}

async fn restarts_alone(store: &str) -> Result<()> {
    let mut apart = Apart::start(store, "").await?;
    let origin = Origin::start("one").await?;
    let tenant = apart.tenant("ann").await?;
    let apps = [tenant.app("shop", &[&origin]).await?, tenant.app("blog", &[&origin]).await?];
    for app in &apps {
        app.live().await?;
    }
    apart.control.kill9();
    for app in &apps {
        assert_eq!(app.get("/").send().await?.body, "one");
    }
    apart.edge.kill9();
    apart.edge.start_again().await?;
    for app in &apps {
        assert_eq!(app.get("/").send().await?.body, "one");
    }
    Ok(())
}

#[tokio::test]
async fn an_edge_catches_up_when_the_control_plane_is_back() -> Result<()> {
    let mut apart = Apart::start("", "").await?;
    let origin = Origin::start("one").await?;
    let tenant = apart.tenant("ann").await?;
    let shop = tenant.app("shop", &[&origin]).await?;
    shop.live().await?;
    apart.control.kill9();
    assert_eq!(shop.get("/").send().await?.status, 200);
    apart.control.start_again().await?;
    tenant.app("blog", &[&origin]).await?.live().await?;
    let served = testkit::wait::until("usage of the outage", testkit::wait::LONG, async || {
        let used = tenant.used().await?.visitor;
        anyhow::ensure!(used >= 3, "{used} requests");
        Ok(used)
    });
    assert!(served.await? <= origin.requests());
    Ok(())
}
