//! A whole installation that is killed at random moments while it orders certificates, again and again.
//!
//! Each time a domain is connected, the process is killed (`kill -9`) a random moment after the authority has seen a
//! random number of requests, i.e. at any message or at any write to the store between them, and started again with
//! what it had on disk. Names are proved over HTTP through its own edge.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::ca::{self, Ca, Validation};
use crate::dns::ChallTestSrv;
use crate::marketplace::{App, Domain, Tenant};
use crate::stoa::{Ports, Stoa};
use crate::wait;

/// More requests than an order needs, those of the first one's account included; beyond its end the process is killed
/// when all is done.
const REQUESTS: u64 = 14;
/// The kill comes so much later at most: several writes.
const LATER: Duration = Duration::from_millis(60);
/// Domains of one app.
const EACH: u32 = 50;
/// Longer than a domain takes on a loaded machine.
const BOUND: Duration = Duration::from_secs(90);

/// What became of an installation that was killed so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survived {
    /// How often it was killed.
    pub kills: u32,
    /// How many of these came while an order was under way.
    pub under_way: u32,
    /// Orders that the authority opened beyond one for each domain.
    pub extra_orders: u64,
    /// Orders that fell because the edge was killed while the authority fetched the answer from it; a new one each is
    /// the only way on, and counts as an extra one.
    pub failed_checks: u64,
    /// Certificates that it signed and nobody was ever served with.
    pub lost: u64,
    /// The longest time from the start of the process, when it was ready, until its domain was live.
    pub slowest: Duration,
}

/// Kills an installation so often, and starts it again each time. The binary must have been built.
///
/// # Errors
/// If a domain does not come to life after a kill, or the installation does not start.
pub async fn survive(kills: u32, seed: u64) -> Result<Survived> {
    let mut scene = Scene::start(seed).await?;
    let slowest = Duration::ZERO;
    let mut survived = Survived { kills, under_way: 0, extra_orders: 0, failed_checks: 0, lost: 0, slowest };
    for number in 0..kills {
        let (was_under_way, took) =
            scene.kill(number).await.with_context(|| format!("kill {number}, seed {seed}"))?;
        survived.under_way += u32::from(was_under_way);
        survived.slowest = survived.slowest.max(took);
    }
    let counts = scene.ca.counts();
    survived.failed_checks = counts.failed_checks;
    survived.extra_orders = counts.orders.saturating_sub(kills.into());
    survived.lost = counts.finalized.saturating_sub(kills.into());
    scene.stoa.stop().await?;
    Ok(survived)
}

struct Scene {
    dns: ChallTestSrv,
    ca: Ca,
    stoa: Stoa,
    tenant: Tenant,
    app: App,
    chance: StdRng,
}

impl Scene {
    async fn start(seed: u64) -> Result<Self> {
        let (dns, ports) = (ChallTestSrv::start().await?, Ports::lease()?);
        let validation = Validation::Http { port: ports.http.number() };
        let ca = Ca::start(ca::Options { validation, seed, ..ca::Options::default() }).await?;
        let config = format!(
            "[acme]\ndirectory = {:?}\nca_file = {:?}\n[dns]\nresolvers = [\"{}\"]\n",
            ca.directory_url,
            ca.ca_file,
            dns.resolver()
        );
        let stoa = Stoa::builder().ports(ports).config(&config).start().await?;
        let tenant = Tenant::create(stoa.api()?, stoa.edge().clone(), "ann").await?;
        tenant.unlimited().await?;
        let app = tenant.app("shop", &[]).await?;
        Ok(Self { dns, ca, stoa, tenant, app, chance: StdRng::seed_from_u64(seed) })
    }

    /// One domain with one kill: whether its order was under way, and how long it took to come to life afterwards.
    async fn kill(&mut self, number: u32) -> Result<(bool, Duration)> {
        if number > 0 && number.is_multiple_of(EACH) {
            self.app = self.tenant.app(&format!("shop-{number}"), &[]).await?;
        }
        let before = self.ca.counts();
        let domain = self.connect(&format!("www.shop-{number}.com")).await?;
        let at = self.requests() + self.chance.random_range(1..=REQUESTS);
        let reached = async {
            while self.requests() < at && !is_live(&domain).await {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(BOUND, reached).await.context("no order was begun")?;
        sleep(LATER.mul_f64(self.chance.random())).await;
        self.stoa.kill9();
        let at_kill = self.ca.counts();
        self.stoa.start_again().await?;
        let begun = Instant::now();
        domain.until("live", BOUND).await?;
        let is_under_way = at_kill.orders > before.orders && at_kill.finalized == before.finalized;
        Ok((is_under_way, begun.elapsed()))
    }

    async fn connect(&self, host: &str) -> Result<Domain> {
        let domain = self.app.domain(host).await?;
        let asked = domain.until("needs_dns", wait::LONG).await?;
        let target = asked.pointer("/next_action/record/value").and_then(Value::as_str);
        let target = target.context("no record is asked for")?;
        self.dns.add_a(target, [127, 0, 0, 1].into()).await?;
        self.dns.set_cname(host, target).await?;
        domain.check().await?;
        Ok(domain)
    }

    /// What the authority was asked for, but for what is asked whether or not there are orders.
    fn requests(&self) -> u64 {
        let counts = self.ca.counts();
        let asked = counts.requests.iter().filter(|(kind, _)| **kind != ca::Kind::RenewalInfo);
        asked.map(|(_, count)| count).sum()
    }
}

async fn is_live(domain: &Domain) -> bool {
    domain.fetch().await.is_ok_and(|found| found.get("status").is_some_and(|status| status == "live"))
}
