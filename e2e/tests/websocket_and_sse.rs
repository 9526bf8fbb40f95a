//! Connections that stay open: WebSocket and event streams.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use testkit::edge::Edge;
use testkit::tls::Tls;
use testkit::websocket::Socket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use crate::installation::WithApp;

/// Longer than the 60 s after which many proxies cut what is quiet.
const QUIET: Duration = Duration::from_secs(65);

async fn tls(edge: &Edge, host: &str) -> Result<TlsStream<TcpStream>> {
    let tls: Tls = edge.tls()?.offering(&["http/1.1"]);
    Ok(tls.connect(edge.https, host).await?)
}

#[tokio::test]
async fn a_web_socket_carries_texts_both_ways() -> Result<()> {
    let WithApp { stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    let mut socket = Socket::open(tls(stoa.edge(), &app.hostname).await?, &app.hostname, "/ws").await?;
    for text in ["hello", &"long".repeat(10_000)] {
        socket.send(text).await?;
        assert_eq!(socket.receive().await?, text);
    }
    Ok(())
}

#[tokio::test]
async fn a_quiet_web_socket_and_an_event_stream_outlive_65_seconds() -> Result<()> {
    let WithApp { stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    let mut socket = Socket::open(tls(stoa.edge(), &app.hostname).await?, &app.hostname, "/ws").await?;
    socket.send("before").await?;
    socket.receive().await?;
    let begun = Instant::now();
    let mut events = Events::open(stoa.edge(), &app.hostname).await?;
    while begun.elapsed() < QUIET {
        events.next().await?;
    }
    socket.send("after").await?;
    assert_eq!(socket.receive().await?, "after");
    Ok(())
}

#[tokio::test]
async fn events_come_one_by_one() -> Result<()> {
    let WithApp { stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    let mut events = Events::open(stoa.edge(), &app.hostname).await?;
    for number in 0..10 {
        assert_eq!(events.next().await?, format!("data: {number}"));
    }
    Ok(())
}

/// An event stream that is being read.
struct Events {
    stream: TlsStream<TcpStream>,
    read: String,
}

impl Events {
    async fn open(edge: &Edge, host: &str) -> Result<Self> {
        let mut stream = tls(edge, host).await?;
        let request = format!("GET /sse HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        Ok(Self { stream, read: String::new() })
    }

    /// The next event; chunk sizes and headers between are skipped.
    async fn next(&mut self) -> Result<String> {
        loop {
            let event =
                self.read.find("data: ").and_then(|at| Some((at, at + self.read[at..].find("\n\n")?)));
            if let Some((start, end)) = event {
                let event = self.read[start..end].to_owned();
                self.read.drain(..end);
                return Ok(event);
            }
            let mut buffer = [0; 4096];
            let read = timeout(Duration::from_secs(10), self.stream.read(&mut buffer))
                .await
                .context("no event")??;
            ensure!(read > 0, "the stream ended: {}", self.read);
            self.read.push_str(std::str::from_utf8(&buffer[..read])?);
        }
    }
}
