//! The PROXY protocol: what a load balancer in front says of a visitor before the visitor's own bytes.
//!
//! Versions 1 and 2 of HAProxy's `proxy-protocol.txt` (2020/03/05), read from a listed address only, where the
//! header must be there: a sender that is not known could claim any address. Pure: bytes in, [`Header`] out.
//! Deliberately absent: what type-length-value fields say (they are skipped, but for the checksum), and UNIX
//! addresses, which name nobody.

use std::net::SocketAddr;

pub(crate) use v2::{LOCAL, encode};

mod crc32c;
mod v1;
mod v2;

/// Longest header that is read, in bytes: two addresses and room for the fields that clouds add.
pub(crate) const MOST_BYTES: usize = 4 << 10;

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whom the connection is from.
    pub(crate) origin: Origin,
    /// Bytes of the header; the visitor's begin after them.
    pub(crate) length: usize,
}

/// Whom a connection is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Its own peer: a health check of the sender's, or a visitor whose address the sender cannot tell.
    Peer,
    /// Somebody whose connection the peer passes on.
    Passed {
        /// The visitor.
        source: SocketAddr,
        /// What the visitor connected to.
        destination: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// They begin like neither version.
    #[error("there is no PROXY header")]
    Absent,
    /// Larger than [`MOST_BYTES`], or a line of more than 107 bytes.
    #[error("the PROXY header is too long")]
    TooLong,
    /// A line that is not as version 1 has it.
    #[error("the line of a PROXY header of version 1 is malformed")]
    Line,
    /// A version, command or family that there is not.
    #[error("the PROXY header is of an unknown kind")]
    Kind,
    /// Addresses or fields that reach beyond the header's end.
    #[error("the PROXY header is shorter than what it contains")]
    Short,
    /// Its checksum is not that of its bytes.
    #[error("the checksum of the PROXY header is wrong")]
    Checksum,
}

/// Reads the header at the beginning of `bytes`; none if its end has not arrived yet, and then all of `bytes`
/// belong to it. Never reads more than [`MOST_BYTES`].
///
/// # Errors
/// [`Malformed`], as soon as the bytes tell.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(bytes),
        Some(_) => v2::parse(bytes),
    }
}

/// Whether `bytes` begin as `whole` does, as far as they go.
fn begins(bytes: &[u8], whole: &[u8]) -> bool {
    bytes.iter().zip(whole).all(|(byte, wanted)| byte == wanted)
}

#[cfg(test)]
mod tests;
