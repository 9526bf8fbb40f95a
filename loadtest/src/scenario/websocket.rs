//! Messages over WebSockets: what a proxy spends on one and its echo. Each connection sends 125 bytes, waits for
//! them, and sends the next; a "request" of the figures is a message with its echo.
//!
//! Generator and echoing backend are this program. They are the narrow place long before a proxy is, so only the
//! proxy's CPU for a message is to be read, not the rate.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use rustls::NamedGroup;
use testkit::origin::Origin;
use testkit::tls::Tls;
use testkit::websocket::Socket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::beside::Field;
use crate::Effort;
use crate::figure::{Report, number};
use crate::generator::Outcome;
use crate::peer::HOST;

/// Connections at a time.
const SOCKETS: usize = 32;
/// The longest payload whose frame has a head of two bytes (RFC 6455 §5.2).
const MESSAGE_BYTES: usize = 125;

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let origin = Origin::start("echo").await?;
    let field = Field::open_before(origin.address().port(), report).await?;
    field.compare(effort, report, talk).await
}

/// All connections for so many seconds.
async fn talk(port: u16, seconds: u32) -> anyhow::Result<Outcome> {
    let tls = Tls::trusting_anyone_by(NamedGroup::X25519).offering(&["http/1.1"]);
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut sockets = JoinSet::new();
    for _ in 0..SOCKETS {
        sockets.spawn(exchange(tls.clone(), port, end));
    }
    let mut messages = 0;
    while let Some(exchanged) = sockets.join_next().await {
        messages += exchanged??;
    }
    ensure!(messages > 0, "no message came back");
    let requests = number(messages);
    Ok(Outcome { requests, requests_per_second: requests / f64::from(seconds) })
}

/// Message after message until the end; what the end cuts is not counted.
async fn exchange(tls: Tls, port: u16, end: Instant) -> anyhow::Result<usize> {
    let stream = tls.connect(SocketAddr::from(([127, 0, 0, 1], port)), HOST).await?;
    let mut socket = Socket::open(stream, HOST, "/ws").await?;
    let (message, mut count) = ("m".repeat(MESSAGE_BYTES), 0);
    let mut echo = async || {
        socket.send(&message).await?;
        socket.receive().await
    };
    while let Ok(answer) = timeout_at(end, echo()).await {
        ensure!(answer? == message, "another message came back");
        count += 1;
    }
    Ok(count)
}
