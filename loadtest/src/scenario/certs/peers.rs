//! The peers with the same certificates, each as its own documentation tells it: a server for each name in nginx, a
//! folder in HAProxy and Caddy.
//!
//! A start ends with a handshake for the last name. Memory is what is resident then, of master and worker. The peers
//! have no apps behind the names, which Stoa has.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep, timeout};

use super::Market;
use crate::cpu;
use crate::figure::Report;
use crate::peer::{Crowd, Kind};

/// More than this is not told to peers: nginx alone would have gigabytes.
const MOST: usize = 10_000;
/// A start that takes longer is none.
const LONGEST: Duration = Duration::from_secs(120);

/// How a start went.
pub(super) struct Start {
    /// Milliseconds until a handshake was done.
    pub(super) handshake: f64,
    /// Bytes resident after it.
    pub(super) resident: f64,
}

/// Starts each peer with the certificates of `market`, and tells it beside `ours`.
///
/// # Errors
/// One of them does not start.
pub(super) async fn compare(market: &Market, ours: &Start, report: &mut Report) -> anyhow::Result<()> {
    report.add("stoa", "start_until_handshake", ours.handshake, "ms");
    if market.len() > MOST {
        report.note("peers", &format!("not started: {} certificates are more than {MOST}", market.len()));
        return Ok(());
    }
    let (folder, pems) = (tempfile::tempdir()?, tempfile::tempdir()?);
    market.write_pem(pems.path())?;
    let names: Vec<String> = (0..market.len()).map(Market::host).collect();
    let crowd = Crowd { folder: folder.path(), pems: pems.path(), core: 0, names: &names };
    for kind in Kind::ALL {
        let begun = Instant::now();
        let Some(peer) = kind.for_names(&crowd, report).await? else { continue };
        let handshake = first_handshake(peer.port, market, begun).await?;
        let resident = cpu::settled_bytes(peer.process.id()).await?;
        report.add(peer.name, "start_until_handshake", handshake, "ms");
        report.add(peer.name, "resident_after_start", resident / 1_048_576.0, "MB");
        report.add("stoa", &format!("start_ratio_to_{}", peer.name), ours.handshake / handshake, "×");
        report.add("stoa", &format!("memory_ratio_to_{}", peer.name), ours.resident / resident, "×");
    }
    Ok(())
}

/// Milliseconds since `begun` until a handshake for the last name is done.
///
/// # Errors
/// It never is.
pub(super) async fn first_handshake(port: u16, market: &Market, begun: Instant) -> anyhow::Result<f64> {
    let config = Arc::new(super::client(&market.authority)?);
    let name = Market::host(market.len().saturating_sub(1));
    let done = async {
        loop {
            let (config, name) = (Arc::clone(&config), name.clone());
            let tried = tokio::task::spawn_blocking(move || super::handshake(&config, port, &name)).await?;
            if tried.is_ok() {
                return anyhow::Ok(begun.elapsed().as_secs_f64() * 1e3);
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONGEST, done).await.context("no handshake after the start")?
}
