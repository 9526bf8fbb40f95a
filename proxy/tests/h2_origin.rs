//! A backend that speaks HTTP/2 and nothing else, in the clear or over TLS, frame by frame.
//!
//! | route | answer |
//! |---|---|
//! | `/echo…` | what it is sent, as it comes, then trailers with `grpc-status: 0` |
//! | `/status/N` | a gRPC status in the one header section |
//! | `/silent` | nothing, ever |
//! | `/sse` | the head and the first event of an event stream, then silence |
//! | `/drip` | a piece each 50 ms for half a second |
//! | `/refuse` | the first time REFUSED_STREAM, then as any other |
//! | other | the number of the connection that it came over |

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use testkit::authority::{Authority, Issued};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicUsize,
    /// Streams that the other side gave up.
    pub(crate) resets: AtomicUsize,
}

pub(crate) struct H2Origin {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

/// What a TLS server shows, and the protocols it takes.
pub(crate) fn acceptor(issued: Issued, alpn: &[&str]) -> TlsAcceptor {
    testkit::tls::install_provider();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![issued.der], issued.key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

impl H2Origin {
    pub(crate) async fn clear() -> Self {
        Self::start(None).await
    }

    pub(crate) async fn tls(authority: &Authority) -> Self {
        Self::start(Some(acceptor(authority.issue(&["127.0.0.1"]).unwrap(), &["h2"]))).await
    }

    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        tokio::spawn(accept(listener, tls, Arc::clone(&seen)));
        Self { address, seen }
    }

    pub(crate) fn h2c(&self) -> String {
        format!("h2c://{}", self.address)
    }

    pub(crate) fn https(&self) -> String {
        format!("https://{}", self.address)
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, seen) = (tls.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            match tls {
                None => serve(tcp, seen).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(tcp).await {
                        serve(stream, seen).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Seen>) {
    // A health check without a path ends before the preface.
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let number = seen.connections.fetch_add(1, Relaxed) + 1;
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, number, Arc::clone(&seen)));
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    number: u64,
    seen: Arc<Seen>,
) {
    let count = seen.requests.fetch_add(1, Relaxed);
    let path = request.uri().path().to_owned();
    let te = request.headers().get("te").cloned().unwrap_or(HeaderValue::from_static("none"));
    let scheme = request.uri().scheme_str().unwrap_or("none").to_owned();
    let head =
        Response::builder().header("x-te", te).header("x-scheme", scheme).header("x-connection", number);
    let kind = request.headers().get("content-type").cloned();
    let head = if let Some(kind) = kind { head.header("content-type", kind) } else { head };
    match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
        ["echo", ..] => echo(request, respond.send_response(head.body(()).unwrap(), false).unwrap()).await,
        ["status", code] => {
            let head = head.header("grpc-status", code).header("grpc-message", "as asked");
            respond.send_response(head.body(()).unwrap(), true).map(drop).unwrap();
        }
        ["silent"] => {
            if std::future::poll_fn(|cx| respond.poll_reset(cx)).await.is_ok() {
                seen.resets.fetch_add(1, Relaxed);
            }
        }
        ["sse"] => {
            let head = head.header("content-type", "text/event-stream").body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(Bytes::from_static(b"data: 1\n\n"), false).unwrap();
            let _gone = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
        }
        ["drip"] => {
            let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
            // Slow on purpose.
            for _ in 0..10 {
                let _sent = body.send_data(Bytes::from_static(b"x"), false);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let _sent = body.send_data(Bytes::new(), true);
        }
        ["refuse"] if count == 0 => respond.send_reset(Reason::REFUSED_STREAM),
        _ => {
            let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
            let _sent = body.send_data(Bytes::from(number.to_string()), true);
        }
    }
}

async fn echo(mut request: Request<RecvStream>, mut answer: SendStream<Bytes>) {
    while let Some(Ok(piece)) = request.body_mut().data().await {
        request.body_mut().flow_control().release_capacity(piece.len()).unwrap();
        if answer.send_data(piece, false).is_err() {
            return;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-last", HeaderValue::from_static("word"));
    let _sent = answer.send_trailers(trailers);
}
