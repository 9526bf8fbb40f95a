//! Doors for fuzzers to what reads strangers' bytes. Each panics only if a promise of its parser is broken.
//! No part of the crate's interface.

#![expect(clippy::panic, reason = "a broken promise is what a fuzzer looks for")]

use crate::connection::guard;
use crate::proxy_protocol::{self, MOST_BYTES, Origin};

/// A PROXY header: its length lies within the bytes, more bytes behind it change nothing, and what it says
/// survives being written and read again.
pub fn proxy_header(bytes: &[u8]) {
    let Ok(Some(header)) = proxy_protocol::parse(bytes) else { return };
    let own = bytes.get(..header.length);
    let is_alike = own.is_some_and(|own| proxy_protocol::parse(own) == Ok(Some(header)));
    if !is_alike || header.length > MOST_BYTES {
        panic!("the header's end is not where it was said to be: {header:?}");
    }
    if let Origin::Passed { source, destination } = header.origin {
        let again = proxy_protocol::parse(&proxy_protocol::encode(source, destination));
        let Ok(Some(proxy_protocol::Header { origin: Origin::Passed { source: read, .. }, .. })) = again
        else {
            panic!("an encoded header is not read: {again:?}");
        };
        if (read.ip().to_canonical(), read.port()) != (source.ip().to_canonical(), source.port()) {
            panic!("{source} was read back as {read}");
        }
    }
    if proxy_protocol::parse(&proxy_protocol::LOCAL).is_err() {
        panic!("LOCAL is not read");
    }
}

/// The frames of HTTP/2, both ways: that a flood is one does not depend on the pieces in which it comes. The
/// first byte says how large they are.
pub fn http2_frames(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else { return };
    let (whole, pieces) = (guard::judge(rest, rest.len()), guard::judge(rest, usize::from(*size)));
    if whole != pieces {
        panic!("in one piece it is {whole:?}, in pieces {pieces:?}");
    }
}
