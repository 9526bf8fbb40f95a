//! What stands in front of this edge, and whom a connection is from behind it.
//!
//! From a listed sender the PROXY header comes first and is required; from everybody else it is never read, so
//! nobody can claim an address. Reads exactly the header: what follows stays in the socket for TLS or HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use model::net::Networks;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::connection::Ends;
use crate::proxy_protocol::{self, Header, MOST_BYTES, Malformed, Origin};
use crate::settings::Settings;

/// Bytes that are looked at first: more than most headers have.
const FIRST_LOOK_BYTES: usize = 256;

/// Who may say whom a connection or a request is from.
#[derive(Debug)]
pub(crate) struct Front {
    /// By a PROXY header.
    announcers: Networks,
    /// By `X-Forwarded-For`.
    pub(crate) trusted: Networks,
    /// For the header, in all.
    limit: Duration,
}

/// Why a connection from a sender of headers is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unannounced {
    /// No header, or none that is well formed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It did not come in time.
    #[error("the PROXY header is overdue")]
    Late,
    /// The sender closed: many a health check connects and says nothing.
    #[error("the sender of a PROXY header is gone")]
    Gone(#[from] io::Error),
}

impl Front {
    /// As the operator has it.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            announcers: settings.proxy_protocol.clone(),
            trusted: settings.trusted_proxies.clone(),
            limit: settings.deadlines.proxy_header,
        }
    }

    /// Whether connections from `peer` begin with a PROXY header.
    pub(crate) fn announces(&self, peer: SocketAddr) -> bool {
        self.announcers.contain(peer.ip())
    }

    /// The ends of a connection that is its peer's own.
    pub(crate) fn direct(&self, peer: SocketAddr) -> Ends {
        Ends { peer, client: peer, is_trusted: self.trusted.contain(peer.ip()) }
    }

    /// Reads the header that `tcp` begins with.
    ///
    /// # Errors
    /// [`Unannounced`]: the connection is to be closed.
    pub(crate) async fn announced(&self, tcp: &mut TcpStream, peer: SocketAddr) -> Result<Ends, Unannounced> {
        let header = timeout(self.limit, read(tcp)).await.map_err(|_| Unannounced::Late)??;
        Ok(match header.origin {
            Origin::Peer => self.direct(peer),
            Origin::Passed { source, .. } => Ends { peer, ..self.direct(source) },
        })
    }
}

/// Looks at what has arrived and takes from the socket what belongs to the header.
async fn read(tcp: &mut TcpStream) -> Result<Header, Unannounced> {
    let mut bytes = vec![0; FIRST_LOOK_BYTES];
    let mut taken = 0;
    loop {
        if taken == bytes.len() {
            bytes.resize(MOST_BYTES, 0);
        }
        let room = bytes.get_mut(taken..).unwrap_or_default();
        let seen = taken + tcp.peek(room).await?;
        if seen == taken {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let header = proxy_protocol::parse(bytes.get(..seen).unwrap_or_default())?;
        let end = header.map_or(seen, |header| header.length);
        tcp.read_exact(bytes.get_mut(taken..end).unwrap_or_default()).await?;
        if let Some(header) = header {
            return Ok(header);
        }
        taken = end;
    }
}

#[cfg(test)]
mod tests;
