//! Version 2: twelve fixed bytes, command, family, length, addresses, fields (section 2.2).

use std::net::{IpAddr, SocketAddr};

use super::{Header, MOST_BYTES, Malformed, Origin, begins, crc32c};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const START_BYTES: usize = 16;
/// Version 2 in the upper half, the command in the lower.
const VERSION_LOCAL: u8 = 0x20;
const VERSION_PROXY: u8 = 0x21;
/// TCP over IPv4 and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Bytes of the addresses of each family.
const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;
/// `PP2_TYPE_CRC32C`: four bytes, the checksum of the whole header with these four as zeros.
const CHECKSUM: u8 = 0x03;

/// The header of a connection that passes nobody on: a health check.
pub(crate) const LOCAL: [u8; START_BYTES] = {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = SIGNATURE;
    [a, b, c, d, e, f, g, h, i, j, k, l, VERSION_LOCAL, 0, 0, 0]
};

/// The header that passes on a connection from `source` to `destination`. Addresses of two families are both
/// written as IPv6.
pub(crate) fn encode(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(START_BYTES + INET6_BYTES);
    bytes.extend(SIGNATURE);
    bytes.push(VERSION_PROXY);
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([TCP4, 0, 12]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (from, to) => {
            bytes.extend([TCP6, 0, 36]);
            bytes.extend(as_v6(from));
            bytes.extend(as_v6(to));
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes
}

fn as_v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// As [`super::parse`].
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if !begins(bytes, &SIGNATURE) {
        return Err(Malformed::Absent);
    }
    let Some([.., command, family, high, low]) = bytes.first_chunk::<START_BYTES>().copied() else {
        return Ok(None);
    };
    let length = START_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, VERSION_LOCAL | VERSION_PROXY) {
        return Err(Malformed::Kind);
    }
    if length > MOST_BYTES {
        return Err(Malformed::TooLong);
    }
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    let origin = if command == VERSION_PROXY { passed(header, family)? } else { Origin::Peer };
    Ok(Some(Header { origin, length }))
}

/// Whom a whole header of the command PROXY is from.
fn passed(header: &[u8], family: u8) -> Result<Origin, Malformed> {
    let addresses = match family {
        // Nothing is known of what follows.
        0x00..=0x02 => return Ok(Origin::Peer),
        0x10..=0x12 => INET_BYTES,
        0x20..=0x22 => INET6_BYTES,
        0x30..=0x32 => UNIX_BYTES,
        _ => return Err(Malformed::Kind),
    };
    let rest = header.get(START_BYTES..).ok_or(Malformed::Short)?;
    let (addresses, fields) = rest.split_at_checked(addresses).ok_or(Malformed::Short)?;
    check_fields(header, fields)?;
    let origin = match family {
        TCP4 => pair::<4>(addresses),
        TCP6 => pair::<16>(addresses),
        // No datagram and no UNIX address is whom a TCP connection is from.
        _ => return Ok(Origin::Peer),
    };
    origin.ok_or(Malformed::Short)
}

/// Two addresses of `N` bytes and two ports.
fn pair<const N: usize>(bytes: &[u8]) -> Option<Origin>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let [a, b, c, d] = *rest.first_chunk::<4>()?;
    Some(Origin::Passed {
        source: SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes([c, d])),
    })
}

/// Walks over the fields (type, length in two bytes, value), which must fill their place, and checks the
/// checksum if there is one.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), Malformed> {
    let mut is_checked = false;
    while !fields.is_empty() {
        let ([kind, high, low], rest) = fields.split_first_chunk().ok_or(Malformed::Short)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed::Short)?;
        if *kind == CHECKSUM {
            let sum = <[u8; 4]>::try_from(value).map_err(|_| Malformed::Checksum)?;
            let at = header.len() - rest.len() - sum.len();
            if is_checked || !is_checksum(header, at, u32::from_be_bytes(sum)) {
                return Err(Malformed::Checksum);
            }
            is_checked = true;
        }
        fields = rest;
    }
    Ok(())
}

/// Whether `sum`, which stands at `at`, is the checksum of `header` with zeros in its place.
fn is_checksum(header: &[u8], at: usize, sum: u32) -> bool {
    let (before, rest) = header.split_at_checked(at).unwrap_or((header, &[]));
    let after = rest.get(4..).unwrap_or_default();
    crc32c::checksum(before.iter().chain(&[0; 4]).chain(after)) == sum
}
