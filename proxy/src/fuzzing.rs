//! Doors for fuzzers to what reads strangers' bytes. Each panics only if a promise of its parser is broken.
//! No part of the crate's interface.

#![expect(clippy::panic, reason = "a broken promise is what a fuzzer looks for")]

use std::ops::Range;

use crate::client_hello::{self, ClientHello};
use crate::connection::gate::chunked::Chunks;
use crate::connection::gate::head;
use crate::connection::gate::scan::Scan;
use crate::connection::guard;
use crate::direct;
use crate::proxy_protocol::{self, MOST_BYTES, Origin};
use crate::refusal::Refusal;

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

/// A ClientHello in its records: its fingerprint has its form, and does not hang on how the message was cut.
pub fn client_hello(bytes: &[u8]) {
    let Ok(Some(message)) = client_hello::message(bytes) else { return };
    let Ok(hello) = ClientHello::parse(&message) else { return };
    let ja4 = hello.ja4();
    if ja4.as_str().len() != 36 || !ja4.as_str().is_ascii() {
        panic!("{ja4:?} is no fingerprint");
    }
    let Ok(length) = u32::try_from(message.len()) else { return };
    let [_, head @ ..] = length.to_be_bytes();
    let whole: Vec<u8> = [1].into_iter().chain(head).chain(message.iter().copied()).collect();
    let records = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap_or(0).to_be_bytes();
        [&[22, 3, 3], length.as_slice(), piece].concat()
    };
    let again: Vec<u8> = whole.chunks(7).flat_map(records).collect();
    if client_hello::fingerprint(&again) != Some(ja4) {
        panic!("cut into other records, {ja4:?} is {:?}", client_hello::fingerprint(&again));
    }
}

/// A header section of HTTP/1: the same is found however the bytes are cut, it ends in an empty line, and what
/// is refused is never refused with a success.
pub fn request_head(bytes: &[u8]) {
    let whole = verdict(&mut Scan::default(), bytes);
    let mut scan = Scan::default();
    let mut cut = (0..bytes.len()).map(|end| verdict(&mut scan, bytes.get(..end).unwrap_or_default()));
    let first = cut.find(|verdict| !matches!(verdict, Ok(None)));
    let parts = first.unwrap_or_else(|| verdict(&mut scan, bytes));
    assert_eq!(whole, parts, "the cuts decide");
    match whole {
        Ok(Some(section)) => {
            let text = bytes.get(section).unwrap_or_default();
            assert!(text.ends_with(b"\r\n\r\n"), "a section without an end");
            assert!(!text.contains(&0), "a section with a NUL");
        }
        Ok(None) => {}
        Err(refusal) => assert!(refusal.status() >= 400 && refusal.ends_connection(), "{refusal}"),
    }
}

fn verdict(scan: &mut Scan, bytes: &[u8]) -> Result<Option<Range<usize>>, Refusal> {
    let Some(section) = scan.find(bytes)? else { return Ok(None) };
    head::check(bytes.get(section.clone()).unwrap_or_default(), None)?;
    Ok(Some(section))
}

/// A chunked body: it ends at the same byte however it is cut, and never behind the last one.
pub fn chunked_body(bytes: &[u8]) {
    let whole = Chunks::new().follow(bytes);
    let mut chunks = Chunks::new();
    let mut parts = Ok(None);
    for (place, byte) in bytes.iter().enumerate() {
        match chunks.follow(std::slice::from_ref(byte)) {
            Ok(None) => {}
            Ok(Some(taken)) => {
                parts = Ok(Some(place + taken));
                break;
            }
            Err(flaw) => {
                parts = Err(flaw);
                break;
            }
        }
    }
    assert_eq!(whole, parts, "the cuts decide");
    if let Ok(Some(end)) = whole {
        assert!(bytes.get(..end).is_some_and(|body| body.ends_with(b"\r\n")), "an end that is none");
    }
}

/// A backend's answer on the direct way: the same is read however it comes. The first byte says in which pieces.
pub fn backend_answer(bytes: &[u8]) {
    let Some((step, answer)) = bytes.split_first() else { return };
    // Longer lines are refused before their end when they come in pieces, and not when they come whole.
    let answer = answer.get(..answer.len().min(1 << 10)).unwrap_or_default();
    let (whole, pieces) = (direct::judge(answer, answer.len()), direct::judge(answer, usize::from(*step)));
    assert_eq!(whole, pieces, "the cuts decide");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(known: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => prop::sample::select(known).prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_header_section_is_read_the_same_in_any_pieces(bytes in pieces(&[
            "GET ", "POST ", "/", "*", " HTTP/1.1\r\n", " HTTP/1.0\r\n", "Host: a.test\r\n", "\r\n", "\r", "\n", " ",
            "\t", "\0", ":", "Content-Length: ", "Transfer-Encoding: ", "chunked", "7", "Connection: ", "close",
            "Expect: 100-continue\r\n", "X: y\r\n",
        ])) {
            request_head(&bytes);
        }

        #[test]
        fn any_answer_of_a_backend_is_read_the_same_in_any_pieces(step in 1_u8..40, bytes in pieces(&[
            "HTTP/1.1 200 OK\r\n", "HTTP/1.0 304 \r\n", "\r\n", "\r\n\r\n", "\n", " ", "\t", ":", "\0",
            "Content-Length: ", "Transfer-Encoding: chunked\r\n", "7", "7\r\n", "a: b\r\n", "hello", "5\r\nhello\r\n",
            "0\r\n\r\n", ";a=b",
        ])) {
            backend_answer(&[&[step], bytes.as_slice()].concat());
        }

        #[test]
        fn any_chunked_body_ends_at_the_same_byte_in_any_pieces(bytes in pieces(&[
            "0", "1", "5", "a", "\r\n", "hello", "x", ";", "=", "\"", "\\", "0\r\n\r\n", "5\r\nhello\r\n", "x: y\r\n",
            "\r", "\n", " ", "\0", "ffffffffffffffff",
        ])) {
            chunked_body(&bytes);
        }
    }
}
