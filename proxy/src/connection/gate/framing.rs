//! Where a request's body ends (RFC 9112 §6), decided so that no other server can decide otherwise.
//!
//! The standard lets a recipient repair what is ambiguous; each repair is a chance for two servers to see two
//! different requests in the same bytes (request smuggling). So nothing is repaired here.

use super::field::{elements, is_token};
use crate::refusal::Refusal;

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; 0 for none.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What the fields of a header section say of it.
#[derive(Debug, Default)]
pub(super) struct Framers<'a> {
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
}

impl<'a> Framers<'a> {
    /// A `Content-Length` field.
    ///
    /// # Errors
    /// If it is the second.
    pub(super) fn add_length(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        match self.length.replace(value) {
            None => Ok(()),
            Some(_) => Err(Refusal::BadRequest("there is more than one Content-Length field")),
        }
    }

    /// A `Transfer-Encoding` field.
    ///
    /// # Errors
    /// If it is the second.
    pub(super) fn add_coding(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        match self.coding.replace(value) {
            None => Ok(()),
            Some(_) => Err(Refusal::BadRequest("there is more than one Transfer-Encoding field")),
        }
    }

    /// What they say together.
    ///
    /// # Errors
    /// If they contradict each other, or say nothing that we take.
    pub(super) fn settle(&self, is_http_10: bool) -> Result<Framing, Refusal> {
        match (self.length, self.coding) {
            (None, None) => Ok(Framing::Length(0)),
            (Some(_), Some(_)) => {
                Err(Refusal::BadRequest("there are both Content-Length and Transfer-Encoding"))
            }
            (Some(length), None) => parse_length(length).map(Framing::Length),
            (None, Some(_)) if is_http_10 => Err(Refusal::BadRequest("HTTP/1.0 has no Transfer-Encoding")),
            (None, Some(coding)) => check_coding(coding).map(|()| Framing::Chunked),
        }
    }
}

/// Digits only, and at most 2^63 - 1, which every server can count.
fn parse_length(value: &[u8]) -> Result<u64, Refusal> {
    let flaw = Refusal::BadRequest("Content-Length is not a number of bytes");
    if value.is_empty() || value.len() > 19 {
        return Err(flaw);
    }
    let mut length = 0_u64;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(flaw);
        }
        // 19 digits are fewer than 2^64.
        length = length * 10 + u64::from(byte - b'0');
    }
    if i64::try_from(length).is_ok() { Ok(length) } else { Err(flaw) }
}

/// `chunked` and nothing else. A well-formed list of other codings is one that we do not know (501, RFC 9112
/// §6.1); whatever plays with the word `chunked` is refused as malformed.
fn check_coding(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = elements(value).peekable();
    while let Some(coding) = codings.next() {
        let is_last = codings.peek().is_none();
        if !is_token(coding) || (is_chunked(coding) && !is_last) {
            return Err(Refusal::BadRequest("Transfer-Encoding is not `chunked`"));
        }
    }
    Err(Refusal::CodingNotSupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(length: Option<&str>, coding: Option<&str>) -> Result<Framing, u16> {
        let framers = Framers { length: length.map(str::as_bytes), coding: coding.map(str::as_bytes) };
        framers.settle(false).map_err(|refusal| refusal.status())
    }

    #[test]
    fn a_length_is_digits_that_fit_63_bits() {
        assert_eq!(settled(None, None), Ok(Framing::Length(0)));
        assert_eq!(settled(Some("0042"), None), Ok(Framing::Length(42)));
        assert_eq!(settled(Some("9223372036854775807"), None), Ok(Framing::Length(u64::MAX / 2)));
        for length in [
            "",
            "+1",
            "-1",
            "1.0",
            "0x1",
            "1 ",
            "1 1",
            "1,1",
            "1, 1",
            "1_0",
            "9223372036854775808",
            "00000000000000000001",
        ] {
            assert_eq!(settled(Some(length), None), Err(400), "{length}");
        }
    }

    #[test]
    fn chunked_is_the_only_coding_and_stands_alone() {
        assert_eq!(settled(None, Some("chunked")), Ok(Framing::Chunked));
        assert_eq!(settled(None, Some("CHUNKED")), Ok(Framing::Chunked));
        for coding in ["gzip", "gzip, chunked", "identity", "xchunked", "chunked1"] {
            assert_eq!(settled(None, Some(coding)), Err(501), "{coding}");
        }
        for coding in [
            "",
            "chunked,",
            ",chunked",
            "chunked, chunked",
            "chunked, gzip",
            "\"chunked\"",
            "chunked;q=1",
            "x y",
        ] {
            assert_eq!(settled(None, Some(coding)), Err(400), "{coding}");
        }
        assert_eq!(settled(Some("3"), Some("chunked")), Err(400));
        let framers = Framers { length: None, coding: Some(b"chunked") };
        assert!(framers.settle(true).is_err());
    }
}
