//! A real DNS server: Debian's `knot`, authoritative for the zones it is given, with dynamic updates (RFC 2136)
//! under the same TSIG key as [`crate::bind`] and transfers to this machine.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::bind::{KEY_NAME, KEY_SECRET, transfer};
use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct Knot {
    _process: Process,
    port: Port,
    _dir: TempDir,
}

impl Knot {
    /// Starts a server with these zones: name and content of the zone file.
    ///
    /// # Errors
    /// If the program is not installed or refuses a zone, with its log.
    pub async fn start(zones: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-knot-").tempdir()?;
        let port = Port::lease()?;
        let config = write_config(dir.path(), &port, zones)?;
        let mut command = Command::new("knotd");
        command.arg("-c").arg(&config);
        let log = dir.path().join("log");
        let start = Start { name: "knot", log: &log, end: Signal::Kill, scratch: Some(dir.path()) };
        let mut process = Process::spawn(&mut command, &start).context("install Debian's package `knot`")?;
        let first = zones.first().map_or(".", |(name, _)| *name).to_owned();
        let address = port.address();
        process.ready(Duration::from_secs(15), async || transfer(address, &first).await.map(drop)).await?;
        Ok(Self { _process: process, port, _dir: dir })
    }

    /// Where it answers, over UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Every record of a zone but its SOA, one line each, sorted.
    ///
    /// # Errors
    /// If it does not have the zone.
    pub async fn records(&self, zone: &str) -> Result<Vec<String>> {
        transfer(self.address(), zone).await
    }
}

fn write_config(dir: &Path, port: &Port, zones: &[(&str, &str)]) -> Result<std::path::PathBuf> {
    let here = dir.display();
    // Without the directory of its journal it serves, but takes no updates.
    std::fs::create_dir(dir.join("db"))?;
    let mut config = format!(
        "server:\n  rundir: {here}\n  listen: 127.0.0.1@{}\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\n\
         database:\n  storage: {here}/db\n  journal-db-max-size: 16M\n  kasp-db-max-size: 16M\n  \
         timer-db-max-size: 16M\n\
         key:\n  - id: {KEY_NAME}\n    algorithm: hmac-sha256\n    secret: {KEY_SECRET}\n\
         acl:\n  - id: update\n    key: {KEY_NAME}\n    action: update\n  \
         - id: transfer\n    address: 127.0.0.0/8\n    action: transfer\n\
         log:\n  - target: stderr\n    any: info\nzone:\n",
        port.number()
    );
    for (number, (name, text)) in zones.iter().enumerate() {
        let file = format!("{number}.zone");
        std::fs::write(dir.join(&file), text)?;
        config += &format!(
            "  - domain: {name}\n    storage: {here}\n    file: {file}\n    acl: [update, transfer]\n    \
             zonefile-sync: -1\n    journal-content: changes\n    journal-max-usage: 1M\n"
        );
    }
    let path = dir.join("knot.conf");
    std::fs::write(&path, config)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\n";

    #[tokio::test]
    async fn the_server_has_its_zone() {
        let knot = Knot::start(&[("example.com", ZONE)]).await.unwrap();
        let records = knot.records("example.com").await.unwrap();
        assert_eq!(records, ["example.com. 60 IN NS ns1.example.com.", "ns1.example.com. 60 IN A 127.0.0.1"]);
    }
}
