//! One process in the place of another, again and again, under visitors of every kind.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep, timeout};

use crate::Effort;
use crate::figure::{Report, median, percentile};
use crate::machine;
use crate::peer::{HOST, Nginx};
use crate::stoa::Stoa;
use crate::visitors::{Crowd, Habit, Place, Tally};

/// Visitors by habit, and how often each asks in a second: 2,000 requests a second in all.
const CROWD: [(Habit, usize, u32); 3] =
    [(Habit::Kept, 40, 20), (Habit::New, 20, 10), (Habit::Streams, 40, 25)];
/// Longest that an upgrade may take.
const BOUND: Duration = Duration::from_secs(40);

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    if machine::program("nginx").is_none() {
        report.skip("nginx", "not installed (Debian: nginx-light); it is the backend");
        return Ok(());
    }
    let backend = Nginx::backend(folder.path(), machine::cores().saturating_sub(1)).await?;
    let mut stoa = Stoa::start(folder.path(), 0, "").await?;
    let tenant = stoa.tenant("bench").await?;
    stoa.app(&tenant, "bench", backend.port).await?;
    let place = stoa.place(HOST)?;
    warm(&place).await?;
    let before = stoa.settled_requests(&tenant, None).await?;
    let (upgrades, pause) =
        if effort.quick { (3, Duration::from_secs(3)) } else { (20, Duration::from_secs(4)) };
    let begun = Instant::now();
    let crowd = Crowd::gather(&place, &CROWD);
    let mut taken = Vec::new();
    for _ in 0..upgrades {
        sleep(pause).await;
        let asked = Instant::now();
        timeout(BOUND, stoa.renew()).await.context("an upgrade took too long")??;
        taken.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    sleep(pause).await;
    let tally = crowd.go_home().await;
    tell(&tally, begun.elapsed(), taken, report);
    let counted = stoa.settled_requests(&tenant, Some(before + tally.served)).await?.saturating_sub(before);
    report.add("stoa", "requests_counted", number(counted), "requests");
    ensure!(tally.failed == 0, "{} requests failed, as: {:?}", tally.failed, tally.failures);
    ensure!(counted == tally.served, "{} requests were served, {counted} counted", tally.served);
    Ok(())
}

/// Until the app is known and has a certificate.
async fn warm(place: &Place) -> anyhow::Result<()> {
    for _ in 0..100 {
        let crowd = Crowd::gather(place, &[(Habit::New, 1, 50)]);
        sleep(Duration::from_millis(100)).await;
        let tally = crowd.go_home().await;
        if tally.failed == 0 && tally.served > 0 {
            return Ok(());
        }
    }
    anyhow::bail!("the app is not served")
}

fn tell(tally: &Tally, time: Duration, taken: Vec<f64>, report: &mut Report) {
    let mut millis = tally.millis.clone();
    report.add("stoa", "upgrades", number(taken.len() as u64), "upgrades");
    report.add("stoa", "requests_served", number(tally.served), "requests");
    report.add("stoa", "requests_failed", number(tally.failed), "requests");
    report.add("stoa", "streams_moved", number(tally.moved), "requests");
    report.add("stoa", "requests_per_second", number(tally.served) / time.as_secs_f64(), "1/s");
    report.add("stoa", "request_p50", percentile(&mut millis, 50), "ms");
    report.add("stoa", "request_p99", percentile(&mut millis, 99), "ms");
    report.add("stoa", "request_max", percentile(&mut millis, 100), "ms");
    report.add("stoa", "take_over_median", median(taken), "ms");
}

fn number(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}
