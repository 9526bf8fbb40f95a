//! One active health check: a connection, and with a path a GET that expects 2xx or 3xx, in the HTTP that
//! requests are sent in.
//!
//! Only the status is read; the connection is closed then. To `https` backends a TLS handshake is made
//! with the same trust anchors as the requests, so that an expired certificate shows here too. If the
//! platform has no readable trust anchors, only the TCP connection is checked.

use std::io;
use std::path::Path;
use std::sync::Arc;

use model::backend::{BackendHost, BackendUrl, Scheme};
use model::site::Settings;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::socket::SocketAddr as Place;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Duration, timeout};
use tokio_rustls::TlsConnector;

use super::protocol::{self, Need};
use super::socket::SocketFence;
use super::trust::{Trust, connector};
use crate::proxy_protocol::LOCAL;

/// Longest wait for the status line: a health page that takes longer is no health page.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
const USER_AGENT: &str = "Stoa-Health/1";
/// Bytes of `HTTP/1.1 200`, all that is read.
const STATUS_BYTES: usize = 12;

/// Why a check is bad.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// No connection within the connect timeout.
    #[error("no connection within {} ms", .0.as_millis())]
    ConnectTimeout(Duration),
    /// The connection was refused, or TLS failed, or it broke off.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Connected, but no status line in time.
    #[error("no answer within {} ms", ANSWER_TIMEOUT.as_millis())]
    AnswerTimeout,
    /// The answer is no HTTP/1.
    #[error("the answer is not HTTP/1")]
    NotHttp,
    /// The answer is no HTTP/2.
    #[error("the answer is not HTTP/2: {0}")]
    NotHttp2(#[from] h2::Error),
    /// The status is neither 2xx nor 3xx.
    #[error("status {0}")]
    Status(u16),
}

/// Makes checks.
pub(super) struct Checker {
    tls: Option<TlsConnector>,
    sockets: Arc<SocketFence>,
}

impl Checker {
    /// Trusts `roots`, or what the platform trusts, and connects to `sockets`.
    pub(super) fn new(roots: Option<Arc<RootCertStore>>, sockets: Arc<SocketFence>) -> Self {
        Self { tls: roots.or_else(platform_roots).and_then(connector), sockets }
    }

    /// How `https` backends are spoken to, by `trust` if they have one of their own; none if nobody is trusted.
    pub(super) fn connector<'a>(&'a self, trust: Option<&'a Trust>) -> Option<&'a TlsConnector> {
        trust.map_or(self.tls.as_ref(), |trust| trust.tls.as_ref())
    }

    /// Checks the backend `url` at `place`, which is verified by `trust` if it has one of its own.
    pub(super) async fn check(
        &self,
        url: &BackendUrl,
        place: &Place,
        settings: &Settings,
        trust: Option<&Trust>,
    ) -> Result<(), CheckError> {
        let tls = self.connector(trust);
        let limit = settings.connect_timeout();
        let versions = protocol::versions(url.scheme, settings.protocol, Need::Exchange);
        let connected = async {
            let stream = match place {
                Place::Inet(address) => {
                    let mut stream = TcpStream::connect(address).await?;
                    announce(&mut stream, settings).await?;
                    stream
                }
                Place::Unix(address) => {
                    let path = address.as_pathname().unwrap_or(Path::new(""));
                    let mut stream = self.sockets.connect(path).await?;
                    announce(&mut stream, settings).await?;
                    return Ok(Connection::Unix(stream));
                }
            };
            match (url.scheme, tls) {
                (Scheme::Https, Some(tls)) => tls
                    .with_alpn(alpn(&versions))
                    .connect(server_name(url, settings)?, stream)
                    .await
                    .map(|stream| Connection::Tls(Box::new(stream))),
                (Scheme::Https, None) => Ok(Connection::Opaque),
                (Scheme::Http | Scheme::H2c, _) => Ok(Connection::Plain(stream)),
            }
        };
        let connection = timeout(limit, connected).await.map_err(|_| CheckError::ConnectTimeout(limit))??;
        let Some(path) = settings.health_path.as_deref() else { return Ok(()) };
        let asked = async {
            match connection {
                Connection::Unix(stream) if versions == ALPN::H2 => ask2(stream, url, path).await,
                Connection::Unix(stream) => ask(stream, url, path).await,
                Connection::Plain(stream) if versions == ALPN::H2 => ask2(stream, url, path).await,
                Connection::Plain(stream) => ask(stream, url, path).await,
                Connection::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                    ask2(stream, url, path).await
                }
                Connection::Tls(stream) => ask(stream, url, path).await,
                Connection::Opaque => Ok(()),
            }
        };
        timeout(ANSWER_TIMEOUT, asked).await.map_err(|_| CheckError::AnswerTimeout)?
    }
}

