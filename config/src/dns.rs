//! `[dns]`: who is asked about creators' domains and the names of backends.

use std::net::{IpAddr, SocketAddr};

use crate::document::{Section, Text};
use crate::error::Faults;
use crate::listeners;

pub(crate) const KEYS: [&str; 1] = ["resolvers"];

/// Look-ups of domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The resolvers to ask; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
}

pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Dns {
    let Some(texts) = section.some_texts("resolvers", "127.0.0.1:53", faults) else {
        return Dns { resolvers: Vec::new() };
    };
    let mut resolvers = Vec::new();
    for text in &texts {
        let Some(address) = resolver(text, faults) else { continue };
        if resolvers.contains(&address) {
            faults.at(text.span.clone(), format!("`dns.resolvers` has `{}` twice", text.value));
        }
        resolvers.push(address);
    }
    Dns { resolvers }
}

/// An address; without a port, 53.
pub(crate) fn resolver(text: &Text<'_>, faults: &mut Faults<'_>) -> Option<SocketAddr> {
    match text.value.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, 53)),
        Err(_) => listeners::socket(text, faults),
    }
}
