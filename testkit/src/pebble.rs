//! A real ACME certificate authority: Debian's `pebble` (RFC 8555), which validates for real and rejects 5 %
//! of good nonces. Its root and its accounts are new at every start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// How the authority behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Port of 127.0.0.1 that http-01 tokens are fetched from.
    pub http_port: u16,
    /// Port of 127.0.0.1 that tls-alpn-01 certificates are looked at on; none: nobody's.
    pub tls_port: Option<u16>,
    /// Who resolves the names under validation; none: the system.
    pub resolver: Option<SocketAddr>,
    /// How long its certificates are valid, in seconds; none: five years.
    pub validity_seconds: Option<u64>,
    /// Host names that it refuses to certify.
    pub blocked: Vec<String>,
    /// The accounts made elsewhere that ours must be bound to: each key's id, and the key in base64url; none: any.
    pub external: Vec<(String, String)>,
}

/// What an authority has done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    /// Requests, refused ones among them.
    pub requests: u64,
    /// Orders that it took.
    pub orders: u64,
    /// Certificates that it made.
    pub certificates: u64,
}

/// A running authority, ended when dropped.
#[derive(Debug)]
pub struct Pebble {
    /// `https://localhost:<port>/dir`
    pub directory_url: String,
    /// A PEM file with the trust anchor of the directory's own certificate.
    pub ca_file: PathBuf,
    process: Process,
    management: Port,
    http: reqwest::Client,
    _acme: Port,
    dir: TempDir,
}

impl Pebble {
    /// Starts the authority.
    ///
    /// # Errors
    /// If the program is not installed or does not start, with its log.
    pub async fn start(options: Options) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-pebble-").tempdir()?;
        let (acme, management) = (Port::lease()?, Port::lease()?);
        let ca_pem = write_listener_certificate(dir.path())?;
        write_config(dir.path(), &options, [&acme, &management])?;
        let http = crate::client::trusting(&ca_pem)?;
        let process = spawn(dir.path(), &options)?;
        let mut pebble = Self {
            directory_url: format!("https://localhost:{}/dir", acme.number()),
            ca_file: dir.path().join("ca.pem"),
            process,
            management,
            http,
            _acme: acme,
            dir,
        };
        pebble.answer().await?;
        Ok(pebble)
    }

    /// The roots that its certificates chain to, PEM.
    ///
    /// # Errors
    /// If the authority does not answer.
    pub async fn roots_pem(&self) -> Result<String> {
        let url = format!("https://localhost:{}/roots/0", self.management.number());
        Ok(self.http.get(&url).send().await?.error_for_status()?.text().await?)
    }

    /// What it did since its start, as its log has it.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn work(&self) -> Result<Work> {
        let log = std::fs::read_to_string(self.dir.path().join("log")).context("no log")?;
        let count = |is_one: fn(&str) -> bool| log.lines().filter(|line| is_one(line)).map(|_| 1).sum();
        Ok(Work {
            requests: count(|line| line.ends_with("-> calling handler()")),
            orders: count(|line| line.contains("There are now ") && line.ends_with(" orders in the db")),
            certificates: count(|line| line.contains("Issued certificate serial ")),
        })
    }

    /// Ends the authority, as an outage does; its address answers no more.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Freezes the authority: connections are taken, nothing is answered.
    ///
    /// # Errors
    /// If it is gone.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal(Signal::Stop)
    }

    /// Ends [`Self::freeze`].
    ///
    /// # Errors
    /// If it is gone.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::Cont)
    }

    async fn answer(&mut self) -> Result<()> {
        let (http, url) = (self.http.clone(), self.directory_url.clone());
        self.process.ready(Duration::from_secs(15), async || crate::client::probe(&http, &url).await).await
    }
}

/// The package ships no certificate for Pebble's own listeners: makes `ca.pem`, `pebble.pem`, `pebble.key`.
fn write_listener_certificate(dir: &Path) -> Result<String> {
    let authority = Authority::new()?;
    let listener = authority.issue(&["localhost", "127.0.0.1"])?;
    std::fs::write(dir.join("ca.pem"), authority.pem())?;
    std::fs::write(dir.join("pebble.pem"), listener.chain_pem)?;
    std::fs::write(dir.join("pebble.key"), listener.key_pem)?;
    Ok(authority.pem())
}

fn write_config(dir: &Path, options: &Options, [acme, management]: [&Port; 2]) -> Result<()> {
    let mut settings = json!({
        "listenAddress": acme.address(),
        "managementListenAddress": management.address(),
        "certificate": dir.join("pebble.pem"),
        "privateKey": dir.join("pebble.key"),
        "httpPort": options.http_port,
        "tlsPort": options.tls_port.unwrap_or(5001),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": !options.external.is_empty(),
        "domainBlocklist": options.blocked,
    });
    if let Some(map) = settings.as_object_mut() {
        if let Some(seconds) = options.validity_seconds {
            map.insert("certificateValidityPeriod".to_owned(), seconds.into());
        }
        let external: serde_json::Map<_, _> =
            options.external.iter().map(|(id, key)| (id.clone(), key.as_str().into())).collect();
        map.insert("externalAccountMACKeys".to_owned(), external.into());
    }
    let config = json!({ "pebble": settings });
    Ok(std::fs::write(dir.join("pebble.json"), config.to_string())?)
}

fn spawn(dir: &Path, options: &Options) -> Result<Process> {
    let mut command = Command::new("pebble");
    command.arg("-config").arg(dir.join("pebble.json"));
    if let Some(resolver) = options.resolver {
        command.args(["-dnsserver", &resolver.to_string()]);
    }
    command.envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_VA_ALWAYS_VALID", "0")]);
    let log = dir.join("log");
    let start = Start { name: "pebble", log: &log, end: Signal::Kill, scratch: Some(dir) };
    Process::spawn(&mut command, &start).context("install Debian's package `pebble`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_authority_answers_and_has_a_root() {
        let pebble = Pebble::start(Options { http_port: 5002, ..Options::default() }).await.unwrap();
        pebble.http.get(&pebble.directory_url).send().await.unwrap();
        let work = pebble.work().unwrap();
        assert_eq!((work.requests > 0, work.orders, work.certificates), (true, 0, 0));
        assert!(pebble.roots_pem().await.unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    }
}
