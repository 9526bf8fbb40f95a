//! From the API's answer to the edge serving what was changed.

use std::time::Duration;

use tokio::time::Instant;

use crate::Effort;
use crate::figure::{Report, percentile};
use crate::stoa::{Stoa, ZONE};

/// Runs the scenario: new apps one after another, each asked for until the edge knows it.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stoa = Stoa::start(folder.path(), 0, "").await?;
    let tenant = stoa.tenant("changes").await?;
    let count = if effort.quick { 200 } else { 900 };
    let mut taken = Vec::with_capacity(count);
    for at in 0..count {
        let name = format!("change-{at}");
        // Nothing listens on port 9: the edge answers 502 for an app that it knows, 404 for others.
        let host = format!("{name}.{ZONE}");
        let visitor = stoa.visitor(&host)?;
        stoa.app(&tenant, &name, 9).await?;
        taken.push(until_known(&visitor, &format!("https://{host}:{}/", stoa.https)).await?);
    }
    report.add("stoa", "change_to_edge_p50", percentile(&mut taken, 50), "ms");
    report.add("stoa", "change_to_edge_p99", percentile(&mut taken, 99), "ms");
    report.add("stoa", "change_to_edge_max", percentile(&mut taken, 100), "ms");
    Ok(())
}

async fn until_known(visitor: &reqwest::Client, url: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    loop {
        if visitor.get(url).send().await?.status().as_u16() != 404 {
            return Ok(begun.elapsed().as_secs_f64() * 1000.0);
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(10), "{url} is not known after 10 s");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
