//! Where a header section ends. Looks at each byte once, however the bytes come in pieces, and gives up at the
//! first that cannot stand there, so that nobody can make the edge wait for the rest of what is no HTTP.

use super::field::is_token_byte;
use crate::head::{MOST_HEADER_BYTES, MOST_TARGET_BYTES};
use crate::refusal::Refusal;

/// Longest request line: the target, and room for the longest method, the version and the spaces.
const MOST_LINE_BYTES: usize = MOST_TARGET_BYTES + 64;

/// How far a header section has been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Bytes that need not be looked at again.
    seen: usize,
    /// Where the request line begins: behind one empty line at most (RFC 9112 §2.2).
    start: usize,
    /// Where the line at hand begins.
    line: usize,
    /// Where the fields begin; none before the request line's end.
    fields: Option<usize>,
}

impl Scan {
    /// Where the header section lies in `bytes`, which are those of the call before and more; none if it has
    /// not ended yet.
    ///
    /// # Errors
    /// Why it never will.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<std::ops::Range<usize>>, Refusal> {
        loop {
            let rest = bytes.get(self.seen..).unwrap_or_default();
            let found = memchr::memchr2(b'\r', b'\n', rest).map(|place| self.seen + place);
            self.check_first(bytes)?;
            self.check_size(found.unwrap_or(bytes.len()))?;
            let Some(place) = found else {
                self.seen = bytes.len();
                return Ok(None);
            };
            match (bytes.get(place), bytes.get(place + 1)) {
                (Some(b'\r'), Some(b'\n')) => {}
                (Some(b'\r'), None) => {
                    self.seen = place;
                    return Ok(None);
                }
                (Some(b'\r'), _) => return Err(Refusal::BadRequest("a line has a CR that does not end it")),
                _ => return Err(Refusal::BadRequest("a line ends in LF without CR")),
            }
            if self.end_line(place)? {
                return Ok(Some(self.start..self.seen));
            }
        }
    }

    /// A line ends at `place`. True if it was the last.
    fn end_line(&mut self, place: usize) -> Result<bool, Refusal> {
        let is_empty = place == self.line;
        self.seen = place + 2;
        self.line = self.seen;
        match self.fields {
            Some(_) => return Ok(is_empty),
            None if !is_empty => self.fields = Some(self.line),
            None if self.start == 0 => self.start = self.line,
            None => return Err(Refusal::BadRequest("the request begins with empty lines")),
        }
        Ok(false)
    }

    /// A TLS record or a line of another protocol is seen by its first byte.
    fn check_first(&self, bytes: &[u8]) -> Result<(), Refusal> {
        match bytes.get(self.start) {
            Some(byte)
                if self.fields.is_none() && !is_token_byte(*byte) && !matches!(byte, b'\r' | b'\n') =>
            {
                Err(Refusal::BadRequest("the request does not begin with a method"))
            }
            _ => Ok(()),
        }
    }

    /// The line at hand reaches at least to `end`.
    fn check_size(&self, end: usize) -> Result<(), Refusal> {
        match self.fields {
            None if end - self.start > MOST_LINE_BYTES => Err(Refusal::UriTooLong),
            Some(fields) if end - fields > MOST_HEADER_BYTES => Err(Refusal::HeaderTooLarge),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<std::ops::Range<usize>>, Refusal> {
        Scan::default().find(bytes)
    }

    #[test]
    fn a_section_ends_at_its_first_empty_line() {
        assert_eq!(whole(b"GET / HTTP/1.1\r\na: b\r\n\r\nrest\r\n\r\n"), Ok(Some(0..24)));
        assert_eq!(whole(b"\r\nGET /\r\n\r\n"), Ok(Some(2..11)));
        for bytes in [&b""[..], b"\r", b"\r\n", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\na: b\r\n\r"]
        {
            assert_eq!(whole(bytes), Ok(None), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_line_is_seen_before_the_section_ends() {
        for bytes in [
            &b"\r\n\r\n"[..],
            b"\n",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\na: b\n",
            b"GET / HTTP/1.1\rx",
            b" GET",
            b"\x16\x03\x01",
            b"\r\n\0",
        ] {
            assert!(matches!(whole(bytes), Err(Refusal::BadRequest(_))), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn sizes_are_bounded_whether_or_not_the_line_ends() {
        let line = vec![b'a'; MOST_LINE_BYTES + 1];
        assert_eq!(whole(&line), Err(Refusal::UriTooLong));
        assert_eq!(whole(&[&line[..], b"\r\n"].concat()), Err(Refusal::UriTooLong));
        let fields = [b"G\r\n", &vec![b'a'; MOST_HEADER_BYTES + 1][..]].concat();
        assert_eq!(whole(&fields), Err(Refusal::HeaderTooLarge));
        assert_eq!(whole(&fields[..fields.len() - 1]), Ok(None));
    }
}
