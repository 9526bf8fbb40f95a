//! An operator works from the command line: whatever the API can do, a command can, in words and in JSON.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::authority::Authority;
use testkit::command::{Said, binary, run_command};
use testkit::stoa::Stoa;

/// A shell whose environment points at an installation.
pub(crate) struct Shell {
    url: String,
    key: String,
}

impl Shell {
    pub(crate) fn new(stoa: &Stoa) -> Result<Self> {
        let url = format!("http://{}", stoa.ports().api.address());
        Ok(Self { url, key: stoa.api()?.key().to_owned() })
    }

    pub(crate) async fn run(&self, line: &str) -> Result<Said> {
        let mut command = std::process::Command::new(binary()?);
        command.args(line.split(' ')).env("STOA_URL", &self.url).env("STOA_KEY", &self.key);
        let said = run_command(command).await?;
        ensure!(said.code == Some(0), "stoa {line}: {said:?}");
        Ok(said)
    }

    /// Runs the line with `--json`, and returns what it printed.
    async fn json(&self, line: &str) -> Result<Value> {
        let said = self.run(&format!("{line} --json")).await?;
        serde_json::from_str(&said.output).with_context(|| format!("stoa {line}: {}", said.output))
    }

    /// As [`Self::json`], for the id of what was made.
    pub(crate) async fn id(&self, line: &str) -> Result<String> {
        testkit::api::text(&self.json(line).await?, "id")
    }
}

#[tokio::test]
async fn every_resource_has_its_commands() -> Result<()> {
    let stoa = Stoa::start().await?;
    let shell = Shell::new(&stoa)?;
    let tenant = shell.id("tenant create Ann").await?;
    let app = shell.id(&format!("app create {tenant} shop --backend http://127.0.0.1:3000,5")).await?;
    let domain = shell.id(&format!("domain add {app} shop.example.test")).await?;
    let key = shell.id(&format!("key create --scope tenant --tenant {tenant}")).await?;
    for line in [
        "tenant list",
        &format!("tenant rename {tenant} Anna"),
        &format!("tenant limits {tenant} --all 60000,5000 --visitor 3000,200"),
        &format!("tenant limits {tenant}"),
        &format!("app list {tenant}"),
        &format!("app backends {app} --backend http://127.0.0.1:3001"),
        &format!("domain list {app}"),
        &format!("domain check {domain}"),
        &format!("domain connect {domain}"),
        &format!("domain connect {domain} --forget"),
        "cert list",
        &format!("usage {tenant}"),
        "key list",
        &format!("audit --tenant {tenant}"),
        "edge",
        "ca list",
        &format!("tenant suspend {tenant} --reason unpaid"),
        &format!("tenant resume {tenant}"),
        &format!("key delete {key}"),
        &format!("domain delete {domain}"),
        &format!("app delete {app}"),
        &format!("tenant delete {tenant}"),
    ] {
        ensure!(!shell.run(line).await?.output.is_empty(), "stoa {line} says nothing");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_in_json_is_the_apis_and_in_words_a_table() -> Result<()> {
    let stoa = Stoa::start().await?;
    let shell = Shell::new(&stoa)?;
    let id = shell.id("tenant create Ann").await?;
    let list = shell.json("tenant list").await?;
    assert!(
        list["data"].as_array().is_some_and(|rows| rows.iter().any(|row| row["id"] == id.as_str())),
        "{list}"
    );
    let table = shell.run("tenant list").await?.output;
    assert!(table.lines().any(|line| line.contains(&id) && line.contains("Ann")), "{table}");
    Ok(())
}

#[tokio::test]
async fn an_api_that_is_away_or_refuses_is_told_in_one_line() -> Result<()> {
    let stoa = Stoa::start().await?;
    let right = Shell::new(&stoa)?;
    let away = Shell { url: "http://127.0.0.1:9".to_owned(), key: right.key.clone() };
    let refused = Shell { url: right.url.clone(), key: "sk_live_wrong".to_owned() };
    for (shell, tells) in [(away, "127.0.0.1:9"), (refused, "key_invalid")] {
        let error = shell.run("tenant list").await.err().context("it went well")?.to_string();
        ensure!(error.contains(tells) && !error.contains("panicked"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_domains_client_authority_is_set_from_a_file_shown_and_removed() -> Result<()> {
    let (stoa, dir, authority) = (Stoa::start().await?, tempfile::tempdir()?, Authority::new()?);
    let shell = Shell::new(&stoa)?;
    let tenant = shell.id("tenant create Ann").await?;
    let app = shell.id(&format!("app create {tenant} shop")).await?;
    let domain = shell.id(&format!("domain add {app} shop.example.test")).await?;
    let file = |name: &str, text: &str| -> Result<String> {
        std::fs::write(dir.path().join(name), text)?;
        Ok(dir.path().join(name).display().to_string())
    };
    let good = file("good.pem", &authority.pem())?;
    let said = shell.run(&format!("domain client-ca set {domain} {good}")).await?;
    ensure!(said.output.contains("CN=a test's authority"), "{said:?}");
    let shown = async || shell.json(&format!("domain get {domain}")).await.map(|it| it["client_ca"].clone());
    let there = shown().await?;
    ensure!(there[0]["subject"] == "CN=a test's authority", "{there}");

    let leaf = authority.issue(&["shop.example.test"])?;
    for (path, tells) in [
        (file("text.pem", "no PEM at all")?, "no certificate found"),
        (file("leaf.pem", &leaf.chain_pem)?, "is not an authority's"),
        (file("key.pem", &format!("{}{}", authority.pem(), leaf.key_pem))?, "the text holds a private key"),
        (dir.path().join("missing.pem").display().to_string(), "missing.pem`: give a readable PEM file"),
    ] {
        let refused = shell.run(&format!("domain client-ca set {domain} {path}")).await;
        let error = refused.err().context("it was taken")?.to_string();
        ensure!(error.contains(tells) && !error.contains("PRIVATE KEY"), "{error}");
        ensure!(shown().await? == there, "what was refused changes nothing");
    }
    for _ in 0..2 {
        shell.run(&format!("domain client-ca remove {domain}")).await?;
        ensure!(shown().await?.is_null());
    }
    Ok(())
}