/// Begins as requests' connections do, with a PROXY header that names nobody.
async fn announce(stream: &mut (impl AsyncWrite + Unpin), settings: &Settings) -> io::Result<()> {
    if settings.send_proxy_protocol { stream.write_all(&LOCAL).await } else { Ok(()) }
}

enum Connection {
    Plain(TcpStream),
    Unix(UnixStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// TLS that cannot be spoken for want of trust anchors.
    Opaque,
}

/// Those that pingora loads for the requests.
fn platform_roots() -> Option<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    match pingora_core::tls::load_platform_certs_incl_env_into_store(&mut roots) {
        Ok(()) => Some(Arc::new(roots)),
        Err(error) => {
            tracing::warn!(%error, "no trust anchors: https backends are checked by their TCP connection only");
            None
        }
    }
}

fn server_name(url: &BackendUrl, settings: &Settings) -> io::Result<ServerName<'static>> {
    ServerName::try_from(super::endpoint::server_name(url, settings)).map_err(io::Error::other)
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &BackendUrl,
    path: &str,
) -> Result<(), CheckError> {
    let authority = authority(url);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = [0; STATUS_BYTES];
    stream.read_exact(&mut head).await?;
    status(&head).map_or(Err(CheckError::NotHttp), judge)
}

/// The same over HTTP/2.
async fn ask2(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    url: &BackendUrl,
    path: &str,
) -> Result<(), CheckError> {
    let scheme = if url.scheme == Scheme::Https { "https" } else { "http" };
    let request = http::Request::get(format!("{scheme}://{}{path}", authority(url)))
        .header(http::header::USER_AGENT, USER_AGENT)
        .header(http::header::ACCEPT, "*/*")
        .body(())
        .map_err(io::Error::other)?;
    let (mut requests, connection) = h2::client::handshake(stream).await?;
    let asked = async {
        let (response, _) = requests.send_request(request, true)?;
        Ok(response.await?.status().as_u16())
    };
    tokio::select! {
        status = asked => status.and_then(judge),
        ended = connection => Err(ended.map_or_else(CheckError::from, |()| CheckError::NotHttp)),
    }
}

fn judge(status: u16) -> Result<(), CheckError> {
    if (200..400).contains(&status) { Ok(()) } else { Err(CheckError::Status(status)) }
}

/// Host and port; a Unix socket has none.
fn authority(url: &BackendUrl) -> String {
    if matches!(url.host, BackendHost::Socket(_)) {
        return "localhost".to_owned();
    }
    let url = url.to_string();
    url.split_once("://").map_or(url.as_str(), |(_, authority)| authority).to_owned()
}

fn alpn(versions: &ALPN) -> Vec<Vec<u8>> {
    let (h2, h1) = (b"h2".to_vec(), b"http/1.1".to_vec());
    match versions {
        ALPN::H2 => vec![h2],
        ALPN::H2H1 => vec![h2, h1],
        _ => vec![h1],
    }
}

fn status(head: &[u8; STATUS_BYTES]) -> Option<u16> {
    let text = std::str::from_utf8(head).ok()?;
    let (version, status) = text.strip_prefix("HTTP/1.")?.split_once(' ')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (version.len() == 1 && is_number(version) && is_number(status)).then(|| status.parse().ok())?
}

#[cfg(test)]
mod tests;
