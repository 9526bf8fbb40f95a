//! What can go wrong while one process takes the place of another: visitors are served all the same.

use anyhow::{Result, ensure};
use testkit::command::{binary, run_command};
use testkit::process::Signal;
use testkit::stoa::Stoa;
use testkit::wait;

use crate::installation::WithApp;

/// A drain that a test can wait for.
const PATIENT: &str = "[edge]\ndrain_seconds = 4\n";
/// The same, and a time to be ready that is enough for the binary on a loaded machine.
const HASTY: &str = "reload_seconds = 4\n[edge]\ndrain_seconds = 4\n";

async fn start(config: &str) -> Result<WithApp> {
    WithApp::over(Stoa::builder().config(config).start().await?).await
}

/// Starts the binary when the file `go` is there, or never.
fn waiting() -> Result<String> {
    let binary = binary()?;
    Ok(format!(
        "i=0; while [ ! -e go ]; do i=$((i + 1)); [ $i -lt 600 ] || exit 1; sleep 0.05; done\nexec {binary:?} \"$@\""
    ))
}

async fn serves(installed: &WithApp) -> Result<()> {
    let answer = installed.app.get("/").send().await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    Ok(())
}

#[tokio::test]
async fn a_kill_of_the_old_process_before_the_new_one_is_ready_leaves_one_heir() -> Result<()> {
    let mut installed = start(PATIENT).await?;
    let stoa = &mut installed.stoa;
    stoa.install_script(&waiting()?)?;
    stoa.signal(Signal::Hup)?;
    wait::until("the new process", wait::LONG, async || {
        ensure!(stoa.processes().len() > 1);
        Ok(())
    })
    .await?;
    stoa.kill9();
    stoa.install_binary()?;
    // The heir has the data, though it does not serve yet.
    let third = run_command(stoa.command()?).await?;
    ensure!(third.code == Some(1) && third.errors.contains("held by another stoa"), "{third:?}");
    let waiting = tokio::spawn(installed.app.get("/").send());
    std::fs::write(stoa.config().with_file_name("go"), "")?;
    stoa.settled().await?;
    ensure!(waiting.await??.status == 200, "who came in between is served");
    installed.tenant.app("blog", &[&installed.origin]).await?.live().await?;
    ensure!(installed.tenant.used().await?.visitor <= installed.origin.requests());
    ensure!(installed.stoa.stop().await.is_ok());
    installed.stoa.start_again().await?;
    serves(&installed).await
}

#[tokio::test]
async fn a_process_that_cannot_take_over_is_ended_and_the_next_reload_works() -> Result<()> {
    let mut installed = start(HASTY).await?;
    let old = installed.stoa.in_charge()?;
    for (script, reason) in [
        ("exec sleep 60", "it was not ready in 4 s (`reload_seconds`)"),
        ("exit 3", "it ended before it was ready: exit status: 3"),
        ("echo nonsense >&0; exec sleep 60", "nonsense"),
    ] {
        installed.stoa.install_script(script)?;
        installed.stoa.signal(Signal::Hup)?;
        wait::until(reason, wait::LONG, async || {
            let log = installed.stoa.log();
            let told = log.lines().any(|line| line.contains(reason) && line.contains("which goes on"));
            ensure!(told && installed.stoa.processes() == [old], "{log}");
            Ok(())
        })
        .await?;
        ensure!(installed.stoa.in_charge()? == old);
        serves(&installed).await?;
    }
    installed.stoa.install_binary()?;
    installed.stoa.renew().await?;
    ensure!(installed.stoa.settled().await? != old);
    serves(&installed).await
}
