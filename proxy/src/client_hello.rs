//! The first message of a TLS connection, and the fingerprint of whoever wrote it.
//!
//! rustls decides what a ClientHello means; this reads what rustls does not tell: extensions and their order
//! of the wire. JA4 is computed as FoxIO publishes it (`technical_details/JA4.md`, BSD licence): which program
//! speaks, not who. Pure and bounded: bytes in (RFC 8446 §4.1.2, §5.1), words out. Deliberately absent: the
//! rest of the JA4+ family, which has another licence.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use reader::Reader;

mod reader;

/// Most bytes of records that may carry a ClientHello. The largest of browsers have 2 KiB, with resumption and
/// post-quantum keys 4 KiB.
pub(crate) const MOST_BYTES: usize = 20 << 10;

/// A record of the type handshake (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// A handshake message of the type ClientHello (§4).
const CLIENT_HELLO: u8 = 1;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Bytes are no ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ClientHello is malformed")]
pub(crate) struct Malformed;

/// What a ClientHello says, as far as a fingerprint needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientHello<'h> {
    legacy_version: u16,
    ciphers: Numbers<'h>,
    /// Types of the extensions, as they came.
    extensions: Vec<u16>,
    /// `supported_versions`.
    versions: Numbers<'h>,
    /// The protocol that is offered first.
    protocol: &'h [u8],
    signature_algorithms: Numbers<'h>,
}

/// Numbers of two bytes each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Numbers<'h>(&'h [u8]);

impl<'h> Numbers<'h> {
    /// All but the reserved ones that clients mix in at random (GREASE, RFC 8701).
    fn iter(self) -> impl Iterator<Item = u16> + 'h {
        let pairs = self.0.as_chunks().0.iter();
        pairs.map(|pair| u16::from_be_bytes(*pair)).filter(|number| !is_grease(*number))
    }
}

const fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// The handshake message at the beginning of `records`, without its head; none if its end has not come.
///
/// # Errors
/// [`Malformed`] if it is no ClientHello.
pub(crate) fn message(records: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Malformed> {
    let mut records = Reader(records);
    let mut joined = Cow::Borrowed(&[][..]);
    while let Some(fragment) = fragment(&mut records)? {
        if joined.is_empty() {
            joined = Cow::Borrowed(fragment);
        } else {
            joined.to_mut().extend_from_slice(fragment);
        }
        if let Some(end) = end(&joined)? {
            return Ok(Some(match joined {
                Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(4..end).ok_or(Malformed)?),
                Cow::Owned(bytes) => Cow::Owned(bytes.get(4..end).ok_or(Malformed)?.to_vec()),
            }));
        }
    }
    Ok(None)
}

/// What one record carries; none if it is not whole.
fn fragment<'h>(records: &mut Reader<'h>) -> Result<Option<&'h [u8]>, Malformed> {
    match records.0.first() {
        None => return Ok(None),
        Some(kind) if *kind != HANDSHAKE_RECORD => return Err(Malformed),
        Some(_) => {}
    }
    let mut record = Reader(records.0);
    let whole = record.skip(3).and_then(|()| record.with_length_of_2());
    if whole.is_some() {
        *records = record;
    }
    // TLS has no empty records of this type.
    if whole.is_some_and(<[u8]>::is_empty) { Err(Malformed) } else { Ok(whole) }
}

/// Where the message ends that `bytes` begin with, if they hold all of it.
fn end(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    match bytes {
        [kind, ..] if *kind != CLIENT_HELLO => Err(Malformed),
        [_, a, b, c, ..] => {
            let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).map_err(|_| Malformed)?;
            Ok(Some(length + 4).filter(|end| *end <= bytes.len()))
        }
        _ => Ok(None),
    }
}

impl<'h> ClientHello<'h> {
    /// Reads a message as [`message`] gives it.
    ///
    /// # Errors
    /// [`Malformed`] if its parts do not lie within each other.
    pub(crate) fn parse(message: &'h [u8]) -> Result<Self, Malformed> {
        Self::read(Reader(message)).ok_or(Malformed)
    }

