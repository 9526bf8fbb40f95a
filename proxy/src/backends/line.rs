//! A connection to a backend that can be cut from outside pingora.
//!
//! pingora 0.9.1 fixes its read timeout before a request is sent, but whether an answer is a stream shows only
//! in its header section. So connections are made here, and each takes a second handle of its own socket along
//! in its digest, kept connections too; who waits for an answer cuts it by that. Costs one file descriptor a
//! connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::ext;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{Digest, GetProxyDigest as _};
use pingora_core::{Error, ErrorType, OrErr as _, Result};
use pingora_http::ResponseHeader;
use socket2::{SockRef, Socket};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::socket::SocketFence;

/// The second handle of a connection's socket.
#[derive(Clone)]
pub(crate) struct Line(Arc<ProxyDigest>);

impl Line {
    /// That of the connection with this digest; none if the connection was not made here.
    pub(crate) fn of(digest: &Digest) -> Option<Self> {
        let digest = digest.proxy_digest.as_ref()?;
        digest.user_data.as_ref()?.is::<Socket>().then(|| Self(Arc::clone(digest)))
    }

    /// Ends the connection: whoever reads from it meets its end at once.
    pub(crate) fn cut(&self) {
        if let Some(socket) = self.0.user_data.as_ref().and_then(|data| data.downcast_ref::<Socket>()) {
            // An error means that it has ended already.
            let _ended = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Makes the connections of a pool ones that can be cut.
#[derive(Debug)]
pub(super) struct Dialer {
    /// Where Unix sockets may be.
    pub(super) sockets: Arc<SocketFence>,
    /// What each connection begins with, before TLS: a PROXY header, or nothing.
    pub(super) preamble: Vec<u8>,
}

#[async_trait]
impl L4Connect for Dialer {
    async fn connect(&self, place: &SocketAddr) -> Result<Stream> {
        let (socket, mut stream) = match place {
            SocketAddr::Inet(address) => {
                let mut tcp = ext::connect(address, None).await?;
                self.announce(&mut tcp).await?;
                (second_handle(&tcp)?, Stream::from(tcp))
            }
            SocketAddr::Unix(address) => {
                let path = address.as_pathname().unwrap_or(Path::new(""));
                let mut unix = self.sockets.connect(path).await.map_err(refused)?;
                self.announce(&mut unix).await?;
                (second_handle(&unix)?, Stream::from(unix))
            }
        };
        stream.set_proxy_digest(digest(socket)?);
        Ok(stream)
    }
}

fn digest(socket: Socket) -> Result<ProxyDigest> {
    let nothing = ResponseHeader::build(200, Some(0))?;
    Ok(ProxyDigest::new(Box::new(nothing), Some(Box::new(socket))))
}

/// For a connection that goes by way of `stream`: a digest with that one's line.
pub(super) fn same_line(stream: &Stream) -> Result<ProxyDigest> {
    let held = stream.get_proxy_digest();
    let socket = held.as_ref().and_then(|digest| digest.user_data.as_ref()?.downcast_ref::<Socket>());
    let socket = socket
        .ok_or_else(|| Error::explain(ErrorType::SocketError, "a connection without a second handle"))?;
    digest(second_handle(socket)?)
}

impl Dialer {
    async fn announce(&self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        if self.preamble.is_empty() {
            return Ok(());
        }
        stream
            .write_all(&self.preamble)
            .await
            .or_err(ErrorType::ConnectError, "no PROXY header could be sent")
    }
}

fn second_handle(stream: &impl AsFd) -> Result<Socket> {
    let clone = SockRef::from(stream).try_clone();
    clone.or_err(ErrorType::SocketError, "no second handle of a backend's connection")
}

fn refused(error: io::Error) -> Box<Error> {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
        _ => ErrorType::ConnectError,
    };
    Error::because(kind, "no connection to a backend's socket", error)
}
