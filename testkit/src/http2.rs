//! An HTTP/2 client that does what it is told, right or wrong: raw frames in, raw frames out (RFC 9113).
//!
//! Header blocks are written as literals without indexing and without Huffman codes (RFC 7541 §6.2.2). Of a
//! response only the status is read; the client's SETTINGS forbid a dynamic table, so that it is enough to
//! look at the block's first field.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::edge::Edge;

/// What a client sends first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 §6).
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0;
    /// HEADERS.
    pub const HEADERS: u8 = 1;
    /// PRIORITY.
    pub const PRIORITY: u8 = 2;
    /// RST_STREAM.
    pub const RST_STREAM: u8 = 3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 4;
    /// PUSH_PROMISE.
    pub const PUSH_PROMISE: u8 = 5;
    /// PING.
    pub const PING: u8 = 6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 7;
    /// WINDOW_UPDATE.
    pub const WINDOW_UPDATE: u8 = 8;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    /// END_STREAM of DATA and HEADERS.
    pub const END_STREAM: u8 = 1;
    /// ACK of SETTINGS and PING.
    pub const ACK: u8 = 1;
    /// END_HEADERS of HEADERS and CONTINUATION.
    pub const END_HEADERS: u8 = 4;
    /// PADDED of DATA and HEADERS.
    pub const PADDED: u8 = 8;
    /// PRIORITY of HEADERS.
    pub const PRIORITY: u8 = 0x20;
    /// A whole request in one frame.
    pub const WHOLE: u8 = END_STREAM | END_HEADERS;
}

/// Longest wait for a frame; it only ends failing tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// What it holds.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The status in a header block.
    ///
    /// # Errors
    /// If this is not the beginning of a response.
    pub fn status(&self) -> Result<u16> {
        ensure!(self.kind == kind::HEADERS, "no HEADERS: {self:?}");
        status(&self.payload).with_context(|| format!("no status in {:02x?}", self.payload))
    }

    /// The error code of RST_STREAM or GOAWAY.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let start = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        self.payload.get(start..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The debug data of GOAWAY.
    #[must_use]
    pub fn debug(&self) -> String {
        String::from_utf8_lossy(self.payload.get(8..).unwrap_or_default()).into_owned()
    }

    /// Whether it is the last one of its stream.
    #[must_use]
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & flag::END_STREAM != 0
    }
}

/// The status in the first field of a block.
fn status(block: &[u8]) -> Option<u16> {
    // Dynamic table size updates may come first.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    let (first, rest) = block.get(start..)?.split_first()?;
    if first & 0x80 != 0 {
        let known = [200, 204, 206, 304, 400, 404, 500];
        return known.get(usize::from(first & 0x7f).checked_sub(8)?).copied();
    }
    let (length, value) = rest.split_first()?;
    let value = value.get(..usize::from(length & 0x7f))?;
    let text = if length & 0x80 == 0 { String::from_utf8(value.to_vec()).ok()? } else { digits(value) };
    text.parse().ok()
}

/// Three digits in Huffman codes (RFC 7541 appendix B): five bits for 0 to 2, six for the others.
fn digits(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0_u8, |number, bit| number << 1 | bit);
    let (mut text, mut rest) = (String::new(), &bits[..]);
    while text.len() < 3 && rest.len() >= 5 {
        let (five, six) = (rest.get(..5).map_or(0, number), rest.get(..6).map_or(0, number));
        let (digit, length) = if five < 3 { (five, 5) } else { (six.wrapping_sub(0x16), 6) };
        text.push(char::from(b'0'.wrapping_add(digit)));
        rest = rest.get(length..).unwrap_or_default();
    }
    text
}

/// The bytes of a frame. Its length is that of the payload, its stream without the reserved bit.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    framed(payload.len(), kind, flags, stream, payload)
}

/// The same with another length than the payload has.
#[must_use]
pub fn framed(length: usize, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field as a literal without indexing. Takes texts of any length.
#[must_use]
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        let length = text.len();
        match length.checked_sub(127) {
            None => bytes.push(u8::try_from(length).unwrap_or(0)),
            Some(mut more) => {
                bytes.push(127);
                while more > 127 {
                    bytes.push(u8::try_from(more % 128).unwrap_or(0) | 0x80);
                    more /= 128;
                }
                bytes.push(u8::try_from(more).unwrap_or(0));
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// A header block of these fields.
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// The header block of a request, with these fields after those that each has.
#[must_use]
pub fn request(method: &str, host: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let start = [(":method", method), (":scheme", "https"), (":authority", host), (":path", path)];
    block(&[&start[..], more].concat())
}

/// A whole GET.
#[must_use]
pub fn get(stream: u32, host: &str, path: &str) -> Vec<u8> {
    frame(kind::HEADERS, flag::WHOLE, stream, &request("GET", host, path, &[]))
}

/// A POST whose body is to come.
#[must_use]
pub fn post(stream: u32, host: &str, path: &str) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS, stream, &request("POST", host, path, &[]))
}

/// DATA; the last of its stream or not.
#[must_use]
pub fn data(stream: u32, bytes: &[u8], is_last: bool) -> Vec<u8> {
    frame(kind::DATA, if is_last { flag::END_STREAM } else { 0 }, stream, bytes)
}

/// RST_STREAM.
#[must_use]
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// WINDOW_UPDATE.
#[must_use]
pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

/// SETTINGS of these ids and values.
#[must_use]
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let bytes = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(kind::SETTINGS, 0, 0, &values.iter().flat_map(bytes).collect::<Vec<_>>())
}

