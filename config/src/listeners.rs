//! Addresses that a process listens on or speaks to: parsed, and none of them twice.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::document::Text;
use crate::error::Faults;

/// An address with a port that is not 0.
pub(crate) fn socket(text: &Text<'_>, faults: &mut Faults<'_>) -> Option<SocketAddr> {
    let Text { path, value, span } = text;
    match value.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Some(address),
        Ok(_) => {
            faults.at(span.clone(), format!("`{path}` has `{value}`: write a port from 1 to 65535"));
            None
        }
        Err(_) => {
            let example = "write an address and a port, 127.0.0.1:8080 or [::]:443";
            faults.at(span.clone(), format!("`{path}` has `{value}`: {example}"));
            None
        }
    }
}

/// An address without a port.
pub(crate) fn address(text: &Text<'_>, faults: &mut Faults<'_>) -> Option<IpAddr> {
    let address = text.value.parse().ok();
    if address.is_none() {
        let Text { path, value, span } = text;
        faults
            .at(span.clone(), format!("`{path}` has `{value}`: write an address, 192.0.2.1 or 2001:db8::1"));
    }
    address
}

/// The addresses that were claimed so far.
#[derive(Debug, Default)]
pub(crate) struct Claims(Vec<(SocketAddr, String)>);

impl Claims {
    /// Notes that `path` listens on `address`; a fault if another key does, on the same address or on all.
    pub(crate) fn claim(
        &mut self,
        address: SocketAddr,
        path: &str,
        span: Option<Range<usize>>,
        faults: &mut Faults<'_>,
    ) {
        if let Some((other, owner)) = self.0.iter().find(|(other, _)| collide(*other, address)) {
            let message = format!(
                "`{path}` listens on {address}, but `{owner}` already listens on {other}: give one another port"
            );
            match span {
                Some(span) => faults.at(span, message),
                None => faults.missing(message),
            }
        }
        self.0.push((address, path.to_owned()));
    }
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_family = a.is_ipv4() == b.is_ipv4();
    let overlap = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && same_family && overlap
}
