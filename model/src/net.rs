//! Addresses of visitors, and networks of those that stand before them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

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

/// A network as CIDR writes it: `10.0.0.0/8`, `2001:db8::/32`; an address alone is a network of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The bits behind the prefix are zeros.
    address: IpAddr,
    /// Bits of the prefix.
    prefix: u32,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No address, or a prefix that no address of its family has.
    #[error("`{0}` is no network: write an address, or a network with its prefix, e.g. 10.0.0.0/8")]
    Malformed(String),
    /// It is unclear which network is meant.
    #[error("`{written}` has bits behind its prefix: write {meant} for the network, or the address alone")]
    BitsBehindPrefix {
        /// The text.
        written: String,
        /// The network that has this prefix.
        meant: Network,
    },
}

impl Network {
    /// Whether `address` lies in it. An IPv4 address in an IPv6 one counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let common = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        common >= self.prefix
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, prefix)| (a, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(malformed)?
            }
            Some(_) => return Err(malformed()),
        };
        let meant = Self { address: first(address, prefix), prefix };
        if meant.address != address {
            return Err(NetworkError::BitsBehindPrefix { written: text.to_owned(), meant });
        }
        match (address.to_canonical(), prefix.checked_sub(96)) {
            // `::ffff:10.0.0.0/104` is 10.0.0.0/8 in other words.
            (v4 @ IpAddr::V4(_), Some(prefix)) if address.is_ipv6() => Ok(Self { address: v4, prefix }),
            _ => Ok(meant),
        }
    }
}

/// `address` with zeros behind the prefix.
fn first(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Some networks. Few: each look-up reads all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Whether `address` lies in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
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

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses_to_the_bit() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
            ("0.0.0.0/0", "255.0.0.1", "::1"),
        ] {
            assert!(network(text).contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network(text).contains(outside.parse().unwrap()), "{text} {outside}");
        }
        assert!(network("::/0").contains("2001:db8::1".parse().unwrap()));
        assert!(!Networks::default().contain("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_told_with_what_to_write() {
        for text in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Malformed(text.to_owned())));
        }
        let error = "10.1.2.3/8".parse::<Network>().unwrap_err();
        assert!(error.to_string().contains("write 10.0.0.0/8 for the network"), "{error}");
        assert!("2001:db8::1/64".parse::<Network>().is_err());
    }

    #[test]
    fn an_address_that_carries_an_ipv4_address_counts_as_it() {
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_eq!(key("64:ff9b::192.0.2.7"), key("192.0.2.7"));
        assert_ne!(key("192.0.2.8"), key("192.0.2.7"));
    }
}
