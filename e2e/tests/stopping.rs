//! An operator stops Stoa: politely, and then without patience.

use anyhow::{Result, ensure};
use testkit::process::Signal;
use testkit::stoa::Stoa;
use testkit::wait;

use crate::installation::WithApp;

/// A drain that no test waits for.
const DRAIN: &str = "[edge]\ndrain_seconds = 600\n";

#[tokio::test]
async fn a_second_signal_cuts_what_is_left_and_loses_nothing_that_has_ended() -> Result<()> {
    let mut installed = WithApp::over(Stoa::builder().config(DRAIN).start().await?).await?;
    for (cut, signal) in [(1, Signal::Term), (2, Signal::Int)] {
        let seen = installed.origin.requests();
        let slow = tokio::spawn(installed.app.get("/slow/600000").http1().send());
        wait::until("the request at the app", wait::LONG, async || {
            ensure!(installed.origin.requests() > seen);
            Ok(())
        })
        .await?;
        // Their second has not passed when the process is cut.
        for _ in 0..5 {
            ensure!(installed.app.get("/").send().await?.status == 200);
        }
        installed.stoa.signal(signal)?;
        wait::until("the drain", wait::LONG, async || {
            let times = installed.stoa.log().matches("signal again to stop at once").count();
            ensure!(times as u64 == cut);
            Ok(())
        })
        .await?;
        ensure!(!slow.is_finished() && installed.stoa.is_running()?, "it waits for the request");
        installed.stoa.signal(signal)?;
        let ended = installed.stoa.ended().await?;
        ensure!(ended.code() == Some(130) && slow.await?.is_err(), "{ended:?}");
        installed.stoa.start_again().await?;
        wait::until("what has ended to be counted", wait::LONG, async || {
            let (used, seen) = (installed.tenant.used().await?.visitor, installed.origin.requests());
            ensure!(used + cut == seen, "{used} of {seen}, {cut} cut");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
