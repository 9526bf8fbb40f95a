//! A request that is sent to a backend beside pingora, and the hand-over of its connection to pingora.
//!
//! pingora believes that it has made the connection, and sends the request over it: what it writes is dropped,
//! because the request was sent already and has no body. What it reads is the answer, from its first byte on.
//! TLS is spoken here, so to pingora the connection is one in the clear. It carries one exchange: the answer is made
//! to say `Connection: close`, so that pingora 0.9.1, which tells kept connections apart by their file descriptors,
//! never keeps one without a descriptor.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::{fmt, io};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use http::StatusCode;
use memchr::memmem;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::GetProxyDigest as _;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::upstreams::peer::{HttpPeer, Peer as _, Scheme};
use pingora_core::{Error, ErrorType, OkOrErr as _, OrErr as _, Result};
use rand::RngExt;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::line::same_line;

/// Longest header section that is waited for, informational ones included. Apps' are far shorter.
const MOST_HEAD_BYTES: usize = 64 << 10;
const CLOSE: &[u8] = b"Connection: close\r\n";

/// Why there is no answer to be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No connection within the app's connect timeout.
    #[error("no connection in time")]
    ConnectTimeout,
    /// No connection.
    #[error("no connection: {0}")]
    Connect(Box<Error>),
    /// The connection ended, or broke, without an answer.
    #[error("no answer: {0}")]
    Io(#[from] io::Error),
    /// What came is no header section of HTTP/1, or a longer one than is waited for.
    #[error("the answer is not HTTP/1")]
    NotHttp,
    /// The backend says that it cannot serve the request.
    #[error("status {0}")]
    Status(StatusCode),
}

/// A connection on which the answer to a request has begun.
#[derive(Debug)]
pub(crate) struct Adopted(Stream);

impl Adopted {
    /// Connects to `peer` as pingora would, with `tls` if it is https, sends `request`, a head without a body, and
    /// waits for the header section of the answer. Informational responses are passed over.
    ///
    /// # Errors
    /// If there is no answer, or one of the 5xx, or a switch of protocols, which nobody asked for.
    pub(super) async fn ask(
        peer: &HttpPeer,
        tls: Option<&TlsConnector>,
        request: &[u8],
    ) -> Result<Self, AskError> {
        let limit = peer.options.connection_timeout.unwrap_or_default();
        let mut stream = timeout(limit, connect(peer, tls))
            .await
            .map_err(|_| AskError::ConnectTimeout)?
            .map_err(AskError::Connect)?;
        stream.write_all(request).await?;
        stream.flush().await?;
        let mut read = BytesMut::with_capacity(4 << 10);
        loop {
            while let Some(end) = head_end(&read) {
                let status = status(&read).ok_or(AskError::NotHttp)?;
                if status == StatusCode::SWITCHING_PROTOCOLS || status.is_server_error() {
                    return Err(AskError::Status(status));
                }
                if !status.is_informational() {
                    // What is put back last is read first.
                    let (line, rest) = read.split_at(line_end(&read).ok_or(AskError::NotHttp)?);
                    [rest, CLOSE, line].into_iter().for_each(|part| stream.rewind(part));
                    return Ok(Self(stream));
                }
                read.advance(end);
            }
            if read.len() > MOST_HEAD_BYTES {
                return Err(AskError::NotHttp);
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Makes `peer` one to which this is the connection.
    pub(crate) fn lead(self, peer: &mut HttpPeer) {
        // No connection that is kept has this key.
        peer.group_key = rand::rng().random();
        peer.scheme = Scheme::HTTP;
        peer.options.alpn = ALPN::H1;
        peer.options.custom_l4 = Some(Arc::new(HandOver(Mutex::new(Some(self)))));
    }
}

async fn connect(peer: &HttpPeer, tls: Option<&TlsConnector>) -> Result<Stream> {
    let dialer = peer.options.custom_l4.as_ref().or_err(ErrorType::ConnectError, "no dialer")?;
    let mut stream = dialer.connect(&peer._address).await?;
    if let Some(keepalive) = &peer.options.tcp_keepalive {
        stream.set_keepalive(keepalive)?;
    }
    stream.set_nodelay()?;
    if !peer.tls() {
        return Ok(stream);
    }
    let digest = same_line(&stream)?;
    let name = ServerName::try_from(peer.sni.clone()).or_err(ErrorType::InvalidCert, "no name to verify")?;
    let tls = tls.or_err(ErrorType::InvalidCert, "no trust anchors")?;
    let http1 = vec![b"http/1.1".to_vec()];
    let secured = tls.with_alpn(http1).connect(name, stream).await;
    let secured = secured.or_err(ErrorType::TLSHandshakeFailure, "no TLS with a backend")?;
    Ok(Virtual { stream: secured, is_sent: true }.into_stream(digest))
}

/// Where the first line ends.
fn line_end(read: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', read).map(|at| at + 1)
}

/// Where the first header section ends; its lines may end as pingora takes them, without a CR.
pub(crate) fn head_end(read: &[u8]) -> Option<usize> {
    let find = |read: &[u8], end: &[u8]| memmem::find(read, end).map(|at| at + end.len());
    let usual = find(read, b"\n\r\n");
    // Only before that: a body may be behind it.
    find(read.get(..usual.unwrap_or(read.len())).unwrap_or_default(), b"\n\n").or(usual)
}

/// The status of `HTTP/1.1 200 …`.
fn status(read: &[u8]) -> Option<StatusCode> {
    let digits = read.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    StatusCode::from_bytes(digits).ok()
}

/// Gives one connection away, once.
#[derive(Debug)]
struct HandOver(Mutex<Option<Adopted>>);

#[async_trait]
impl L4Connect for HandOver {
    async fn connect(&self, _: &SocketAddr) -> Result<Stream> {
        let adopted = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let adopted = adopted.ok_or_else(|| Error::explain(ErrorType::ConnectError, "it was given away"))?;
        let digest = same_line(&adopted.0)?;
        Ok(Virtual { stream: adopted.0, is_sent: false }.into_stream(digest))
    }
}

/// What pingora is to take for a socket.
#[derive(Debug)]
struct Virtual<S> {
    stream: S,
    /// Whether what is written is sent; else it is dropped.
    is_sent: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + fmt::Debug + 'static> Virtual<S> {
    fn into_stream(self, digest: ProxyDigest) -> Stream {
        let mut stream = Stream::from(VirtualSocketStream::new(Box::new(self)));
        stream.set_proxy_digest(digest);
        stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Virtual<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Virtual<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_sent {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        } else {
            Poll::Ready(Ok(bytes.len()))
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + fmt::Debug> VirtualSocket for Virtual<S> {
    /// They were set when the connection was made.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_known_once_the_header_section_is_whole() {
        for (bytes, end) in [
            (&b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n"[..], Some(25)),
            (b"HTTP/1.0 404\n\nbody", Some(14)),
            (b"HTTP/1.1 200 OK\r\nA: b\r\n", None),
            (b"", None),
        ] {
            assert_eq!(head_end(bytes), end, "{}", bytes.escape_ascii());
        }
        assert_eq!(status(b"HTTP/1.1 503 No\r\n\r\n"), Some(StatusCode::SERVICE_UNAVAILABLE));
        for bytes in [&b"SSH-2.0-x\r\n\r\n"[..], b"HTTP/2 200\r\n\r\n", b"HTTP/1.1\n\n", b"HTTP/1.1 2x0\n\n"]
        {
            assert_eq!(status(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
