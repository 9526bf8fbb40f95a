//! A scripted DNS server: Debian's `pebble-challtestsrv`, recursive resolver and authority in one. Names
//! that were not scripted have no records.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct ChallTestSrv {
    _process: Process,
    dns: Port,
    management: Port,
    http: reqwest::Client,
    _dir: TempDir,
}

impl ChallTestSrv {
    /// Starts a server that knows no names.
    ///
    /// # Errors
    /// If the program is not installed or does not start.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-dns-").tempdir()?;
        let (dns, management) = (Port::lease()?, Port::lease()?);
        let mut command = Command::new("pebble-challtestsrv");
        command.args([
            "-dns01",
            &dns.address().to_string(),
            "-management",
            &management.address().to_string(),
        ]);
        command.args([
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-defaultIPv4",
            "",
            "-defaultIPv6",
            "",
        ]);
        let log = dir.path().join("log");
        let start = Start { name: "challtestsrv", log: &log, end: Signal::Kill, scratch: Some(dir.path()) };
        let mut process = Process::spawn(&mut command, &start)
            .context("install Debian's package `pebble` for `pebble-challtestsrv`")?;
        process.ready(Duration::from_secs(10), async || management.probe().await).await?;
        Ok(Self { _process: process, dns, management, http: crate::client::plain()?, _dir: dir })
    }

    /// Where it answers, over UDP and TCP.
    #[must_use]
    pub fn resolver(&self) -> SocketAddr {
        self.dns.address()
    }

    /// Makes `host` an alias of `target`.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn set_cname(&self, host: &str, target: &str) -> Result<()> {
        self.script("set-cname", json!({ "host": fqdn(host), "target": fqdn(target) })).await
    }

    /// Takes the alias away.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn clear_cname(&self, host: &str) -> Result<()> {
        self.script("clear-cname", json!({ "host": fqdn(host) })).await
    }

    /// Gives `host` an A or AAAA record.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn add_a(&self, host: &str, address: IpAddr) -> Result<()> {
        let path = if address.is_ipv4() { "add-a" } else { "add-aaaa" };
        self.script(path, json!({ "host": fqdn(host), "addresses": [address] })).await
    }

    /// Takes every A record of `host` away.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn clear_a(&self, host: &str) -> Result<()> {
        self.script("clear-a", json!({ "host": fqdn(host) })).await
    }

    /// Gives `host` a TXT record.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn set_txt(&self, host: &str, value: &str) -> Result<()> {
        self.script("set-txt", json!({ "host": fqdn(host), "value": value })).await
    }

    /// Takes the TXT records of `host` away.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn clear_txt(&self, host: &str) -> Result<()> {
        self.script("clear-txt", json!({ "host": fqdn(host) })).await
    }

    /// Gives `host` a CAA record with the tag `issue`.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn add_caa(&self, host: &str, issuer: &str) -> Result<()> {
        self.script(
            "add-caa",
            json!({ "host": fqdn(host), "policies": [{ "tag": "issue", "value": issuer }] }),
        )
        .await
    }

    /// Makes every query for `host` fail.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn set_servfail(&self, host: &str) -> Result<()> {
        self.script("set-servfail", json!({ "host": fqdn(host) })).await
    }

    /// Ends the failing of `host`.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn clear_servfail(&self, host: &str) -> Result<()> {
        self.script("clear-servfail", json!({ "host": fqdn(host) })).await
    }

    /// Questions about `host` that it was asked since its start; `host` has no dot at its end here.
    ///
    /// # Errors
    /// If the server does not tell.
    pub async fn questions(&self, host: &str) -> Result<usize> {
        let url = format!("http://{}/dns-request-history", self.management.address());
        let answer = self.http.post(&url).json(&json!({ "host": host })).send().await?;
        let asked: Value = answer.error_for_status()?.json().await?;
        Ok(asked.as_array().map_or(0, Vec::len))
    }

    async fn script(&self, path: &str, body: Value) -> Result<()> {
        let url = format!("http://{}/{path}", self.management.address());
        self.http.post(&url).json(&body).send().await?.error_for_status()?;
        Ok(())
    }
}

fn fqdn(host: &str) -> String {
    format!("{}.", host.trim_end_matches('.'))
}
