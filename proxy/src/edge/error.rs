//! Why an edge does not start, each with what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why an edge does not start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// Somebody else listens there.
    #[error("{0} is in use by another program: stop that program or choose another address")]
    AddressInUse(SocketAddr),
    /// A low port, and no right to it.
    #[error(
        "no permission to listen on {0}: choose a port from 1024 up, or grant the capability CAP_NET_BIND_SERVICE"
    )]
    NoPermission(SocketAddr),
    /// Not an address of this machine.
    #[error("{0} is not an address of this machine: choose one that is, or 0.0.0.0 for all")]
    NotOurs(SocketAddr),
    /// Anything else about an address.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The access log cannot be opened.
    #[error("the access log {} cannot be opened", path.display())]
    AccessLog {
        /// Which file; empty for standard output.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The trust anchors for backends cannot be read.
    #[error("the trust anchors for backends in {} cannot be used: {reason}", path.display())]
    BackendCa {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The platform has no trust anchors that can be read.
    #[error("a worker did not start: are the platform's trusted certificates readable?")]
    Worker,
    /// No thread or no runtime.
    #[error("cannot start a thread of the edge")]
    Thread(#[source] io::Error),
    /// The cryptographic library refuses.
    #[error("cannot set TLS up")]
    Tls(#[from] rustls::Error),
}

impl EdgeError {
    /// What went wrong when `address` was bound.
    pub(crate) fn of_bind(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse(address),
            io::ErrorKind::PermissionDenied => Self::NoPermission(address),
            io::ErrorKind::AddrNotAvailable => Self::NotOurs(address),
            _ => Self::Listen { address, source },
        }
    }
}
