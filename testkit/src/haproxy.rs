//! A real HAProxy (Debian's `haproxy`) that passes TCP connections on with a PROXY header.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// A load balancer; ended when dropped.
#[derive(Debug)]
pub struct Haproxy {
    _process: Process,
    ports: Vec<Port>,
    _dir: TempDir,
}

impl Haproxy {
    /// Starts one that passes the connections to its n-th address on to the n-th backend, which is an address
    /// with the words of a `server` line, e.g. `send-proxy-v2 check`.
    ///
    /// # Errors
    /// If the program is not installed or does not start, with its log.
    pub async fn start(backends: &[(SocketAddr, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-haproxy-").tempdir()?;
        let ports = backends.iter().map(|_| Port::lease()).collect::<Result<Vec<_>>>()?;
        let mut text = "global\n  maxconn 2000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n".to_owned();
        for (port, (backend, words)) in ports.iter().zip(backends) {
            let number = port.number();
            text += &format!("listen l{number}\n  bind {}\n  server s {backend} {words}\n", port.address());
        }
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, text)?;
        let log = dir.path().join("log");
        let start = Start { name: "haproxy", log: &log, end: Signal::Kill, scratch: Some(dir.path()) };
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let mut process =
            Process::spawn(&mut command, &start).context("install Debian's package `haproxy`")?;
        process
            .ready(Duration::from_secs(10), async || {
                for port in &ports {
                    port.probe().await?;
                }
                Ok(())
            })
            .await?;
        Ok(Self { _process: process, ports, _dir: dir })
    }

    /// Where it listens for each backend, in their order.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(Port::address).collect()
    }
}
