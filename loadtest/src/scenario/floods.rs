//! Floods over HTTP/2 at full speed, for a bounded time: how the edge ends them, what of them reaches an app, what
//! they cost the edge, and good traffic beside them.
//!
//! A visitor floods until the edge has ended the connection, and begins again at once with a new one. One flood is
//! what comes on one connection; each asks for a path of its own, so that what reached the app is counted for each.
//! The run fails if a flood is not ended, if more than 5 requests of one reach the app, or if good traffic fails.

mod kinds;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use testkit::edge::Edge;
use testkit::http2::{Client, Frame};
use testkit::origin::Origin;
use tokio::time::{Instant, sleep, timeout};

use crate::Effort;
use crate::figure::{Report, number, percentile};
use crate::good::{Good, Seen};
use crate::machine;
use crate::peer::Nginx;
use crate::stoa::Stoa;
use kinds::Kind;

/// Which core the edge has; everything else has the last one.
const EDGE_CORE: usize = 0;
/// The app that is flooded.
const FLOODED: &str = "flooded.apps.localhost";
/// Floods of one kind at most.
const MOST_FLOODS: u16 = 4_000;
/// Pieces of one flood at most, and how many of them are sent together.
const MOST_PIECES: u32 = 200_000;
const TOGETHER: u32 = 50;
/// A flood that the edge does not end by then goes on for ever.
const LONGEST: Duration = Duration::from_secs(20);
/// Requests of a flood that may reach the app.
const MOST_REACHED: u64 = 5;

/// What came of the floods of one kind.
#[derive(Debug, Default)]
struct Siege {
    not_ended: usize,
    pieces: f64,
    /// How long each of them lasted.
    millis: Vec<f64>,
    /// How they were told to end, and how often.
    farewells: BTreeMap<String, usize>,
    seconds: f64,
}

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    if !Good::is_possible(report) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let core = machine::cores().saturating_sub(1);
    let (backend, origin) = (Nginx::backend(folder.path(), core).await?, Origin::start("flooded").await?);
    let stoa = Stoa::start(folder.path(), EDGE_CORE, "").await?;
    let tenant = stoa.tenant("bench").await?;
    stoa.app(&tenant, "bench", backend.port).await?;
    stoa.app(&tenant, "flooded", origin.address().port()).await?;
    stoa.visitor(FLOODED)?.get(format!("https://{FLOODED}:{}/", stoa.https)).send().await?;
    machine::stay_on(core)?;
    let good = Good::new(&stoa, folder.path(), core)?;
    good.measure(2, &mut Seen::default()).await?; // warm: connections, caches, branch predictors
    let seconds = if effort.quick { 2 } else { 6 };
    let (mut calm, mut faults) = (Seen::default(), Vec::new());
    for kind in Kind::ALL {
        good.measure(seconds, &mut calm).await?;
        faults.extend(besiege(&stoa, &origin, &good, (kind, seconds), report).await?);
    }
    calm.tell("good", "calm", report);
    ensure!(faults.is_empty(), "{}", faults.join("; "));
    Ok(())
}

/// Floods of one kind, and good traffic, for so many seconds. Tells what is wrong with how the edge took it.
async fn besiege(
    stoa: &Stoa,
    origin: &Origin,
    good: &Good,
    (kind, seconds): (Kind, u32),
    report: &mut Report,
) -> anyhow::Result<Vec<String>> {
    let (name, before, mut seen) = (kind.name(), reached(origin), Seen::default());
    let attack = tokio::spawn(lay(stoa.edge(), kind, Duration::from_secs(seconds.into())));
    good.measure(seconds, &mut seen).await?;
    let mut siege = attack.await??;
    // What is on its way to the app has arrived by then.
    sleep(Duration::from_millis(300)).await;
    let most = reached(origin).iter().zip(before).map(|(after, before)| after - before).max();
    let most = most.unwrap_or_default();
    siege.tell(name, most, report);
    seen.tell(name, "beside", report);
    let mut faults = Vec::new();
    if siege.millis.is_empty() || siege.not_ended > 0 {
        faults.push(format!("{name}: {} of {} floods were not ended", siege.not_ended, siege.millis.len()));
    }
    if most > MOST_REACHED {
        faults.push(format!("{name}: {most} requests of a flood reached the app"));
    }
    if seen.failed() > 0 {
        faults.push(format!("{name}: {} good requests failed", seen.failed()));
    }
    Ok(faults)
}

/// How many requests have come so far for the path of each flood.
fn reached(origin: &Origin) -> Vec<u64> {
    (0..MOST_FLOODS).map(|number| origin.requests_for(&path(number))).collect()
}

/// Answers there are slow: a request that is taken back is one under way.
fn path(flood: u16) -> String {
    format!("/slow/{}", 200 + flood)
}

/// Flood after flood.
async fn lay(edge: Edge, kind: Kind, time: Duration) -> anyhow::Result<Siege> {
    let (begun, mut siege) = (Instant::now(), Siege::default());
    for number in 0..MOST_FLOODS {
        if begun.elapsed() >= time {
            break;
        }
        let since = Instant::now();
        let end = flood(&edge, kind, &path(number), &mut siege.pieces).await?;
        siege.millis.push(since.elapsed().as_secs_f64() * 1e3);
        let farewell = match end {
            Some(Some(goaway)) => {
                format!("GOAWAY {} `{}`", goaway.code().context("no code")?, goaway.debug())
            }
            Some(None) => "closed without GOAWAY".to_owned(),
            None => {
                siege.not_ended += 1;
                continue;
            }
        };
        *siege.farewells.entry(farewell).or_default() += 1;
    }
    siege.seconds = begun.elapsed().as_secs_f64();
    Ok(siege)
}

/// Sends until the connection is ended; none if it is not. With the GOAWAY, if there was one.
async fn flood(
    edge: &Edge,
    kind: Kind,
    path: &str,
    pieces: &mut f64,
) -> anyhow::Result<Option<Option<Frame>>> {
    let mut client = Client::open(edge, FLOODED, &[]).await?;
    let mut is_open = client.send(&kind.start(FLOODED, path)).await.is_ok();
    let mut sent = 0;
    while is_open && sent < MOST_PIECES {
        let bytes: Vec<u8> =
            (sent..sent + TOGETHER).flat_map(|number| kind.piece(FLOODED, path, number)).collect();
        is_open = matches!(timeout(LONGEST, client.send(&bytes)).await, Ok(Ok(())));
        sent += TOGETHER;
    }
    *pieces += f64::from(sent);
    Ok(timeout(LONGEST, client.farewell()).await.ok().and_then(Result::ok))
}

impl Siege {
    fn tell(&mut self, name: &str, most_reached: u64, report: &mut Report) {
        let floods = number(self.millis.len());
        report.add(name, "floods", floods, "connections");
        report.add(name, "pieces_sent", self.pieces, "pieces");
        report.add(name, "pieces_per_second", self.pieces / self.seconds, "1/s");
        report.add(name, "flood_p50", percentile(&mut self.millis, 50), "ms");
        report.add(name, "flood_max", percentile(&mut self.millis, 100), "ms");
        report.add(name, "not_ended", number(self.not_ended), "connections");
        let most = u32::try_from(most_reached).map_or(f64::MAX, f64::from);
        report.add(name, "most_at_backend", most, "requests of one flood");
        for (farewell, count) in &self.farewells {
            report.note(name, &format!("{count} × {farewell}"));
        }
    }
}
