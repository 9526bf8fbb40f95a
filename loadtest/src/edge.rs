//! The real binary as an edge that runs apart from its control plane, which is this program or nobody.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::seal::{EDGE_FEED_PURPOSE, SealingKey};

use crate::process::{self, Process};
use crate::stoa::binary;

/// The edge's API key, which nobody ever checks.
const KEY: &str = "sk_live_a_key_of_this_load_test_and_of_nothing_else";
/// Longer than a start with 100,000 certificates takes.
const READY_POLLS: u32 = 12_000;

/// A running `stoa run --role edge`.
#[derive(Debug)]
pub(crate) struct Edge {
    /// The process.
    pub(crate) process: Process,
    /// Port of the HTTPS listener.
    pub(crate) https: u16,
}

/// Opens and seals what the edge's replica holds.
///
/// # Errors
/// The cryptographic library refuses.
pub(crate) fn sealing_key() -> anyhow::Result<SealingKey> {
    Ok(SealingKey::derive(KEY.as_bytes(), EDGE_FEED_PURPOSE)?)
}

/// Where the replica of an edge in `folder` is.
pub(crate) fn replica(folder: &Path) -> PathBuf {
    folder.join("stoa-data").join("edge.replica")
}

impl Edge {
    /// Starts the binary that was built beside this one, in `folder`, pinned to `core`. It serves its replica: no
    /// control plane answers.
    ///
    /// # Errors
    /// The binary is not built, or does not become ready.
    pub(crate) async fn start(folder: &Path, core: usize) -> anyhow::Result<Self> {
        Self::following(folder, core, process::free_port()?).await
    }

    /// The same with a control plane at a port of loopback.
    ///
    /// # Errors
    /// The binary is not built, or does not become ready.
    pub(crate) async fn following(folder: &Path, core: usize, control: u16) -> anyhow::Result<Self> {
        let [http, https, metrics] = [process::free_port()?, process::free_port()?, process::free_port()?];
        let (key, config) = (folder.join("edge-key"), folder.join("stoa.toml"));
        std::fs::write(&key, KEY)?;
        let text = format!(
            "[edge]\nhttp = [\"127.0.0.1:{http}\"]\nhttps = [\"127.0.0.1:{https}\"]\nmetrics = \"127.0.0.1:{metrics}\"\nworkers = 1\n\
             [control]\nurl = \"http://127.0.0.1:{control}\"\nkey = {{ file = {key:?} }}\n"
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(binary()?);
        command.args(["run", "--role", "edge", "--config"]).arg(&config);
        command.arg("--data").arg(folder.join("stoa-data"));
        let log = folder.join("stoa.log");
        let edge = Self { process: Process::start(&command, core, &log)?, https };
        let ready = ready(metrics).await;
        ready.with_context(|| format!("stoa said: {}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        Ok(edge)
    }
}

async fn ready(metrics: u16) -> anyhow::Result<()> {
    let (http, url) = (reqwest::Client::new(), format!("http://127.0.0.1:{metrics}/readyz"));
    for _ in 0..READY_POLLS {
        if let Ok(response) = http.get(&url).send().await
            && response.status().is_success()
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("not ready after two minutes")
}
