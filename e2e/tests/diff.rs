//! An operator looks at what a configuration would change before it does.

use anyhow::{Result, ensure};
use testkit::command::run;
use testkit::stoa::Stoa;

#[tokio::test]
async fn a_configuration_is_compared_with_what_runs() -> Result<()> {
    let mut stoa = Stoa::start().await?;
    stoa.settled().await?;
    let (config, dir) = (stoa.config(), tempfile::tempdir()?);
    let file = config.display().to_string();
    let said = run(&["diff", "--config", &file], dir.path()).await?;
    ensure!(said.code == Some(0) && said.output.contains("no differences"), "{said:?}");

    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, text.replace("[edge]", "[edge]\ndrain_seconds = 5"))?;
    let said = run(&["diff", "--config", &file], dir.path()).await?;
    ensure!(said.code == Some(1), "{said:?}");
    ensure!(said.output.trim() == "edge.drain_seconds: 30 (default) -> 5  [reload]", "{said:?}");
    let said = run(&["diff", "--config", &file, "--json"], dir.path()).await?;
    let json: serde_json::Value = serde_json::from_str(&said.output)?;
    ensure!(json["differences"][0]["takes_effect"] == "reload", "{json}");

    stoa.renew().await?;
    let said = run(&["diff", "--config", &file], dir.path()).await?;
    ensure!(said.code == Some(0), "{said:?}");

    let elsewhere = dir.path().join("elsewhere.db").display().to_string();
    let text = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("{text}\n[store]\nurl = \"sqlite:{elsewhere}\"\n"))?;
    let said = run(&["diff", "--config", &file], dir.path()).await?;
    ensure!(said.output.contains("store.url") && said.output.contains("[restart]"), "{said:?}");
    stoa.signal(testkit::process::Signal::Hup)?;
    testkit::wait::until("the refusal", testkit::wait::LONG, async || {
        ensure!(stoa.log().contains("`store.url` changed: that needs a restart"), "{}", stoa.log());
        Ok(())
    })
    .await?;

    stoa.stop().await?;
    let said = run(&["diff", "--config", &file], dir.path()).await?;
    ensure!(said.code == Some(2) && said.errors.contains("no stoa runs on"), "{said:?}");
    Ok(())
}
