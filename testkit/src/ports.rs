//! Ports that no other test takes, from below the range that outgoing connections use.
//!
//! A lease is a listener on the same port of another loopback address, so it holds across processes while
//! the server that the port is meant for can be stopped and started again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context as _, Result};
use tokio::net::TcpStream;

/// Where leases are held; servers under test listen on 127.0.0.1.
const LEASES: Ipv4Addr = Ipv4Addr::new(127, 77, 77, 77);

/// Below Linux's `ip_local_port_range` (32768 and up), above what Debian's services use.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// Enough tries to find a free port among thousands of leases.
const TRIES: usize = 1_000;

/// A port of 127.0.0.1, ours until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lease: TcpListener,
}

impl Port {
    /// Leases a port that is free for TCP and UDP.
    ///
    /// # Errors
    /// If no port is free.
    pub fn lease() -> Result<Self> {
        (0..TRIES)
            .find_map(|_| Self::try_lease(rand::random_range(RANGE)))
            .context("no free port on 127.0.0.1")
    }

    fn try_lease(number: u16) -> Option<Self> {
        let lease = TcpListener::bind((LEASES, number)).ok()?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
        free.then_some(Self { number, _lease: lease })
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The address, on 127.0.0.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    /// Succeeds if a server takes connections here.
    ///
    /// # Errors
    /// If none does.
    pub async fn probe(&self) -> Result<()> {
        TcpStream::connect(self.address()).await?;
        Ok(())
    }
}
