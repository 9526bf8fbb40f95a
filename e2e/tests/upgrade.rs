//! A new binary or a new configuration takes over while visitors come and go, and none of them notices.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::load::Load;
use testkit::process::Signal;
use testkit::stoa::Stoa;
use testkit::wait;

use crate::installation::WithApp;

/// Long enough for a request that waits, short enough for a test.
const DRAIN: &str = "[edge]\ndrain_seconds = 4\n";

/// More than the second after which usage is on the disk.
const WRITTEN_DOWN: Duration = Duration::from_millis(1_500);

async fn start() -> Result<WithApp> {
    WithApp::over(Stoa::builder().config(DRAIN).start().await?).await
}

/// Visitors who keep their connections (HTTP/2), keep them over HTTP/1.1, and make a new one each time.
fn visitors(installed: &WithApp) -> Result<[Load; 3]> {
    let (edge, host) = (installed.stoa.edge(), &installed.app.hostname);
    let (kept, kept1) = (edge.visitor(host)?, edge.visitor_http1(host)?);
    let (edge, host) = (edge.clone(), host.clone());
    let new = Load::start(1, move || {
        let request = edge.visitor(&host);
        async move { request?.get("/").await.map(drop) }
    });
    Ok([kept.load(2), kept1.load(2), new])
}

/// Waits until as much is counted as the app has seen.
async fn all_is_counted(installed: &WithApp) -> Result<()> {
    let look = async || {
        let (used, seen) = (installed.tenant.used().await?, installed.origin.requests());
        ensure!(used.visitor == seen, "{used:?}, {seen} seen");
        Ok(())
    };
    wait::until("everything to be counted", wait::LONG, look).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_visitor_notices_two_upgrades_and_every_request_is_counted_once() -> Result<()> {
    let mut installed = start().await?;
    let loads = visitors(&installed)?;
    for _ in 0..2 {
        loads[2].more(20).await?;
        installed.stoa.renew().await?;
    }
    loads[2].more(20).await?;
    for load in loads {
        let tally = load.stop().await;
        ensure!(tally.failed() == 0, "{} of {} failed: {:?}", tally.failed(), tally.sent, tally.failures);
    }
    installed.stoa.retired_ended().await?;
    all_is_counted(&installed).await?;
    ensure!(installed.stoa.stop().await.is_ok());
    installed.stoa.start_again().await?;
    all_is_counted(&installed).await
}

#[tokio::test]
async fn a_request_under_way_ends_in_the_old_process() -> Result<()> {
    let mut installed = start().await?;
    let slow = tokio::spawn(installed.app.get("/slow/1500").http1().send());
    let seen = installed.origin.requests();
    wait::until("the request at the app", wait::LONG, async || {
        ensure!(installed.origin.requests() > seen);
        Ok(())
    })
    .await?;
    installed.stoa.renew().await?;
    ensure!(installed.app.get("/").send().await?.status == 200);
    ensure!(slow.await??.status == 200);
    installed.stoa.retired_ended().await?;
    all_is_counted(&installed).await
}

#[tokio::test]
async fn a_kill_of_the_old_process_while_it_ends_loses_no_usage() -> Result<()> {
    let mut installed = start().await?;
    let slow = tokio::spawn(installed.app.get("/slow/20000").http1().send());
    let before = installed.tenant.used().await?.visitor;
    ensure!(installed.app.get("/").send().await?.status == 200);
    installed.stoa.renew().await?;
    tokio::time::sleep(WRITTEN_DOWN).await;
    installed.stoa.kill9_retired();
    ensure!(slow.await?.is_err());
    wait::until("its usage", wait::LONG, async || {
        ensure!(installed.tenant.used().await?.visitor > before);
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
