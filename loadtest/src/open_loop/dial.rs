//! Making connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use testkit::tls::Tls;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

use super::Http;

/// How the generator connects: by full handshakes, in which it takes any certificate. Peers have their own
/// authorities, and what is measured is not the visitor's work.
#[derive(Debug, Clone)]
pub(crate) struct Dial {
    address: SocketAddr,
    from: IpAddr,
    tls: [Tls; 2],
}

impl Dial {
    /// To an address of loopback.
    pub(crate) fn to(address: SocketAddr) -> Self {
        let tls = Tls::trusting_anyone();
        let tls = [tls.offering(&["http/1.1"]), tls.offering(&["h2"])];
        Self { address, from: Ipv4Addr::LOCALHOST.into(), tls }
    }

    /// As another visitor, who comes from that address of loopback.
    pub(crate) fn from(self, visitor: Ipv4Addr) -> Self {
        Self { from: visitor.into(), ..self }
    }

    /// A connection for `host` that speaks `http`.
    ///
    /// # Errors
    /// It is refused, or the handshake fails.
    pub(super) async fn connect(&self, host: &str, http: Http) -> anyhow::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let tcp = socket.connect(self.address).await.context("no connection")?;
        let [http1, http2] = &self.tls;
        let tls = if http == Http::Two { http2 } else { http1 };
        tls.secure(tcp, host).await.with_context(|| format!("no handshake for {host}"))
    }
}
