//! TLS handshakes with one small GET each, through Stoa and its peers. The generator is this program: it counts
//! what was resumed and what was not, and knows the group of the key exchange.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustls::{HandshakeKind, NamedGroup};
use testkit::tls::Tls;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::beside::Field;
use crate::Effort;
use crate::figure::{Report, number};
use crate::generator::Outcome;
use crate::peer::HOST;

/// Visitors at a time.
const VISITORS: usize = 16;

/// What is negotiated.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Certificate, signature and X25519.
    Full,
    /// A ticket and X25519.
    Resumed,
    /// As full, with X25519MLKEM768 by those that can.
    Hybrid,
}

/// Runs the scenario.
pub(super) async fn run(kind: Kind, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let Some(field) = Field::open(report).await? else { return Ok(()) };
    for runner in &field.runners {
        let settled = kind.client().handshake(address(runner.port), HOST).await?;
        let group = settled.group.context("no key exchange")?;
        report.note(runner.name, &format!("key exchange: {group:?}"));
    }
    field.compare(effort, report, async |port, seconds| shake(kind, port, seconds).await).await
}

impl Kind {
    fn client(self) -> Tls {
        match self {
            Self::Hybrid => Tls::trusting_anyone(),
            Self::Full => Tls::trusting_anyone_by(NamedGroup::X25519),
            Self::Resumed => Tls::trusting_anyone_by(NamedGroup::X25519).remembering(),
        }
    }

    fn is(self, kind: HandshakeKind) -> bool {
        (kind == HandshakeKind::Resumed) == matches!(self, Self::Resumed)
    }
}

pub(super) async fn shake(kind: Kind, port: u16, seconds: u32) -> anyhow::Result<Outcome> {
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut visitors = JoinSet::new();
    for _ in 0..VISITORS {
        visitors.spawn(visit(kind, port, end));
    }
    let mut requests = 0;
    while let Some(visitor) = visitors.join_next().await {
        requests += visitor??;
    }
    ensure!(requests > 0, "no handshake was done");
    let requests = number(requests);
    Ok(Outcome { requests, requests_per_second: requests / f64::from(seconds) })
}

/// One visitor after the other until the end; what the end cuts is not counted.
async fn visit(kind: Kind, port: u16, end: Instant) -> anyhow::Result<usize> {
    let (client, mut count) = (kind.client(), 0);
    // The first one gets the ticket of the second.
    while let Ok(answer) = timeout_at(end, client.ask(address(port), HOST, HOST)).await {
        let (shaken, text) = answer?;
        ensure!(text.starts_with("HTTP/1.") && text.contains(" 200 "), "answered: {text}");
        ensure!(kind.is(shaken) || count == 0, "the handshake was {shaken:?}, and {kind:?} was wanted");
        count += 1;
    }
    Ok(count)
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
