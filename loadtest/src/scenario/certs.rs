//! Many certificates: what each costs an edge in memory, how long it starts with them, and what the first and
//! the later handshakes of a name cost.
//!
//! The edge runs alone, from a replica that is written here as the feed would write it: a hundred thousand
//! uploads would measure the database. It is started three times: with nothing, with certificates only, and
//! with a site for each. The differences are the shares of a certificate and of a site. Peers are started with the
//! same certificates ([`peers`]), and new ones are told to an edge that serves ([`live`]).

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use tokio::time::Instant;

use crate::Effort;
use crate::cpu;
use crate::edge::{self, Edge};
use crate::figure::{Report, number, percentile};

use super::market::{Market, Share};

mod live;
mod peers;

/// Names that are asked for one after another.
const VISITED: usize = 2_000;

/// Runs the scenario with `count` certificates.
pub(super) async fn run(count: usize, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let count = if effort.quick { 1_000 } else { count };
    let begun = Instant::now();
    let market = Arc::new(tokio::task::spawn_blocking(move || Market::make(count)).await??);
    report.add("generator", "seeded", begun.elapsed().as_secs_f64(), "s");
    let empty = start(&market, Share::Nothing).await?;
    let certificates = start(&market, Share::Certificates).await?;
    let all = start(&market, Share::CertificatesAndSites).await?;
    let each = |more: &Started, less: &Started| (more.resident - less.resident) / number(count) / 1024.0;
    report.add("stoa", "memory_per_certificate", each(&certificates, &empty), "KB");
    report.add("stoa", "memory_per_certificate_and_app", each(&all, &empty), "KB");
    report.add("stoa", "restart_until_ready", all.ready, "ms");
    report.add("stoa", "resident_after_restart", all.resident / 1_048_576.0, "MB");
    let (https, names) = (all.edge.https, Arc::clone(&market));
    let times = tokio::task::spawn_blocking(move || handshakes(&names, https)).await??;
    for (figure, mut times) in [("first_handshake", times.first), ("later_handshake", times.later)] {
        report.add("stoa", &format!("{figure}_p50"), percentile(&mut times, 50), "ms");
        report.add("stoa", &format!("{figure}_p99"), percentile(&mut times, 99), "ms");
    }
    let resident = cpu::resident_bytes(all.edge.process.id())?;
    report.add("stoa", "resident_after_handshakes", resident / 1_048_576.0, "MB");
    let ours = peers::Start { handshake: all.handshake, resident: all.resident };
    drop(all.edge);
    peers::compare(&market, &ours, report).await?;
    live::run(market, effort, report).await
}

struct Started {
    edge: Edge,
    /// Milliseconds from the start of the process to `/readyz`.
    ready: f64,
    /// The same to the end of a handshake; 0 without certificates.
    handshake: f64,
    /// Bytes.
    resident: f64,
    _folder: tempfile::TempDir,
}

async fn start(market: &Market, share: Share) -> anyhow::Result<Started> {
    let folder = tempfile::tempdir()?;
    market.write(&edge::replica(folder.path()), share)?;
    let begun = Instant::now();
    let edge = Edge::start(folder.path(), 0).await?;
    let ready = begun.elapsed().as_secs_f64() * 1000.0;
    let handshake = match share {
        Share::Nothing => 0.0,
        _ => peers::first_handshake(edge.https, market, begun).await?,
    };
    let resident = cpu::settled_bytes(edge.process.id()).await?;
    Ok(Started { edge, ready, handshake, resident, _folder: folder })
}

/// Milliseconds each.
struct Times {
    first: Vec<f64>,
    later: Vec<f64>,
}

/// Full handshakes, one after another: those that open a name's key, and those that find it open.
fn handshakes(market: &Market, port: u16) -> anyhow::Result<Times> {
    let config = Arc::new(client(&market.authority)?);
    let step = (market.len() / VISITED).max(1);
    let names: Vec<String> = (0..market.len()).step_by(step).map(Market::host).collect();
    let round =
        || names.iter().map(|name| handshake(&config, port, name)).collect::<anyhow::Result<Vec<f64>>>();
    Ok(Times { first: round()?, later: round()? })
}

fn client(authority: &rustls::pki_types::CertificateDer<'static>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn handshake(config: &Arc<ClientConfig>, port: u16, name: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
    tcp.set_nodelay(true)?;
    let mut session = ClientConnection::new(Arc::clone(config), ServerName::try_from(name.to_owned())?)?;
    Stream::new(&mut session, &mut tcp).flush().with_context(|| format!("no handshake for {name}"))?;
    anyhow::ensure!(!session.is_handshaking(), "the handshake for {name} was not done");
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}