    fn read(mut message: Reader<'h>) -> Option<Self> {
        let legacy_version = message.number()?;
        message.skip(32)?;
        let _session_id = message.with_length_of_1()?;
        let ciphers = Numbers(message.with_length_of_2()?);
        let _compressions = message.with_length_of_1()?;
        let mut hello = Self {
            legacy_version,
            ciphers,
            extensions: Vec::new(),
            versions: Numbers::default(),
            protocol: &[],
            signature_algorithms: Numbers::default(),
        };
        if message.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = Reader(message.with_length_of_2()?);
        hello.extensions.reserve(24);
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let content = Reader(extensions.with_length_of_2()?);
            hello.take(kind, content)?;
        }
        message.0.is_empty().then_some(hello)
    }

    fn take(&mut self, kind: u16, mut content: Reader<'h>) -> Option<()> {
        match kind {
            SIGNATURE_ALGORITHMS => self.signature_algorithms = Numbers(content.with_length_of_2()?),
            SUPPORTED_VERSIONS => self.versions = Numbers(content.with_length_of_1()?),
            ALPN => {
                self.protocol = Reader(content.with_length_of_2()?).with_length_of_1().unwrap_or_default()
            }
            _ => {}
        }
        if !is_grease(kind) {
            self.extensions.push(kind);
        }
        Some(())
    }

    /// The fingerprint, over TCP.
    pub(crate) fn ja4(&self) -> Ja4 {
        let mut ciphers: Vec<u16> = self.ciphers.iter().collect();
        let mut extensions = self.extensions.clone();
        let [first, last] = ends(self.protocol);
        let name = if extensions.contains(&SERVER_NAME) { b'd' } else { b'i' };
        let ([v1, v2], [c1, c2], [e1, e2]) =
            (self.version(), digits(ciphers.len()), digits(extensions.len()));
        let start = [b't', v1, v2, name, c1, c2, e1, e2, first, last];
        ciphers.sort_unstable();
        extensions.sort_unstable();
        extensions.retain(|kind| !matches!(*kind, SERVER_NAME | ALPN));
        let mut text = Vec::with_capacity(5 * (ciphers.len().max(extensions.len()) + 16));
        list(&mut text, ciphers.into_iter());
        let ciphers = short_hash(&text);
        text.clear();
        list(&mut text, extensions.into_iter());
        if !text.is_empty() && self.signature_algorithms.iter().next().is_some() {
            text.push(b'_');
            list(&mut text, self.signature_algorithms.iter());
        }
        Ja4::join(start, ciphers, short_hash(&text))
    }

    /// The highest version that is offered.
    fn version(&self) -> [u8; 2] {
        *match self.versions.iter().max().unwrap_or(self.legacy_version) {
            0x0304 => b"13",
            0x0303 => b"12",
            0x0302 => b"11",
            0x0301 => b"10",
            0x0300 => b"s3",
            0x0002 => b"s2",
            0xfeff => b"d1",
            0xfefd => b"d2",
            0xfefc => b"d3",
            _ => b"00",
        }
    }
}

/// Two digits; 99 for more.
fn digits(count: usize) -> [u8; 2] {
    let count = u8::try_from(count).unwrap_or(99).min(99);
    [b'0' + count / 10, b'0' + count % 10]
}

/// The first and the last character of a protocol's name, or of its hexadecimal form if one of them is neither
/// letter nor digit.
fn ends(protocol: &[u8]) -> [u8; 2] {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else { return *b"00" };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [*first, *last];
    }
    [nibble(first >> 4), nibble(last & 0x0f)]
}

const fn nibble(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Appends numbers in four hexadecimal digits each, with commas between them.
fn list(text: &mut Vec<u8>, numbers: impl Iterator<Item = u16>) {
    for (at, number) in numbers.enumerate() {
        if at > 0 {
            text.push(b',');
        }
        let [high, low] = number.to_be_bytes();
        text.extend([high >> 4, high & 0x0f, low >> 4, low & 0x0f].map(nibble));
    }
}

/// The first twelve hexadecimal digits of SHA-256; zeros for nothing.
fn short_hash(text: &[u8]) -> [u8; 12] {
    let mut short = [b'0'; 12];
    if !text.is_empty() {
        let hash = digest(&SHA256, text);
        let digits = hash.as_ref().iter().flat_map(|byte| [nibble(byte >> 4), nibble(byte & 0x0f)]);
        short.iter_mut().zip(digits).for_each(|(place, digit)| *place = digit);
    }
    short
}

/// A fingerprint such as `t13d1516h2_8daaf6152771_e5627efa2ab1`: 36 characters of ASCII. Programs share it;
/// it names no person.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ja4([u8; 36]);

impl Ja4 {
    fn join(start: [u8; 10], ciphers: [u8; 12], extensions: [u8; 12]) -> Self {
        let mut whole = [b'_'; 36];
        let parts = start.into_iter().chain([b'_']).chain(ciphers).chain([b'_']).chain(extensions);
        whole.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        Self(whole)
    }

    /// The fingerprint with this text.
    #[cfg(test)]
    pub(crate) const fn written(text: &[u8; 36]) -> Self {
        Self(*text)
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The fingerprint of the ClientHello that `records` begin with; none if they begin with none.
pub(crate) fn fingerprint(records: &[u8]) -> Option<Ja4> {
    let message = message(records).ok()??;
    ClientHello::parse(&message).ok().map(|hello| hello.ja4())
}

#[cfg(test)]
mod tests;
