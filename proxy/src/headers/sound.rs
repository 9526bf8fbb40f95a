//! Whether the head of a backend's response can be passed on.
//!
//! pingora 0.9.1 refuses what is no HTTP, and makes one line of a value over several (obs-fold, RFC 9112 §5.2).
//! But it takes a megabyte of fields, an upgrade that nobody asked for, and transfer codings that it does not
//! undo. None of that is repaired: a guess about it is how one answer becomes two.

use http::header::{TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, StatusCode};
use pingora_http::ResponseHeader;

/// Largest header section in bytes, names and values: twice what a request may have, for policies and cookies.
const MOST_BYTES: usize = 64 << 10;
/// What a field costs beside its name and value (`: ` and the line's end).
const FIELD_BYTES: usize = 4;

/// What a request asked for that its response may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// An answer.
    Answer,
    /// A WebSocket.
    WebSocket,
}

/// Checks a head as the backend wrote it, final or informational.
///
/// # Errors
/// What is wrong with it, in our words.
pub(crate) fn check_response(response: &ResponseHeader, asked: Asked) -> Result<(), &'static str> {
    let mut size = 0;
    for (name, value) in &response.headers {
        size += name.as_str().len() + value.len() + FIELD_BYTES;
    }
    if size > MOST_BYTES {
        return Err("the header section is larger than 64 KiB");
    }
    let mut codings = response.headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|coding| !is_chunked(coding)) || codings.next().is_some() {
        return Err("the transfer coding is not chunked");
    }
    let is_websocket = |protocol: &HeaderValue| protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
    let upgrades = asked == Asked::WebSocket && response.headers.get(UPGRADE).is_some_and(is_websocket);
    if response.status == StatusCode::SWITCHING_PROTOCOLS && !upgrades {
        return Err("it switches to a protocol that was not asked for");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(status: u16, fields: &[(&'static str, &[u8])], asked: Asked) -> Result<(), &'static str> {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            response
                .append_header(
                    *name,
                    pingora_http::header_value_from_raw(bytes::Bytes::copy_from_slice(value)),
                )
                .unwrap();
        }
        check_response(&response, asked)
    }

    #[test]
    fn odd_but_harmless_heads_pass() {
        for fields in [
            &[("x", &b"a\tb \xff"[..])][..],
            &[("transfer-encoding", b"Chunked")],
            &[("set-cookie", b"a=b; ;; =; \"")],
        ] {
            assert_eq!(checked(999, fields, Asked::Answer), Ok(()), "{fields:?}");
        }
    }

    #[test]
    fn the_size_is_bounded_to_the_byte() {
        let value = vec![b'v'; MOST_BYTES - FIELD_BYTES - 1];
        assert!(checked(200, &[("x", &value)], Asked::Answer).is_ok());
        assert!(checked(200, &[("xy", &value)], Asked::Answer).is_err());
    }

    #[test]
    fn a_coding_that_the_edge_does_not_undo_is_refused() {
        for fields in [
            &[("transfer-encoding", &b"gzip"[..])][..],
            &[("transfer-encoding", b"gzip, chunked")],
            &[("transfer-encoding", b"chunked, chunked")],
            &[("transfer-encoding", b"chunked"), ("transfer-encoding", b"chunked")],
            &[("transfer-encoding", b"")],
        ] {
            assert!(checked(200, fields, Asked::Answer).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn only_a_web_socket_that_was_asked_for_is_opened() {
        let socket = &[("upgrade", &b"WebSocket"[..])][..];
        assert!(checked(101, socket, Asked::WebSocket).is_ok());
        assert!(checked(101, socket, Asked::Answer).is_err());
        assert!(checked(101, &[], Asked::WebSocket).is_err());
        assert!(checked(101, &[("upgrade", b"h2c")], Asked::WebSocket).is_err());
    }
}
