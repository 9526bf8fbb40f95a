//! Slow visitors of our own: what slowhttptest has no mode for.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use testkit::edge::Edge;
use testkit::http2::{self, Client, kind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Attack, Ended, LATE};
use crate::peer::HOST;

/// Visitors who have no request.
const HANDSHAKES: usize = 50;
/// Visitors who hold streams, and how many each of them holds. With the requests of slowhttptest they are fewer
/// than an app has at a time by default (1,000): what is over that waits, and that is another limit's affair.
const HOLDERS: usize = 20;
const STREAMS: u32 = 10;
/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
const INITIAL_WINDOW_SIZE: u16 = 4;

/// The kinds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Connects and says nothing.
    Silent,
    /// A ClientHello, one byte a second.
    Drip,
    /// A ClientHello, and no answer to what comes back.
    HalfOpen,
    /// HTTP/2: POST after POST without DATA.
    NoData,
    /// HTTP/2: GET after GET of something large, with no room for its body.
    NoWindow,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Silent, Self::Drip, Self::HalfOpen, Self::NoData, Self::NoWindow];

    /// Its name, how many visitors there are of it, and the edge's deadline for it in seconds.
    const fn facts(self) -> (&'static str, usize, u64) {
        match self {
            Self::Silent => ("silent", HANDSHAKES, 5),
            Self::Drip => ("hello-drip", HANDSHAKES, 5),
            Self::HalfOpen => ("half-open-tls", HANDSHAKES, 10),
            Self::NoData => ("h2-no-data", HOLDERS, 60),
            Self::NoWindow => ("h2-no-window", HOLDERS, 60),
        }
    }

    /// Until the edge has ended everything that the visitor began.
    async fn hold(self, edge: &Edge) -> anyhow::Result<()> {
        match self {
            Self::Silent => closed(&mut TcpStream::connect(edge.https).await?).await,
            Self::Drip => drip(edge).await?,
            Self::HalfOpen => {
                let mut stream = TcpStream::connect(edge.https).await?;
                stream.write_all(&client_hello()?).await?;
                closed(&mut stream).await;
            }
            Self::NoData => streams(edge, &[], |stream| http2::post(stream, HOST, "/form")).await?,
            Self::NoWindow => {
                let settings = [(INITIAL_WINDOW_SIZE, 0)];
                streams(edge, &settings, |stream| http2::get(stream, HOST, "/large")).await?;
            }
        }
        Ok(())
    }
}

/// All kinds at once; those that there is no time for are left out.
pub(super) async fn run(attack: &Attack) -> anyhow::Result<Vec<Ended>> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let (name, count, seconds) = kind.facts();
        let deadline = Duration::from_secs(seconds);
        if attack.has_time_for(deadline) {
            let visitors: JoinSet<_> =
                (0..count).map(|_| again_and_again(kind, deadline, attack.clone())).collect();
            all.push((name, deadline, visitors));
        }
    }
    let mut ended = Vec::new();
    for (kind, deadline, visitors) in all {
        let mut sum = Ended { kind, deadline, opened: 0, closed: 0, longest: Duration::ZERO };
        for one in visitors.join_all().await {
            sum.add(&one?);
        }
        ended.push(sum);
    }
    Ok(ended)
}

async fn again_and_again(kind: Kind, deadline: Duration, attack: Attack) -> anyhow::Result<Ended> {
    let mut ended = Ended { kind: kind.facts().0, deadline, opened: 0, closed: 0, longest: Duration::ZERO };
    while attack.has_time_for(deadline) {
        let begun = Instant::now();
        let held = timeout(deadline + LATE, kind.hold(&attack.edge)).await;
        let closed = usize::from(held.is_ok());
        held.unwrap_or(Ok(()))?;
        ended.add(&Ended { opened: 1, closed, longest: begun.elapsed(), ..ended });
    }
    Ok(ended)
}

async fn drip(edge: &Edge) -> anyhow::Result<()> {
    let hello = client_hello()?;
    let (mut from_edge, mut to_edge) = TcpStream::connect(edge.https).await?.into_split();
    let send = async {
        for byte in hello {
            if to_edge.write_all(&[byte]).await.is_err() {
                // It is closed.
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = closed(&mut from_edge) => {}
        () = send => {}
    }
    Ok(())
}

fn client_hello() -> anyhow::Result<Vec<u8>> {
    let roots = rustls::RootCertStore::empty();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from(HOST)?)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}

/// Returns when the edge has closed the connection.
async fn closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = [0; 4096];
    while matches!(stream.read(&mut bytes).await, Ok(count) if count > 0) {}
}

/// Begins streams and waits until each of them, or the connection, is ended by the edge.
async fn streams(
    edge: &Edge,
    settings: &[(u16, u32)],
    request: impl Fn(u32) -> Vec<u8>,
) -> anyhow::Result<()> {
    let mut client = Client::open(edge, HOST, settings).await?;
    let requests: Vec<u8> = (0..STREAMS).flat_map(|number| request(2 * number + 1)).collect();
    client.send(&requests).await?;
    let mut open = STREAMS;
    while open > 0 {
        match client.next().await {
            Ok(Some(frame)) if frame.kind == kind::RST_STREAM || frame.ends_stream() => open -= 1,
            // Other frames, or none for a while: the edge is still patient. The caller is not for ever.
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return Ok(()),
        }
    }
    Ok(())
}
