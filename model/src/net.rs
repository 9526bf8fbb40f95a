//! Addresses of visitors.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who a visitor is to a limit: an IPv4 address, or an IPv6 /64, which is the least that one household or
/// one rented server gets. Addresses that carry an IPv4 address (mapped, NAT64 `64:ff9b::/96`) count as it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VisitorKey {
    /// The whole address.
    V4(Ipv4Addr),
    /// The upper 64 bits.
    V6(u64),
}

impl From<IpAddr> for VisitorKey {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| Self::V6(upper_half(v6)), Self::V4),
        }
    }
}

impl fmt::Display for VisitorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(v4) => v4.fmt(f),
            Self::V6(upper) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*upper) << 64)),
        }
    }
}

fn upper_half(v6: Ipv6Addr) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = v6.octets();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = match v6.octets() {
        [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    };
    v6.to_ipv4_mapped().or(nat64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<VisitorKey> {
        text.parse::<IpAddr>().ok().map(VisitorKey::from)
    }

    #[test]
    fn one_slash_64_is_one_visitor() {
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }

    #[test]
    fn an_address_that_carries_an_ipv4_address_counts_as_it() {
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_eq!(key("64:ff9b::192.0.2.7"), key("192.0.2.7"));
        assert_ne!(key("192.0.2.8"), key("192.0.2.7"));
    }
}
