//! Where the body of a backend's answer ends (RFC 9112 §6.3), and its pieces without their framing.

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use pingora_http::ResponseHeader;

/// Bytes of a chunk's size with its extensions.
const MOST_SIZE_BYTES: usize = 1 << 10;
/// Bytes of a trailer section, which is left out.
const MOST_TRAILER_BYTES: usize = 8 << 10;

/// What is still to come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunks(Chunk),
    /// Whatever comes until the connection ends.
    UntilEnd,
}

/// Where in a chunk the next byte is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// At the line with the size.
    Size,
    /// In the data, of which so many bytes are left.
    Data(u64),
    /// Behind the data.
    DataEnd,
    /// In the trailer section, of which so many bytes have come.
    Trailer(usize),
}

impl Rest {
    /// The body behind `head`, which answers a HEAD or something else.
    ///
    /// # Errors
    /// If the head contradicts itself.
    pub(super) fn of(head: &ResponseHeader, is_head: bool) -> Result<Self, &'static str> {
        let length = length(&head.headers)?;
        let has_none = is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match length {
            _ if has_none => Self::Nothing,
            // That it is nothing else but chunked is checked with the rest of the head.
            _ if head.headers.contains_key(TRANSFER_ENCODING) => Self::Chunks(Chunk::Size),
            Some(0) => Self::Nothing,
            Some(bytes) => Self::Length(bytes),
            None => Self::UntilEnd,
        })
    }

    /// Whether all of it has come.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The connection has ended; false if something is missing.
    pub(super) fn end(&mut self) -> bool {
        let is_end = matches!(self, Self::UntilEnd);
        if is_end {
            *self = Self::Nothing;
        }
        is_end
    }

    /// Takes what is there of the body out of what was `read`, without framing.
    ///
    /// # Errors
    /// If the framing is broken.
    pub(super) fn gather(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, &'static str> {
        let Some(first) = self.take(read)? else { return Ok(None) };
        let Some(second) = self.take(read)? else { return Ok(Some(first.freeze())) };
        let mut all = first;
        all.extend_from_slice(&second);
        while let Some(more) = self.take(read)? {
            all.extend_from_slice(&more);
        }
        Ok(Some(all.freeze()))
    }

    /// The next piece; none if more must be read for one, or there is none.
    fn take(&mut self, read: &mut BytesMut) -> Result<Option<BytesMut>, &'static str> {
        match self {
            Self::Nothing => Ok(None),
            Self::UntilEnd => Ok((!read.is_empty()).then(|| read.split())),
            Self::Length(left) => {
                let piece = split(read, left);
                if *left == 0 {
                    *self = Self::Nothing;
                }
                Ok(piece)
            }
            Self::Chunks(_) => self.take_chunk(read),
        }
    }

    fn take_chunk(&mut self, read: &mut BytesMut) -> Result<Option<BytesMut>, &'static str> {
        while let Self::Chunks(chunk) = self {
            let next = match chunk {
                Chunk::Size => {
                    size(read)?.map(|size| if size == 0 { Chunk::Trailer(0) } else { Chunk::Data(size) })
                }
                Chunk::Data(left) => {
                    let piece = split(read, left);
                    if *left == 0 {
                        *chunk = Chunk::DataEnd;
                    }
                    return Ok(piece);
                }
                Chunk::DataEnd => data_end(read)?.then_some(Chunk::Size),
                Chunk::Trailer(bytes) => match trailer(read, bytes)? {
                    true => {
                        *self = Self::Nothing;
                        return Ok(None);
                    }
                    false => None,
                },
            };
            match next {
                Some(next) => *chunk = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Takes at most `left` bytes, and counts them.
fn split(read: &mut BytesMut, left: &mut u64) -> Option<BytesMut> {
    let count = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
    *left -= u64::try_from(count).unwrap_or(*left);
    (count > 0).then(|| read.split_to(count))
}

fn size(read: &mut BytesMut) -> Result<Option<u64>, &'static str> {
    match httparse::parse_chunk_size(read) {
        Ok(httparse::Status::Complete((bytes, size))) => {
            read.advance(bytes);
            Ok(Some(size))
        }
        Ok(httparse::Status::Partial) if read.len() <= MOST_SIZE_BYTES => Ok(None),
        Ok(httparse::Status::Partial) => Err("the size of a chunk does not end"),
        Err(_) => Err("the size of a chunk is no number"),
    }
}

fn data_end(read: &mut BytesMut) -> Result<bool, &'static str> {
    match read.get(..read.len().min(2)) {
        Some(b"\r\n") => {
            read.advance(2);
            Ok(true)
        }
        Some(b"" | b"\r") => Ok(false),
        _ => Err("a chunk is longer than its size"),
    }
}

