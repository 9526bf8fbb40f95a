//! A real Redis (Debian's `redis-server`) without persistence.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// A server that can be stopped and started again at the same address; ended when dropped.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    port: Port,
    dir: TempDir,
}

impl Redis {
    /// Starts an empty server.
    ///
    /// # Errors
    /// If the program is not installed or does not start, with its log.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-redis-").tempdir()?;
        let mut redis = Self { process: None, port: Port::lease()?, dir };
        redis.resume().await?;
        Ok(redis)
    }

    /// `redis://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.port.address())
    }

    /// Ends the server; what it held is lost.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts the server again after [`Self::stop`], empty.
    ///
    /// # Errors
    /// If it does not start, with its log.
    pub async fn resume(&mut self) -> Result<()> {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.number().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(self.dir.path());
        let log = self.dir.path().join("log");
        let start = Start { name: "redis", log: &log, end: Signal::Kill, scratch: Some(self.dir.path()) };
        let mut process =
            Process::spawn(&mut command, &start).context("install Debian's package `redis-server`")?;
        process.ready(Duration::from_secs(10), async || self.port.probe().await).await?;
        self.process = Some(process);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stopped_server_comes_back_at_its_address() {
        let mut redis = Redis::start().await.unwrap();
        let url = redis.url();
        redis.stop();
        assert!(redis.port.probe().await.is_err());
        redis.resume().await.unwrap();
        assert_eq!(redis.url(), url);
    }
}
