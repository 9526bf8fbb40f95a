//! A chunked body (RFC 9112 §7.1), followed byte by byte so that its end is known.
//!
//! Takes exactly the grammar: no white space, no line that ends in LF alone, no size in another notation,
//! extensions as tokens and quoted strings. Nothing is decoded: the bytes go on to pingora as they are.

use super::field::{self, Flaw, is_alias, is_token_byte};

/// Digits of a chunk's size: 2^60 bytes.
const MOST_DIGITS: u8 = 15;
/// Bytes of one chunk's extensions; nobody is known to use any.
const MOST_EXTENSION_BYTES: u16 = 256;
/// Bytes of a trailer section.
const MOST_TRAILER_BYTES: usize = 8 << 10;

/// How far a chunked body has been followed.
#[derive(Debug, Clone)]
pub(crate) struct Chunks {
    state: State,
    /// The chunk's size.
    size: u64,
    digits: u8,
    extension: u16,
    /// The trailer line at hand.
    line: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    ExtensionStart,
    ExtensionName,
    ValueStart,
    Value,
    Quoted,
    Escaped,
    QuotedEnd,
    SizeLf,
    Data(u64),
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    End,
}

impl Chunks {
    /// At a body's first byte.
    pub(crate) const fn new() -> Self {
        Self { state: State::Size, size: 0, digits: 0, extension: 0, line: Vec::new(), trailer_bytes: 0 }
    }

    /// Follows the next bytes. `Some(n)`: the body ends behind `n` of them; none: all are the body's, and more
    /// must come.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Result<Option<usize>, Flaw> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if let State::Data(left) = self.state {
                let there = bytes.len() - at;
                let taken = usize::try_from(left).map_or(there, |left| left.min(there));
                let left = left - u64::try_from(taken).unwrap_or(left);
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                at += taken;
                continue;
            }
            self.state = self.step(*byte)?;
            at += 1;
            if self.state == State::End {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Result<State, Flaw> {
        match self.state {
            State::Size => self.step_size(byte),
            State::SizeLf if byte == b'\n' => Ok(self.begin_data()),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size),
            State::SizeLf | State::DataLf => Err("a line of a chunk has a CR without LF"),
            State::DataCr | State::Data(_) | State::End => Err("a chunk is longer than its size"),
            State::Trailer | State::TrailerLf => self.step_trailer(byte),
            _ => self.step_extension(byte),
        }
    }

    fn step_size(&mut self, byte: u8) -> Result<State, Flaw> {
        let digit = char::from(byte).to_digit(16);
        match (digit, byte) {
            (Some(_), _) if self.digits == MOST_DIGITS => Err("a chunk's size is too large"),
            (Some(digit), _) => {
                self.size = self.size << 4 | u64::from(digit);
                self.digits += 1;
                Ok(State::Size)
            }
            (None, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (None, b';') if self.digits > 0 => Ok(State::ExtensionStart),
            _ => Err("a chunk's size is not a hexadecimal number"),
        }
    }

    fn step_extension(&mut self, byte: u8) -> Result<State, Flaw> {
        self.extension += 1;
        if self.extension > MOST_EXTENSION_BYTES {
            return Err("a chunk's extensions are too long");
        }
        let is_token = is_token_byte(byte);
        let is_text = matches!(byte, b'\t' | b' '..=b'~');
        match (self.state, byte) {
            (State::ExtensionStart | State::ExtensionName, _) if is_token => Ok(State::ExtensionName),
            (State::ExtensionName, b'=') => Ok(State::ValueStart),
            (State::ValueStart | State::Value, _) if is_token => Ok(State::Value),
            (State::ValueStart, b'"') => Ok(State::Quoted),
            (State::Quoted, b'"') => Ok(State::QuotedEnd),
            (State::Quoted, b'\\') => Ok(State::Escaped),
            (State::Quoted | State::Escaped, _) if is_text => Ok(State::Quoted),
            (State::ExtensionName | State::Value | State::QuotedEnd, b';') => Ok(State::ExtensionStart),
            (State::ExtensionName | State::Value | State::QuotedEnd, b'\r') => Ok(State::SizeLf),
            _ => Err("a chunk's extension is malformed"),
        }
    }

    fn begin_data(&mut self) -> State {
        let size = std::mem::take(&mut self.size);
        (self.digits, self.extension) = (0, 0);
        if size == 0 { State::Trailer } else { State::Data(size) }
    }

    fn step_trailer(&mut self, byte: u8) -> Result<State, Flaw> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > MOST_TRAILER_BYTES {
            return Err("the trailer section is too large");
        }
        match (self.state, byte) {
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::Trailer, b'\n') => Err("a trailer line ends in LF without CR"),
            (State::Trailer, _) => {
                self.line.push(byte);
                Ok(State::Trailer)
            }
            (_, b'\n') if self.line.is_empty() => Ok(State::End),
            (_, b'\n') => check_trailer(&std::mem::take(&mut self.line)).map(|()| State::Trailer),
            _ => Err("a trailer line has a CR that does not end it"),
        }
    }
}