/// Skips trailer lines; true behind the last.
fn trailer(read: &mut BytesMut, bytes: &mut usize) -> Result<bool, &'static str> {
    while let Some(end) = memchr::memchr(b'\n', read) {
        let line = read.split_to(end + 1);
        *bytes += line.len();
        if *bytes > MOST_TRAILER_BYTES {
            return Err("the trailer section is too large");
        }
        match line.strip_suffix(b"\r\n") {
            Some(b"") => return Ok(true),
            Some(_) => {}
            None => return Err("a trailer line ends in LF without CR"),
        }
    }
    if *bytes + read.len() > MOST_TRAILER_BYTES { Err("the trailer section is too large") } else { Ok(false) }
}

/// The one length that `Content-Length` names, repeated or not (RFC 9110 §8.6).
fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    const FLAW: &str = "Content-Length is not a number of bytes";
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for text in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let digits =
                std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let length: u64 = digits.and_then(|digits| digits.parse().ok()).ok_or(FLAW)?;
            if found.replace(length).is_some_and(|before| before != length) {
                return Err("there are two lengths");
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseHeader {
        let mut head = ResponseHeader::build(status, None).unwrap();
        fields.iter().for_each(|(name, value)| _ = head.append_header(*name, *value).unwrap());
        head
    }

    #[test]
    fn the_head_tells_where_the_body_ends() {
        let of = |status, fields: &[_]| Rest::of(&head(status, fields), false);
        assert_eq!(of(200, &[]), Ok(Rest::UntilEnd));
        assert_eq!(of(200, &[("content-length", "7")]), Ok(Rest::Length(7)));
        assert_eq!(of(200, &[("content-length", "7, 7"), ("content-length", "7")]), Ok(Rest::Length(7)));
        assert_eq!(of(200, &[("content-length", "0")]), Ok(Rest::Nothing));
        assert_eq!(of(204, &[("content-length", "7")]), Ok(Rest::Nothing));
        assert_eq!(of(304, &[("transfer-encoding", "chunked")]), Ok(Rest::Nothing));
        assert_eq!(of(200, &[("transfer-encoding", "chunked")]), Ok(Rest::Chunks(Chunk::Size)));
        assert_eq!(Rest::of(&head(200, &[("content-length", "7")]), true), Ok(Rest::Nothing));
        for length in ["", "+7", "7,8", "7,", "0x7", "18446744073709551616"] {
            assert!(of(200, &[("content-length", length)]).is_err(), "{length}");
        }
    }

    /// What comes out of `bytes` in pieces of at most `step`, how many bytes are left over, and whether it ended.
    fn through(bytes: &[u8], step: usize, mut rest: Rest) -> Result<(Vec<u8>, usize, bool), &'static str> {
        let (mut read, mut out) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(step) {
            read.extend_from_slice(piece);
            out.extend(rest.gather(&mut read)?.unwrap_or_default());
        }
        Ok((out, read.len(), rest.is_over()))
    }

    #[test]
    fn broken_chunks_are_seen() {
        for bytes in [
            &b"x\r\n"[..],
            b"3\r\nabcd",
            b"3\r\nabc\n",
            b"ffffffffffffffffff\r\n",
            b"0\r\na: b\n\r\n",
            b"-1\r\n",
        ] {
            assert!(through(bytes, 1, Rest::Chunks(Chunk::Size)).is_err(), "{}", bytes.escape_ascii());
        }
        let endless = [&b"0\r\n"[..], &b"a: b\r\n".repeat(2_000)].concat();
        assert!(through(&endless, 512, Rest::Chunks(Chunk::Size)).is_err());
        let endless = [&b"3;"[..], &[b'a'; 2_000]].concat();
        assert!(through(&endless, 512, Rest::Chunks(Chunk::Size)).is_err());
    }

    proptest! {
        #[test]
        fn chunks_come_out_whole_however_the_bytes_come(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            extension in prop::sample::select(vec!["", ";a", ";a=b"]),
            trailer in prop::sample::select(vec!["", "a: b\r\n"]),
            step in 1_usize..64,
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).into_bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(format!("0\r\n{trailer}\r\n").into_bytes());
            let (out, left, is_over) = through(&bytes, step, Rest::Chunks(Chunk::Size)).unwrap();
            prop_assert_eq!((out, left, is_over), (chunks.concat(), 0, true));
        }

        #[test]
        fn a_length_takes_so_many_bytes_and_no_more(length in 1_usize..100, more in 0_usize..50, step in 1_usize..64) {
            let bytes = vec![b'x'; length + more];
            let (out, left, is_over) = through(&bytes, step, Rest::Length(length as u64)).unwrap();
            prop_assert_eq!((out.len(), left, is_over), (length, more, true));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..64) {
            let _either = through(&bytes, step, Rest::Chunks(Chunk::Size));
        }
    }
}
