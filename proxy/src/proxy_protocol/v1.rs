//! Version 1: one line of text, `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and CRLF (section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Header, Malformed, Origin, begins};

/// Longest line, with its CRLF.
const MOST_BYTES: usize = 107;
const START: &[u8] = b"PROXY ";

/// As [`super::parse`].
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if !begins(bytes, START) {
        return Err(Malformed::Absent);
    }
    let window = bytes.get(..MOST_BYTES).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        return if window.len() < MOST_BYTES { Ok(None) } else { Err(Malformed::TooLong) };
    };
    let line = window.get(START.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok()).ok_or(Malformed::Line)?;
    let origin = origin(line).ok_or(Malformed::Line)?;
    Ok(Some(Header { origin, length: end + 1 }))
}

fn origin(line: &str) -> Option<Origin> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        // Whatever follows is to be ignored.
        "UNKNOWN" => Some(Origin::Peer),
        "TCP4" => passed::<Ipv4Addr>(rest),
        "TCP6" => passed::<Ipv6Addr>(rest),
        _ => None,
    }
}

fn passed<A: FromStr + Into<IpAddr>>(text: &str) -> Option<Origin> {
    let mut words = text.split(' ');
    let mut address = || words.next()?.parse::<A>().ok().map(Into::<IpAddr>::into);
    let (source, destination) = (address()?, address()?);
    let mut port = || port(words.next()?);
    let (from, to) = (port()?, port()?);
    let is_whole = words.next().is_none();
    let (source, destination) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
    is_whole.then_some(Origin::Passed { source, destination })
}

/// Decimal, without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_plain)
}
