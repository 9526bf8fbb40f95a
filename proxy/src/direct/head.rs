//! The head of a backend's answer (RFC 9112 §4, §5).
//!
//! Read as leniently as pingora 0.9.1 reads it, so that an app is served alike on both ways: white space before a
//! colon, values over several lines, lines that end in LF alone. What such a head may say is
//! [`crate::headers::check_response`]'s affair.

use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Version};
use pingora_core::{Error, ErrorType, OrErr as _, Result};
use pingora_http::{ResponseHeader, header_value_from_raw};

use super::body::Rest;
use crate::backends::head_end;

/// Most fields of a head.
const MOST_FIELDS: usize = 256;
/// Longest head that is waited for. What is passed on may be shorter yet.
const MOST_BYTES: usize = 128 << 10;
/// How long an unused connection is kept: long enough to be used again by a page's next requests.
const LONGEST_STAY: Duration = Duration::from_secs(30);
/// How much earlier than the backend we end it: a request that is under way when it ends is lost.
const MARGIN: Duration = Duration::from_secs(1);
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Takes the head out of what was `read`; none if it has not come whole.
///
/// # Errors
/// If it is no head, or never ends.
pub(super) fn parse(read: &mut BytesMut) -> Result<Option<Box<ResponseHeader>>> {
    let lead = read.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    read.advance(lead);
    let Some(end) = head_end(read) else {
        if read.len() > MOST_BYTES {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "the head does not end").into_up());
        }
        // What can be seen to be no head is not waited for.
        return build(&Bytes::copy_from_slice(read)).map(|_| None);
    };
    let section = read.split_to(end).freeze();
    let head = build(&section)?;
    let head =
        head.ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "it is not whole").into_up())?;
    Ok(Some(Box::new(head)))
}

fn build(section: &Bytes) -> Result<Option<ResponseHeader>> {
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = config.parse_response_with_uninit_headers(&mut parsed, section, &mut fields);
    let status = status.or_err(ErrorType::InvalidHTTPHeader, "the answer is not HTTP/1");
    let (false, Some(code)) = (status.map_err(Error::into_up)?.is_partial(), parsed.code) else {
        return Ok(None);
    };
    fill(&parsed, code, section).map(Some).map_err(Error::into_up)
}

fn fill(parsed: &httparse::Response<'_, '_>, code: u16, section: &Bytes) -> Result<ResponseHeader> {
    // What the edge adds finds room too. How names are written is not kept: it says nothing (RFC 9110 §5.1).
    let mut head = ResponseHeader::build_no_case(code, Some(parsed.headers.len() + 8))?;
    head.set_version(if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 });
    head.set_reason_phrase(parsed.reason)?;
    for field in parsed.headers.iter().filter(|field| !field.name.is_empty()) {
        let value = header_value_from_raw(section.slice_ref(field.value));
        head.append_header(section.slice_ref(field.name.as_bytes()), value)?;
    }
    // RFC 9112 §6.3: the coding wins.
    if head.headers.contains_key(TRANSFER_ENCODING) && head.headers.contains_key(CONTENT_LENGTH) {
        head.remove_header(&CONTENT_LENGTH);
    }
    Ok(head)
}

/// For how long a connection can be used again once its answer has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stay(Duration);

impl Stay {
    /// What the answer's head says of it (RFC 9112 §9.3); none: it ends with this answer.
    pub(super) fn of(head: &ResponseHeader, rest: &Rest) -> Option<Self> {
        let is_framed = !matches!(rest, Rest::UntilEnd);
        let is_http11 = head.version == Version::HTTP_11;
        let is_odd = !is_http11 && head.headers.contains_key(TRANSFER_ENCODING);
        let is_kept = (is_http11 || says(&head.headers, b"keep-alive")) && !says(&head.headers, b"close");
        let stay = Self(offered(&head.headers).unwrap_or(LONGEST_STAY).min(LONGEST_STAY));
        (is_framed && is_kept && !is_odd && !stay.0.is_zero()).then_some(stay)
    }

    /// How long.
    pub(super) const fn time(self) -> Duration {
        self.0
    }
}

fn says(headers: &HeaderMap, option: &[u8]) -> bool {
    let options = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options.map(<[u8]>::trim_ascii).any(|one| one.eq_ignore_ascii_case(option))
}

/// `Keep-Alive: timeout=5`, as some servers say it, less what a request may be under way.
fn offered(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let mut parameters = text.split(',').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("timeout"))?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?).saturating_sub(MARGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Option<Box<ResponseHeader>>> {
        parse(&mut BytesMut::from(bytes))
    }

    #[test]
    fn a_head_is_taken_out_and_what_follows_stays() {
        let mut read = BytesMut::from(&b"\r\nHTTP/1.1 404 Gone fishing\r\nX-A: b\r\nx-a:c\r\n\r\nbody"[..]);
        let head = parse(&mut read).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), head.get_reason_phrase()), (404, Some("Gone fishing")));
        let values: Vec<_> = head.headers.get_all("x-a").iter().map(|value| value.as_bytes()).collect();
        assert_eq!(values, [b"b", b"c"]);
        assert_eq!(&read[..], b"body");
    }

    #[test]
    fn what_can_still_become_a_head_is_waited_for() {
        for bytes in [&b""[..], b"HT", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nA: b\r\n"] {
            assert!(parsed(bytes).unwrap().is_none(), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"SSH-2.0-x\r\n"[..], b"HTTP/2 200\r\n\r\n", b"<html>", b"HTTP/1.1 2x0 OK\r\n\r\n"] {
            assert!(parsed(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(parsed(&[b"HTTP/1.1 200 OK\r\nA: ", &[b'b'; MOST_BYTES][..]].concat()).is_err());
    }

    #[test]
    fn a_connection_stays_as_long_as_both_sides_want() {
        let stay = |bytes: &[u8]| {
            let head = parsed(bytes).unwrap().unwrap();
            Stay::of(&head, &Rest::of(&head, false).unwrap()).map(|stay| stay.time().as_secs())
        };
        for (fields, wanted) in [
            ("1 200 OK\r\nContent-Length: 3\r\n", Some(30)),
            ("1 200 OK\r\nContent-Length: 3\r\nConnection: x, Close\r\n", None),
            ("1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: max=9, timeout=5\r\n", Some(4)),
            ("1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: timeout=900\r\n", Some(30)),
            ("1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: timeout=1\r\n", None),
            ("1 200 OK\r\n", None),
            ("1 204 No\r\n", Some(30)),
            ("0 200 OK\r\nContent-Length: 3\r\n", None),
            ("0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n", Some(30)),
            ("0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", None),
        ] {
            assert_eq!(stay(format!("HTTP/1.{fields}\r\n").as_bytes()), wanted, "{fields}");
        }
    }
}
