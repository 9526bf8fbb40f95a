//! A connection to a backend that can be cut from outside pingora.
//!
//! pingora 0.9.1 fixes its read timeout before a request is sent, but whether an answer is a stream shows only
//! in its header section. So connections are made here, and each takes a second handle of its own socket along
//! in its digest, kept connections too; who waits for an answer cuts it by that. Costs one file descriptor a
//! connection.

use std::net::Shutdown;
use std::sync::{Arc, LazyLock};

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

/// One for all: it knows nothing.
static DIALER: LazyLock<Arc<Dialer>> = LazyLock::new(|| Arc::new(Dialer));

/// Makes the connections of a peer ones that can be cut.
pub(super) fn dialer() -> Arc<dyn L4Connect + Send + Sync> {
    Arc::<Dialer>::clone(&DIALER)
}

/// The second handle of a connection's socket.
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

#[derive(Debug)]
struct Dialer;

#[async_trait]
impl L4Connect for Dialer {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Err(Error::explain(ErrorType::SocketError, "a backend is no internet address"));
        };
        let tcp = ext::connect(address, None).await?;
        let socket = SockRef::from(&tcp)
            .try_clone()
            .or_err(ErrorType::SocketError, "no second handle of a backend's connection")?;
        let nothing = ResponseHeader::build(200, Some(0))?;
        let mut stream = Stream::from(tcp);
        stream.set_proxy_digest(ProxyDigest::new(Box::new(nothing), Some(Box::new(socket))));
        Ok(stream)
    }
}
