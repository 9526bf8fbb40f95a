//! An empty folder, one command, the first answer over HTTPS.

use std::time::Duration;

use tokio::time::Instant;

use crate::Effort;
use crate::figure::{Report, median};
use crate::stoa::Stoa;

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let rounds = if effort.quick { 3 } else { 9 };
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let folder = tempfile::tempdir()?;
        cold.push(first_answer(folder.path()).await?);
        warm.push(first_answer(folder.path()).await?);
    }
    report.add("stoa", "cold_start_to_first_200", median(cold), "ms");
    report.add("stoa", "second_start_to_first_200", median(warm), "ms");
    Ok(())
}

async fn first_answer(folder: &std::path::Path) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let stoa = Stoa::start(folder, 0, "").await?;
    let visitor = stoa.visitor("hello.apps.localhost")?;
    let url = format!("https://hello.apps.localhost:{}/", stoa.https);
    loop {
        if let Ok(response) = visitor.get(&url).send().await
            && response.status().is_success()
        {
            break;
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), "the demo app does not answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let taken = begun.elapsed().as_secs_f64() * 1000.0;
    stoa.process.stop()?;
    Ok(taken)
}