/// PING.
#[must_use]
pub fn ping(text: [u8; 8]) -> Vec<u8> {
    frame(kind::PING, 0, 0, &text)
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

impl Client {
    /// A connection for `host`, on which nothing has been sent.
    ///
    /// # Errors
    /// If the handshake fails or does not settle on HTTP/2.
    pub async fn silent(edge: &Edge, host: &str) -> Result<Self> {
        Self::at(edge, edge.https, host).await
    }

    async fn at(edge: &Edge, address: SocketAddr, host: &str) -> Result<Self> {
        let stream = edge.tls()?.offering(&["h2"]).connect(address, host).await?;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 was not settled on");
        Ok(Self { stream, received: Vec::new() })
    }

    /// A connection for `host` that has said its first words, with these settings and no dynamic table.
    ///
    /// # Errors
    /// If the handshake fails or does not settle on HTTP/2.
    pub async fn open(edge: &Edge, host: &str, values: &[(u16, u32)]) -> Result<Self> {
        let mut client = Self::silent(edge, host).await?;
        let settings = settings(&[&[(1, 0)], values].concat());
        client.send(&[PREFACE, &settings].concat()).await?;
        loop {
            let frame = client.next().await?.context("it was closed before its SETTINGS")?;
            if frame.kind == kind::SETTINGS && frame.flags & flag::ACK == 0 {
                client.send(&self::frame(kind::SETTINGS, flag::ACK, 0, &[])).await?;
                return Ok(client);
            }
        }
    }

    /// Sends bytes at once.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The next frame; none at the connection's end.
    ///
    /// # Errors
    /// If nothing comes for long.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        tokio::time::timeout(PATIENCE, self.read()).await.context("no frame came")
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.cut() {
                return Some(frame);
            }
            let mut piece = [0; 16 << 10];
            // What is closed without a farewell is closed.
            match self.stream.read(&mut piece).await {
                Ok(count) if count > 0 => self.received.extend_from_slice(piece.get(..count)?),
                _ => return None,
            }
        }
    }

    fn cut(&mut self) -> Option<Frame> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *self.received.first_chunk::<9>()?;
        let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).ok()?;
        let payload = self.received.get(9..9 + length)?.to_vec();
        self.received.drain(..9 + length);
        Some(Frame { kind, flags, stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]), payload })
    }

    /// The next frame that `wanted` takes; the others are dropped.
    ///
    /// # Errors
    /// If the connection ends before.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Result<Frame> {
        loop {
            match self.next().await? {
                Some(frame) if wanted(&frame) => return Ok(frame),
                Some(frame) if frame.kind == kind::GOAWAY => {
                    bail!("GOAWAY {:?} {:?} came first", frame.code(), frame.debug())
                }
                Some(_) => {}
                None => bail!("it was closed"),
            }
        }
    }

    /// The GOAWAY that the connection ends with; none if it is just closed.
    ///
    /// # Errors
    /// If it is not closed for long.
    pub async fn farewell(&mut self) -> Result<Option<Frame>> {
        let mut farewell = None;
        while let Some(frame) = self.next().await? {
            if frame.kind == kind::GOAWAY {
                farewell = Some(frame);
            }
        }
        Ok(farewell)
    }

    /// Sends frames, and waits for the answer on the stream of the first.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub async fn answer_to(&mut self, bytes: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.send(bytes).await?;
        let stream = bytes.get(5..).and_then(|rest| rest.first_chunk()).context("no frame")?;
        self.answer(u32::from_be_bytes(*stream)).await
    }

    /// Status and body of the answer on a stream. Gives the credit back that the body takes.
    ///
    /// # Errors
    /// If it is reset, or the connection ends.
    pub async fn answer(&mut self, stream: u32) -> Result<(u16, Vec<u8>)> {
        let head = self.until(|frame| frame.stream == stream && frame.kind != kind::WINDOW_UPDATE).await?;
        let (status, mut body, mut is_over) = (head.status()?, Vec::new(), head.ends_stream());
        while !is_over {
            let frame = self.until(|frame| frame.stream == stream).await?;
            is_over = frame.ends_stream();
            match frame.kind {
                kind::DATA => {
                    let count = u32::try_from(frame.payload.len())?;
                    body.extend_from_slice(&frame.payload);
                    if count > 0 {
                        self.send(&[window_update(0, count), window_update(stream, count)].concat()).await?;
                    }
                }
                kind::RST_STREAM => bail!("the stream was reset with {:?}", frame.code()),
                _ => {}
            }
        }
        Ok((status, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_each_form() {
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8c]), Some(400));
        assert_eq!(status(&[0x08, 3, b'4', b'2', b'1']), Some(421));
        // RFC 7541 appendix C.6.1: 302 in Huffman codes.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(status(&[]), None);
    }

    #[test]
    fn a_long_value_has_a_long_length() {
        let bytes = field("a", &"x".repeat(1_337 + 127));
        // RFC 7541 appendix C.1.2 spells 1337 in five bits; in seven it is 127, then 1337 in pieces of 7 bits.
        assert_eq!(bytes.get(..6), Some(&[0, 1, b'a', 127, 0xb9, 0x0a][..]));
    }
}
