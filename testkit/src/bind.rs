//! A real DNS server: Debian's `bind9`, authoritative for the zones it is given, with dynamic updates (RFC 2136)
//! under one TSIG key and transfers to anybody.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// The name of the key that may update every zone, HMAC-SHA-256.
pub const KEY_NAME: &str = "stoa-key";
/// Its secret.
pub const KEY_SECRET: &str = "TgoKbCUHGYVfxZCeROJqxTNDGmGbodnOXyGabeTgLQg=";

/// Anybody's public key (P-256), which signed nothing.
const ANCHOR: &str =
    "oJMRESz5E4gYzS/q6XDrvU1qMPYIjCWzJaOau8XNEZeqCYKD5ar0IRd8KqXXFJkqmVfRvMGPmM1x8fGAa2XhSA==";

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct Bind {
    _process: Process,
    port: Port,
    _dir: TempDir,
}

impl Bind {
    /// Starts a server with these zones: name and content of the zone file.
    ///
    /// # Errors
    /// If the program is not installed or refuses a zone, with its log.
    pub async fn start(zones: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-bind-").tempdir()?;
        let port = Port::lease()?;
        let config = write_config(dir.path(), &port, zones)?;
        let mut command = Command::new("named");
        command.args(["-4", "-g", "-n", "1", "-c"]).arg(&config);
        let log = dir.path().join("log");
        let start = Start { name: "bind", log: &log, end: Signal::Kill, scratch: Some(dir.path()) };
        let mut process = Process::spawn(&mut command, &start).context("install Debian's package `bind9`")?;
        let first = zones.first().map_or(".", |(name, _)| *name).to_owned();
        let address = port.address();
        process.ready(Duration::from_secs(15), async || transfer(address, &first).await.map(drop)).await?;
        Ok(Self { _process: process, port, _dir: dir })
    }

    /// Starts a resolver that forwards what lies in each zone to its server, and has a trust anchor for some zones
    /// that are not signed: it takes their answers for forged (DNSSEC).
    ///
    /// # Errors
    /// If the program is not installed or does not start, with its log.
    pub async fn forwarding(zones: &[(&str, SocketAddr)], forged: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-bind-").tempdir()?;
        let port = Port::lease()?;
        let config = write_forwards(dir.path(), &port, zones, forged)?;
        let mut command = Command::new("named");
        command.args(["-4", "-g", "-n", "1", "-c"]).arg(&config);
        let log = dir.path().join("log");
        let start = Start { name: "bind", log: &log, end: Signal::Kill, scratch: Some(dir.path()) };
        let mut process = Process::spawn(&mut command, &start).context("install Debian's package `bind9`")?;
        process.ready(Duration::from_secs(15), async || port.probe().await).await?;
        Ok(Self { _process: process, port, _dir: dir })
    }

    /// Where it answers, over UDP and TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Changes records with lines of nsupdate, such as `update add www.example.com 60 A 192.0.2.1`.
    ///
    /// # Errors
    /// If nsupdate is not installed, or the server refuses, with what it says.
    pub async fn update(&self, lines: &[&str]) -> Result<()> {
        let mut child = tokio::process::Command::new("nsupdate")
            .args(["-y", &format!("hmac-sha256:{KEY_NAME}:{KEY_SECRET}")])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("install Debian's package `bind9-dnsutils`")?;
        let address = self.address();
        let script = format!("server {} {}\n{}\nsend\n", address.ip(), address.port(), lines.join("\n"));
        child.stdin.take().context("nsupdate takes no input")?.write_all(script.as_bytes()).await?;
        let ended = child.wait_with_output().await?;
        ensure!(ended.status.success(), "nsupdate: {}", String::from_utf8_lossy(&ended.stderr));
        Ok(())
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
    let mut config = format!(
        "key {KEY_NAME} {{ algorithm hmac-sha256; secret \"{KEY_SECRET}\"; }};\n\
         options {{ directory \"{here}\"; pid-file \"{here}/pid\"; session-keyfile \"{here}/session.key\"; \
         listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; \
         allow-query {{ any; }}; allow-transfer {{ any; }}; notify no; }};\ncontrols {{ }};\n",
        port.number()
    );
    for (number, (name, text)) in zones.iter().enumerate() {
        let file = dir.join(format!("{number}.zone"));
        std::fs::write(&file, text)?;
        config += &format!(
            "zone \"{name}\" {{ type primary; file \"{}\"; allow-update {{ key {KEY_NAME}; }}; }};\n",
            file.display()
        );
    }
    let path = dir.join("named.conf");
    std::fs::write(&path, config)?;
    Ok(path)
}

fn write_forwards(
    dir: &Path,
    port: &Port,
    zones: &[(&str, SocketAddr)],
    forged: &[&str],
) -> Result<std::path::PathBuf> {
    let here = dir.display();
    let mut config = format!(
        "options {{ directory \"{here}\"; pid-file \"{here}/pid\"; session-keyfile \"{here}/session.key\"; \
         listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion yes; dnssec-validation yes; \
         allow-query {{ any; }}; qname-minimization off; servfail-ttl 0; empty-zones-enable no; \
         resolver-query-timeout 2000; }};\ncontrols {{ }};\n",
        port.number()
    );
    for (name, server) in zones {
        config += &format!(
            "zone \"{name}\" {{ type forward; forward only; forwarders {{ {} port {}; }}; }};\n",
            server.ip(),
            server.port()
        );
    }
    for name in forged {
        config += &format!("trust-anchors {{ \"{name}.\" static-key 257 3 13 \"{ANCHOR}\"; }};\n");
    }
    let path = dir.join("named.conf");
    std::fs::write(&path, config)?;
    Ok(path)
}

/// The zone as `dig` transfers it: every record but the SOA, sorted.
pub(crate) async fn transfer(server: SocketAddr, zone: &str) -> Result<Vec<String>> {
    let output = tokio::process::Command::new("dig")
        .args([format!("@{}", server.ip()), "-p".to_owned(), server.port().to_string()])
        .args([zone, "AXFR", "+noall", "+answer", "+onesoa", "+time=2", "+tries=1"])
        .kill_on_drop(true)
        .output()
        .await
        .context("install Debian's package `bind9-dnsutils` for `dig`")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("SOA"), "no transfer of `{zone}` from {server}: {text}");
    let is_record = |line: &&str| !line.starts_with(';') && line.split_whitespace().nth(3) != Some("SOA");
    let mut lines: Vec<String> = text
        .lines()
        .filter(is_record)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\n";

    #[tokio::test]
    async fn the_server_has_its_zone() {
        let bind = Bind::start(&[("example.com", ZONE)]).await.unwrap();
        let records = bind.records("example.com").await.unwrap();
        assert_eq!(records, ["example.com. 60 IN NS ns1.example.com.", "ns1.example.com. 60 IN A 127.0.0.1"]);
    }
}
