//! A new binary or a new configuration takes over while visitors come and go, and none of them notices.

use anyhow::{Result, ensure};
use testkit::curl::Answer;
use testkit::process::Signal;
use testkit::stoa::Stoa;
use testkit::wait;
use tokio::task::JoinHandle;

use crate::crowd::{self, Crowd};
use crate::installation::WithApp;

/// Long enough for a request that waits, short enough for a test.
const DRAIN: &str = "[edge]\ndrain_seconds = 4\n";

async fn start() -> Result<WithApp> {
    WithApp::over(Stoa::builder().config(DRAIN).start().await?).await
}

/// Waits until exactly as much is counted as the app has seen.
async fn all_is_counted(installed: &WithApp) -> Result<()> {
    crowd::all_is_counted(&installed.tenant, &installed.origin).await
}

/// Visitors of the app.
fn gather(installed: &WithApp) -> Result<Crowd> {
    Crowd::gather(installed.stoa.edge(), &installed.app.hostname)
}

/// A request that takes so long, once the app has it.
async fn slow(installed: &WithApp, millis: u64) -> Result<JoinHandle<Result<Answer>>> {
    let seen = installed.origin.requests();
    let slow = tokio::spawn(installed.app.get(&format!("/slow/{millis}")).http1().send());
    wait::until("the request at the app", wait::LONG, async || {
        ensure!(installed.origin.requests() > seen);
        Ok(())
    })
    .await?;
    Ok(slow)
}

/// How many batches of usage the first process has written down.
fn written_down(installed: &WithApp) -> Result<usize> {
    let journal = std::fs::read(installed.stoa.data().join("edge.usage"))?;
    Ok(String::from_utf8_lossy(&journal).matches(r#"{"batch":"#).count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_visitor_notices_two_upgrades_and_every_request_is_counted_once() -> Result<()> {
    let mut installed = start().await?;
    let crowd = gather(&installed)?;
    for _ in 0..2 {
        crowd.come().await?;
        installed.stoa.renew().await?;
    }
    crowd.come().await?;
    crowd.leave().await?;
    installed.stoa.retired_ended().await?;
    all_is_counted(&installed).await?;
    ensure!(installed.stoa.stop().await.is_ok());
    installed.stoa.start_again().await?;
    all_is_counted(&installed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_reloads_at_once_leave_one_process_and_no_visitor_notices() -> Result<()> {
    let mut installed = start().await?;
    let crowd = gather(&installed)?;
    crowd.come().await?;
    installed.stoa.signal(Signal::Hup)?;
    logged(&installed, "starting a process in the place of this one", 1).await?;
    installed.stoa.signal(Signal::Hup)?;
    logged(&installed, "took the place of the process before", 2).await?;
    crowd.come().await?;
    crowd.leave().await?;
    installed.stoa.settled().await?;
    ensure!(installed.app.get("/").send().await?.status == 200);
    all_is_counted(&installed).await
}

/// Waits until the log has the line so many times.
async fn logged(installed: &WithApp, line: &str, times: usize) -> Result<()> {
    wait::until(line, wait::LONG, async || {
        ensure!(installed.stoa.log().matches(line).count() == times, "{}", installed.stoa.log());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_request_under_way_ends_in_the_old_process() -> Result<()> {
    let mut installed = start().await?;
    let slow = slow(&installed, 1_500).await?;
    installed.stoa.renew().await?;
    ensure!(installed.app.get("/").send().await?.status == 200);
    ensure!(slow.await??.status == 200);
    installed.stoa.retired_ended().await?;
    all_is_counted(&installed).await
}

#[tokio::test]
async fn a_kill_of_the_old_process_while_it_ends_loses_no_usage() -> Result<()> {
    let mut installed = start().await?;
    all_is_counted(&installed).await?;
    let (before, written) = (installed.tenant.used().await?.visitor, written_down(&installed)?);
    let slow = slow(&installed, 20_000).await?;
    ensure!(installed.app.get("/").send().await?.status == 200);
    installed.stoa.renew().await?;
    wait::until("its usage on the disk", wait::LONG, async || {
        ensure!(written_down(&installed)? > written);
        Ok(())
    })
    .await?;
    installed.stoa.kill9_retired();
    ensure!(slow.await?.is_err());
    wait::until("its usage", wait::LONG, async || {
        ensure!(installed.tenant.used().await?.visitor == before + 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_configuration_that_is_not_valid_changes_nothing() -> Result<()> {
    let installed = start().await?;
    let (before, config) = (installed.stoa.in_charge()?, std::fs::read_to_string(installed.stoa.config())?);
    std::fs::write(installed.stoa.config(), format!("surprise = 1\n{config}"))?;
    installed.stoa.signal(Signal::Usr2)?;
    wait::until("the reason", wait::LONG, async || {
        ensure!(installed.stoa.log().contains("unknown key `surprise`"), "{}", installed.stoa.log());
        ensure!(installed.stoa.log().contains("which goes on"));
        Ok(())
    })
    .await?;
    ensure!(installed.stoa.in_charge()? == before);
    ensure!(installed.app.get("/").send().await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn a_changed_configuration_is_in_force_after_a_reload() -> Result<()> {
    let mut installed = start().await?;
    let config = std::fs::read_to_string(installed.stoa.config())?;
    let log = installed.stoa.data().join("other.log");
    let changed = config.replace("[edge]", &format!("[edge]\naccess_log = {log:?}"));
    std::fs::write(installed.stoa.config(), changed)?;
    installed.stoa.renew().await?;
    wait::until("the line", wait::LONG, async || {
        ensure!(installed.app.get("/bytes/7").send().await?.status == 200);
        ensure!(std::fs::read_to_string(&log)?.contains("/bytes/7"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_end_that_is_asked_for_during_an_upgrade_ends_everything() -> Result<()> {
    let mut installed = start().await?;
    installed.stoa.signal(Signal::Hup)?;
    installed.stoa.stop().await?;
    let (https, address) = (installed.stoa.edge().https, installed.stoa.ports().api.address());
    wait::until("nobody to listen", wait::LONG, async || {
        ensure!(tokio::net::TcpStream::connect(https).await.is_err());
        ensure!(tokio::net::TcpStream::connect(address).await.is_err());
        Ok(())
    })
    .await
}
