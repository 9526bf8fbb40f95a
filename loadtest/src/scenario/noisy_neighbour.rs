//! A quiet tenant beside a loud one and a slow one: what its visitors feel of them.
//!
//! The quiet tenant has 500 requests a second, evenly spread. Beside it, one tenant gets fifty times what its limit
//! allows, from another visitor; another tenant's backend takes half a second for each answer, under two hundred
//! requests a second. Calm rounds and loud ones take turns; percentiles are of all rounds of a kind together. The
//! run fails if a request of the quiet tenant fails, if the loud one's are answered otherwise than by its app or by
//! 429, or if more of them are let through than its limit and burst allow.
//!
//! Stoa alone: what is asked is whether its limits keep tenants apart, and not what a proxy without them would do.
//! All generators share a core with the backend; how late the quiet one was itself is told.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;
use reqwest::Method;
use serde_json::json;
use testkit::origin::Origin;
use tokio::time::Instant;

use super::beside::{Look, Round, schedule};
use crate::Effort;
use crate::figure::{Report, events};
use crate::machine;
use crate::open_loop::{Arrivals, Ask, Destination, Dial, Http, Lines, Load, On, Same, Tally, Wanted};
use crate::peer::Nginx;
use crate::stoa::{Stoa, ZONE};

/// Which core the edge has; everything else has the last one.
const EDGE_CORE: usize = 0;
/// Requests a second.
const QUIET_RATE: f64 = 500.0;
const LOUD_RATE: f64 = 5_000.0;
const SLOW_RATE: f64 = 200.0;
/// What the loud tenant may have: requests a minute, and at once after a quiet time.
const LIMIT: (u32, u32) = (6_000, 100);
/// Where the slow backend takes half a second.
const SLOW_PATH: &str = "/slow/500";
/// Visitors of the loud tenant and of the slow one come from elsewhere.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FINE: Wanted = Wanted { statuses: &[200], bytes: Some(1024) };
/// The answers of a limit have another body than those of an app.
const FINE_OR_LIMITED: Wanted = Wanted { statuses: &[200, 429], bytes: None };
const SLOW_BUT_FINE: Wanted = Wanted { statuses: &[200], bytes: None };

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    if machine::program("nginx").is_none() {
        report.skip("nginx", "not installed (Debian: nginx-light); it is the backend");
        return Ok(());
    }
    let house = House::open().await?;
    let (rounds, seconds) = schedule(effort);
    house.quiet(1).run().await?; // warm: connections, caches, branch predictors
    let (mut calm, mut loud) = (Seen::new(), Seen::new());
    let mut neighbours = [Tally::new(), Tally::new()];
    let begun = Instant::now();
    for _ in 0..rounds {
        house.listen(&mut calm, seconds, async || Ok(())).await?;
        let neighbours = &mut neighbours;
        let noise = async || {
            let (flood, slow) = tokio::try_join!(house.flood(seconds).run(), house.slow(seconds).run())?;
            neighbours[0].add(&flood);
            neighbours[1].add(&slow);
            Ok(())
        };
        house.listen(&mut loud, seconds, noise).await?;
    }
    let [flood, slow] = neighbours;
    tell(&calm, &loud, (&flood, &slow), report);
    let unwanted = calm.tally.unwanted + loud.tally.unwanted + flood.unwanted + slow.unwanted;
    ensure!(unwanted == 0, "{unwanted} requests were not answered as they should be");
    let admitted = flood.statuses.get(&200).copied().unwrap_or_default();
    let most = f64::from(LIMIT.1) + f64::from(LIMIT.0) / 60.0 * begun.elapsed().as_secs_f64();
    ensure!(events(admitted) <= most, "{admitted} requests of the loud tenant passed, {most:.0} may");
    Ok(())
}

/// The edge with its three tenants.
struct House {
    core: usize,
    stoa: Stoa,
    backend: Nginx,
    _origin: Origin,
    _folder: tempfile::TempDir,
}

