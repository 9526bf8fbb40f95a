//! An app's server moves: its name gets another address, and nobody tells the marketplace.

use anyhow::{Result, ensure};
use serde_json::json;
use testkit::dns::ChallTestSrv;
use testkit::origin::Origin;
use testkit::stoa::Stoa;
use testkit::wait;

const NAME: &str = "backend.internal.test";

#[tokio::test]
async fn traffic_follows_the_name_and_no_request_asks_for_it() -> Result<()> {
    let dns = ChallTestSrv::start().await?;
    let old = Origin::start("old").await?;
    let new = old.beside("new", 2).await?;
    dns.add_a(NAME, [127, 0, 0, 1].into()).await?;
    let config = format!("[dns]\nresolvers = [\"{}\"]\n", dns.resolver());
    let stoa = Stoa::builder().config(&config).start().await?;
    let backend = json!({ "url": format!("http://{NAME}:{}", old.address().port()) });
    let app = stoa.tenant("ann").await?.app_with(json!({ "name": "shop", "backends": [backend] })).await?;
    app.live().await?;

    let before = dns.questions(NAME).await?;
    let visitor = stoa.edge().visitor(&app.hostname)?;
    for _ in 0..200 {
        ensure!(visitor.get("/").await? == "old");
    }
    let asked = dns.questions(NAME).await? - before;
    ensure!(asked < 80, "{asked} questions for 200 requests");

    dns.clear_a(NAME).await?;
    dns.add_a(NAME, [127, 0, 0, 2].into()).await?;
    let moved = async || {
        let body = visitor.get("/").await?;
        ensure!(body == "new", "{body}");
        Ok(())
    };
    wait::until("the new address", wait::LONG, moved).await?;
    ensure!(new.requests() > 0);

    dns.set_servfail(NAME).await?;
    let asked = dns.questions(NAME).await?;
    wait::until("another question", wait::LONG, async || {
        ensure!(dns.questions(NAME).await? >= asked + 2);
        Ok(())
    })
    .await?;
    ensure!(visitor.get("/").await? == "new", "the last good address is used on");
    Ok(())
}