/// Refuses what no trailer may be (RFC 9110 §6.5.1) and would matter if a server took it for a header field.
fn check_trailer(line: &[u8]) -> Result<(), Flaw> {
    const NEVER: [&str; 9] = [
        "content-length",
        "transfer-encoding",
        "host",
        "connection",
        "upgrade",
        "trailer",
        "expect",
        "authorization",
        "cookie",
    ];
    let name = field::parse(line)?.name;
    let is_never = NEVER.iter().any(|never| is_alias(name, never));
    if is_never { Err("a trailer has the name of a field that decides about the request") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(body: &[u8]) -> Result<Option<usize>, Flaw> {
        Chunks::new().follow(body)
    }

    #[test]
    fn a_body_ends_behind_its_trailers() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"5\r\nhello\r\n0\r\n\r\n",
            b"A\r\n0123456789\r\n00\r\nx: y\r\nz:\r\n\r\n",
            b"1;a;b=c;d=\"e \\\" f\"\r\nx\r\n0;a\r\n\r\n",
        ] {
            assert_eq!(followed(body), Ok(Some(body.len())), "{}", body.escape_ascii());
            assert_eq!(followed(&[body, b"GET /"].concat()), Ok(Some(body.len())));
            assert_eq!(followed(&body[..body.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn what_another_server_might_read_otherwise_is_refused() {
        for body in [
            &b"\r\n"[..],
            b";a\r\n",
            b"0x5\r\n",
            b"+5\r\n",
            b"-1\r\n",
            b"5_0\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5\t;a\r\n",
            b"5\n",
            b"5\rx",
            b"g\r\n",
            b"1000000000000000\r\n",
            b"5;\r\n",
            b"5; a\r\n",
            b"5;a=\r\n",
            b"5;a\n",
            b"5;a=\"\n",
            b"5;a=\"\r\n",
            b"5;\xff",
            b"1\r\nxy\r\n",
            b"1\r\nx\n",
            b"1\r\nx\rx",
            b"1\r\n\r\n\r\n",
            b"0\r\n\n",
            b"0\r\na\r\n",
            b"0\r\n a: b\r\n",
            b"0\r\na: b\n",
            b"0\r\na : b\r\n",
            b"0\r\nContent-Length: 1\r\n",
            b"0\r\nTransfer_Encoding: x\r\n",
            b"0\r\nhost: a\r\n",
            b"0\r\na\r\r\n",
        ] {
            assert!(followed(body).is_err(), "{}", body.escape_ascii());
        }
        let long = |text: &str| followed(format!("1;{}", text.repeat(300)).as_bytes());
        assert!(long("a").is_err());
        assert!(followed(format!("0\r\na: {}\r\n", "b".repeat(9_000)).as_bytes()).is_err());
    }
}
