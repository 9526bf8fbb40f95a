//! A real DNS server with an HTTP API: Debian's `pdns-server` on SQLite.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// The key of the API.
pub const API_KEY: &str = "an-api-key-of-a-test";
/// Where Debian keeps the tables that the backend wants.
const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";
/// Makes the database; Python is there anyway and has SQLite.
const MAKE: &str =
    "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(open(sys.argv[2]).read())";

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct PowerDns {
    _process: Process,
    dns: Port,
    api: Port,
    http: reqwest::Client,
    _dir: TempDir,
}

impl PowerDns {
    /// Starts a server without zones.
    ///
    /// # Errors
    /// If the program is not installed or does not start, with its log.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-pdns-").tempdir()?;
        let (dns, api) = (Port::lease()?, Port::lease()?);
        let database = dir.path().join("pdns.db");
        let made = Command::new("python3").args(["-c", MAKE]).arg(&database).arg(SCHEMA).status();
        let made = made.context("install Debian's package `python3`")?;
        ensure!(made.success(), "install Debian's package `pdns-backend-sqlite3` for {SCHEMA}");
        write_config(dir.path(), &database, [&dns, &api])?;
        let mut command = Command::new("pdns_server");
        command.arg(format!("--config-dir={}", dir.path().display()));
        let log = dir.path().join("log");
        let start = Start { name: "powerdns", log: &log, end: Signal::Kill, scratch: Some(dir.path()) };
        let mut process =
            Process::spawn(&mut command, &start).context("install Debian's package `pdns-server`")?;
        process.ready(Duration::from_secs(15), async || api.probe().await).await?;
        Ok(Self { _process: process, dns, api, http: crate::client::plain()?, _dir: dir })
    }

    /// Where it answers, over UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.dns.address()
    }

    /// `http://127.0.0.1:<port>`, opened by [`API_KEY`].
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.api.address())
    }

    /// Adds a zone with the content of a zone file.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn add_zone(&self, name: &str, text: &str) -> Result<()> {
        let zone = json!({ "name": format!("{name}."), "kind": "Native", "nameservers": [], "zone": text });
        let url = format!("{}/api/v1/servers/localhost/zones", self.url());
        let answer = self.http.post(url).header("x-api-key", API_KEY).json(&zone).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "the zone `{name}` was refused: {status} {text}");
        Ok(())
    }

    /// Sets one record set by hand: `REPLACE` or `DELETE`, with its fields.
    ///
    /// # Errors
    /// If the server refuses it.
    pub async fn patch(&self, zone: &str, set: Value) -> Result<()> {
        let answer = self
            .http
            .patch(self.zone_url(zone))
            .header("x-api-key", API_KEY)
            .json(&json!({ "rrsets": [set] }))
            .send()
            .await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "the change was refused: {status} {text}");
        Ok(())
    }

    /// Every record set of a zone but its SOA, as the API tells it, one line each, sorted.
    ///
    /// # Errors
    /// If it does not have the zone.
    pub async fn records(&self, zone: &str) -> Result<Vec<String>> {
        let answer = self.http.get(self.zone_url(zone)).header("x-api-key", API_KEY).send().await?;
        let zone: Value = answer.error_for_status()?.json().await?;
        let sets = zone.get("rrsets").and_then(Value::as_array).context("no rrsets")?;
        let kept = sets.iter().filter(|set| set.get("type").and_then(Value::as_str) != Some("SOA"));
        let mut lines: Vec<String> = kept.map(sorted).collect();
        lines.sort();
        Ok(lines)
    }

    fn zone_url(&self, zone: &str) -> String {
        format!("{}/api/v1/servers/localhost/zones/{zone}.", self.url())
    }
}

/// The records of a set have no order.
fn sorted(set: &Value) -> String {
    let mut set = set.clone();
    if let Some(records) = set.get_mut("records").and_then(Value::as_array_mut) {
        records.sort_by_key(Value::to_string);
    }
    set.to_string()
}

fn write_config(dir: &Path, database: &Path, [dns, api]: [&Port; 2]) -> Result<()> {
    let config = format!(
        "launch=gsqlite3\ngsqlite3-database={}\ngsqlite3-pragma-synchronous=0\nlocal-address=127.0.0.1\n\
         local-port={}\nsocket-dir={}\napi=yes\napi-key={API_KEY}\nwebserver=yes\nwebserver-address=127.0.0.1\n\
         webserver-port={}\nwebserver-allow-from=127.0.0.0/8\ndaemon=no\nguardian=no\ncache-ttl=0\n\
         negquery-cache-ttl=0\nquery-cache-ttl=0\nzone-cache-refresh-interval=0\nreceiver-threads=1\n\
         distributor-threads=1\nsecurity-poll-suffix=\n",
        database.display(),
        dns.number(),
        dir.display(),
        api.number()
    );
    Ok(std::fs::write(dir.join("pdns.conf"), config)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\n";

    #[tokio::test]
    async fn the_server_has_its_zone() {
        let server = PowerDns::start().await.unwrap();
        server.add_zone("example.com", ZONE).await.unwrap();
        let records = server.records("example.com").await.unwrap();
        assert_eq!(records.len(), 2, "{records:?}");
    }
}