impl House {
    async fn open() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let core = machine::cores().saturating_sub(1);
        machine::stay_on(core)?;
        let (backend, origin) = (Nginx::backend(folder.path(), core).await?, Origin::start("slow").await?);
        let stoa = Stoa::start(folder.path(), EDGE_CORE, "").await?;
        for (name, port) in
            [("quiet", backend.port), ("loud", backend.port), ("sleepy", origin.address().port())]
        {
            let tenant = stoa.tenant(name).await?;
            stoa.app(&tenant, name, port).await?;
            if name == "loud" {
                let limit = json!({"requests_per_minute": LIMIT.0, "burst": LIMIT.1});
                let limits = json!({"tenant": limit, "visitor": limit});
                stoa.call(Method::PUT, &format!("/tenants/{tenant}/limits"), Some(limits)).await?;
            }
            stoa.serves(&host(name)).await?;
        }
        Ok(Self { core, stoa, backend, _origin: origin, _folder: folder })
    }

    fn load(&self, name: &str, ask: Ask, seconds: u32) -> Load {
        Load {
            dial: Dial::to(([127, 0, 0, 1], self.stoa.https).into()),
            lines: Vec::new(),
            arrivals: Arrivals::Constant,
            rate: QUIET_RATE,
            time: Duration::from_secs(seconds.into()),
            script: Box::new(Same {
                ask,
                destination: Destination { host: host(name).into(), wanted: None },
            }),
        }
    }

    fn quiet(&self, seconds: u32) -> Load {
        let lines = vec![
            Lines { http: Http::One, count: 16, at_a_time: 1 },
            Lines { http: Http::Two, count: 4, at_a_time: 4 },
        ];
        Load { lines, ..self.load("quiet", Ask { path: "/", wanted: FINE, on: On::Kept }, seconds) }
    }

    fn flood(&self, seconds: u32) -> Load {
        let load = self.load("loud", Ask { path: "/", wanted: FINE_OR_LIMITED, on: On::Kept }, seconds);
        let lines = vec![
            Lines { http: Http::One, count: 32, at_a_time: 1 },
            Lines { http: Http::Two, count: 4, at_a_time: 8 },
        ];
        Load { dial: load.dial.clone().from(ELSEWHERE), lines, rate: LOUD_RATE, ..load }
    }

    fn slow(&self, seconds: u32) -> Load {
        let load = self.load("sleepy", Ask { path: SLOW_PATH, wanted: SLOW_BUT_FINE, on: On::Kept }, seconds);
        let lines = vec![Lines { http: Http::Two, count: 8, at_a_time: 32 }];
        Load { dial: load.dial.clone().from(ELSEWHERE), lines, rate: SLOW_RATE, ..load }
    }

    /// Adds what the quiet tenant's visitors feel beside `noise`.
    async fn listen(
        &self,
        seen: &mut Seen,
        seconds: u32,
        noise: impl AsyncFnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let look = || Look::now(self.stoa.process.id(), Some(self.backend.process.id()), self.core);
        let before = look()?;
        let (tally, ()) = tokio::try_join!(self.quiet(seconds).run(), noise())?;
        seen.rounds.push(Round::between(&before, &look()?, tally.outcome(seconds)));
        seen.tally.add(&tally);
        Ok(())
    }
}

fn host(name: &str) -> String {
    format!("{name}.{ZONE}")
}

/// What the quiet tenant's visitors felt.
struct Seen {
    tally: Tally,
    rounds: Vec<Round>,
}

impl Seen {
    fn new() -> Self {
        Self { tally: Tally::new(), rounds: Vec::new() }
    }

    fn tell(&self, suffix: &str, report: &mut Report) {
        for (figure, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            report.add("quiet", &format!("{figure}_{suffix}"), self.tally.kept.millis(quantile), "ms");
        }
        report.add("quiet", &format!("failed_{suffix}"), events(self.tally.unwanted), "requests");
        let round = Round::median(&self.rounds);
        report.add("stoa", &format!("cpu_{suffix}"), round.proxy, "% of a core");
        report.add("generator", &format!("generators_core_{suffix}"), round.core, "% busy");
        self.tally.tell_generator(suffix, report);
        for note in self.tally.excuse(round.core).iter().chain(&self.tally.failures) {
            report.note("quiet", &format!("{suffix}: {note}"));
        }
    }
}

fn tell(calm: &Seen, loud: &Seen, (flood, slow): (&Tally, &Tally), report: &mut Report) {
    calm.tell("calm", report);
    loud.tell("beside", report);
    for (figure, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let ratio = loud.tally.kept.millis(quantile) / calm.tally.kept.millis(quantile);
        report.add("quiet", &format!("{figure}_ratio_to_calm"), ratio, "×");
    }
    for (name, tally) in [("loud", flood), ("sleepy", slow)] {
        for (status, count) in &tally.statuses {
            report.add(name, &format!("status_{status}"), events(*count), "requests");
        }
        report.add(name, "p99", tally.kept.millis(0.99), "ms");
        tally.failures.iter().for_each(|failure| report.note(name, failure));
    }
}
