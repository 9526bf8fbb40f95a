//! What was served is counted, once, and soon.

use anyhow::{Result, ensure};
use testkit::figures::print_time;
use testkit::marketplace::Used;
use testkit::wait;
use tokio::time::Instant;

use crate::installation::WithApp;

/// Requests whose bytes are counted.
const REQUESTS: u64 = 10;

#[tokio::test]
async fn what_was_served_is_counted_once_to_the_byte() -> Result<()> {
    let installed = WithApp::start().await?;
    let before = counted(&installed).await?;
    for _ in 0..REQUESTS {
        assert_eq!(installed.app.get("/bytes/1000").send().await?.body.len(), 1000);
    }
    let served = Instant::now();
    let after = counted(&installed).await?;
    print_time("usage", "served_to_counted", served.elapsed());
    assert_eq!(
        (after.visitor, after.bytes_out),
        (before.visitor + REQUESTS, before.bytes_out + REQUESTS * 1000)
    );
    Ok(())
}

#[tokio::test]
async fn a_restart_counts_nothing_again() -> Result<()> {
    let mut installed = WithApp::start().await?;
    let before = counted(&installed).await?;
    installed.stoa.restart().await?;
    installed.app.get("/").send().await?;
    let after = counted(&installed).await?;
    assert_eq!(after.visitor, before.visitor + 1);
    Ok(())
}

/// Waits until as much is counted as the app's one backend has seen.
async fn counted(installed: &WithApp) -> Result<Used> {
    let look = async || {
        let (used, seen) = (installed.tenant.used().await?, installed.origin.requests());
        ensure!(used.visitor == seen, "{used:?}, {seen} seen");
        Ok(used)
    };
    wait::until("everything to be counted", wait::LONG, look).await
}
