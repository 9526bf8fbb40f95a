//! Two control planes beside one Postgres: one that stands still in the middle of an order loses it to the other, and
//! does no harm when it comes back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use testkit::api::text;
use testkit::ca::{self, Ca, Kind, Validation};
use testkit::dns::ChallTestSrv;
use testkit::marketplace::Tenant;
use testkit::postgres::Postgres;
use testkit::process::Signal;
use testkit::stoa::{Ports, Role, Stoa};
use testkit::wait;
use tokio::time::{Instant, sleep};

/// How long an order is left to a process that gives no sign of life.
const LEASE: Duration = Duration::from_secs(3);
/// A lease, and what a loaded machine adds.
const BOUND: Duration = Duration::from_secs(90);
/// Whichever process sees a domain first orders its certificate: enough that the one in question has some in its hands.
const MOST: u64 = 60;
const TAKEN_OVER: u32 = 2;
/// Requests of one order at the authority, about. When they are fewer, the process stands still after its end.
const REQUESTS: u64 = 8;
const MASTER_KEY: &str = "6b1f5c0a9d3e47288f6a1c2b3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60";

#[tokio::test]
async fn a_process_that_stood_still_with_an_order_in_its_hands_does_no_harm_when_it_goes_on() -> Result<()> {
    let (dns, ports, postgres) = (ChallTestSrv::start().await?, Ports::lease()?, Postgres::start().await?);
    let validation = Validation::Http { port: ports.http.number() };
    let ca = Ca::start(ca::Options { validation, ..ca::Options::default() }).await?;
    let config = format!(
        "[acme]\ndirectory = {:?}\nca_file = {:?}\n[dns]\nresolvers = [\"{}\"]\n[store]\nurl = {:?}\n",
        ca.directory_url,
        ca.ca_file,
        dns.resolver(),
        postgres.database().await,
    );
    let control =
        || Stoa::builder().role(Role::Control).config(&config).environment("STOA_MASTER_KEY", MASTER_KEY);
    let steady = control().start().await?;
    let key = steady.api()?.post("/keys", json!({ "scope": "edge", "name": "test" })).await?.ok()?;
    let (url, secret) = (steady.ports().api.address(), text(&key, "secret")?);
    let of_edge = format!("[control]\nurl = \"http://{url}\"\nkey = {{ env = \"STOA_EDGE_KEY\" }}\n");
    let edge = Stoa::builder().role(Role::Edge).ports(ports).config(&of_edge);
    let edge = edge.environment("STOA_EDGE_KEY", &secret).start().await?;
    let drowsy = control().start().await?;

    let tenant = Tenant::create(steady.api()?, edge.edge().clone(), "ann").await?;
    tenant.unlimited().await?;
    let app = tenant.app("shop", &[]).await?;
    let asked =
        || ca.counts().requests.iter().filter(|(kind, _)| **kind != Kind::RenewalInfo).map(|(_, n)| n).sum();
    let (mut chance, mut taken_over, mut domains) = (StdRng::seed_from_u64(1), 0, 0);
    while taken_over < TAKEN_OVER {
        ensure!(domains < MOST, "{taken_over} of {domains} orders were taken over");
        let domain = app.domain(&format!("www.shop-{domains}.com")).await?;
        domains += 1;
        let told = domain.until("needs_dns", wait::LONG).await?;
        let target = told["next_action"]["record"]["value"].as_str().context("no record is asked for")?;
        dns.add_a(target, [127, 0, 0, 1].into()).await?;
        dns.set_cname(&domain.hostname, target).await?;
        domain.check().await?;
        let before: u64 = asked();
        let at = before + chance.random_range(1..=REQUESTS);
        wait::until("the order to be under way", BOUND, async || {
            let is_over = domain.fetch().await?["status"] == "live";
            ensure!(is_over || asked() >= at, "{} of {at} requests", asked());
            Ok(())
        })
        .await?;
        drowsy.signal(Signal::Stop)?;
        let stopped_at = Instant::now();
        let live = domain.until("live", BOUND).await;
        drowsy.signal(Signal::Cont)?;
        live?;
        taken_over += u32::from(stopped_at.elapsed() > LEASE);
        // Time to do what it was about to do.
        sleep(Duration::from_secs(1)).await;
    }
    let counts = ca.counts();
    println!("{taken_over} of {domains} orders were taken over: {counts:?}");
    assert_eq!(counts.finalized, domains, "a certificate for each, and none twice: {counts:?}");
    assert!(counts.orders <= domains + 1, "an answer that it slept through: {counts:?}");
    let kept = steady.api()?.get("/certificates?limit=100").await?.ok()?;
    let of_domains = kept["data"].as_array().into_iter().flatten();
    let of_domains =
        of_domains.filter(|held| held["names"][0].as_str().is_some_and(|name| name.ends_with(".com")));
    assert_eq!(of_domains.count() as u64, domains, "{kept}");
    Ok(())
}
