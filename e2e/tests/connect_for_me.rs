//! A creator gives a key once and has the records set; everything is as it was when they want that.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use testkit::powerdns::{API_KEY, PowerDns};
use testkit::stoa::Stoa;

use crate::command_line::Shell;

const ZONE: &str = "example.test";
const TEXT: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\n@ MX 10 mail\n\
                    @ TXT \"v=spf1 mx -all\"\nns1 A 127.0.0.1\nmail A 192.0.2.8\nwww A 192.0.2.7\n";

/// Files of the installation in which the key can be read.
fn readable(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            readable(&path, found)?;
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(API_KEY.len()).any(|window| window == API_KEY.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    Ok(())
}

#[tokio::test]
async fn records_are_shown_set_and_taken_back_by_three_commands() -> Result<()> {
    let provider = PowerDns::start().await?;
    provider.add_zone(ZONE, TEXT).await?;
    let stoa = Stoa::builder().config("[connect]\nnetworks = [\"127.0.0.1\"]\n").start().await?;
    let (shell, dir) = (Shell::new(&stoa)?, tempfile::tempdir()?);
    let tenant = shell.id("tenant create Ann").await?;
    let app = shell.id(&format!("app create {tenant} shop")).await?;
    let domain = shell.id(&format!("domain add {app} www.example.test")).await?;
    let key = dir.path().join("key");
    std::fs::write(&key, API_KEY)?;
    let before = provider.records(ZONE).await?;

    let asked = format!("--provider powerdns --api-url {} --token-file {}", provider.url(), key.display());
    let shown = shell.run(&format!("domain connect {domain} {asked}")).await?.output;
    for line in
        ["To remove\n  A      www.example.test  192.0.2.7", "To add\n  CNAME  www.example.test", "10 mail"]
    {
        ensure!(shown.contains(line), "`{line}` is not in {shown}");
    }
    ensure!(shown.contains("Your e-mail stays as it is"), "{shown}");
    ensure!(provider.records(ZONE).await? == before, "a preview changes nothing");

    let set = shell.run(&format!("domain connect {domain} --apply")).await?.output;
    ensure!(set.contains("The records are set at PowerDNS."), "{set}");
    let after = provider.records(ZONE).await?;
    ensure!(after.iter().any(|line| line.contains(".cname.apps.localhost")), "{after:?}");
    let mut leaks = Vec::new();
    readable(stoa.data().parent().context("a folder above the data")?, &mut leaks)?;
    ensure!(leaks.is_empty(), "the key can be read in {leaks:?}");

    let undone = shell.run(&format!("domain connect {domain} --undo")).await?.output;
    ensure!(undone.contains("All records are as they were before we came."), "{undone}");
    ensure!(provider.records(ZONE).await? == before, "to the byte");
    Ok(())
}

#[tokio::test]
async fn a_server_of_a_private_network_is_not_asked_unless_the_operator_lets_creators_in() -> Result<()> {
    let (provider, stoa) = (PowerDns::start().await?, Stoa::start().await?);
    let (shell, dir) = (Shell::new(&stoa)?, tempfile::tempdir()?);
    let tenant = shell.id("tenant create Ann").await?;
    let app = shell.id(&format!("app create {tenant} shop")).await?;
    let domain = shell.id(&format!("domain add {app} www.example.test")).await?;
    let key = dir.path().join("key");
    std::fs::write(&key, API_KEY)?;
    let asked = format!("--provider powerdns --api-url {} --token-file {}", provider.url(), key.display());
    let refused =
        shell.run(&format!("domain connect {domain} {asked}")).await.err().context("it was asked")?;
    ensure!(refused.to_string().contains("This server is not on the public internet"), "{refused}");
    Ok(())
}
