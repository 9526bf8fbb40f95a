//! `[api]`: where the admin API listens.

use std::net::SocketAddr;

use crate::document::Section;
use crate::error::Faults;
use crate::listeners;

pub(crate) const KEYS: [&str; 1] = ["listen"];
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8090);

/// The admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Where it listens, in the clear: keep it on loopback or behind a TLS proxy.
    pub listen: SocketAddr,
}

pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Api {
    let listen = section.text("listen", faults).and_then(|text| listeners::socket(&text, faults));
    Api { listen: listen.unwrap_or(LISTEN) }
}
