//! A whole header section of HTTP/1 (RFC 9112 §2 to §6), checked before pingora sees a byte of it.
//!
//! Stricter than pingora 0.9.1 throughout, so that pingora never refuses what came so far: its own refusal
//! would be seen by no log and no metric. What both HTTP versions share is in [`crate::head`] and
//! [`crate::host`].

use http::Method;
use model::Host;

use super::field::{self, Field, elements, is_alias, is_token};
use super::framing::{Framers, Framing};
use crate::head::{MOST_FIELDS, MOST_TARGET_BYTES, is_method_known};
use crate::headers::is_claim;
use crate::host;
use crate::refusal::Refusal;

/// What a header section that passed says of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Where the body ends.
    pub(crate) framing: Framing,
    /// Whether the visitor waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

/// A request line in its three parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) version: &'a [u8],
}

impl<'a> Line<'a> {
    /// Splits at single spaces; none if there are not exactly two.
    pub(super) fn split(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.split(|byte| *byte == b' ');
        let split = Self { method: parts.next()?, target: parts.next()?, version: parts.next()? };
        let is_whole = parts.next().is_none() && !split.method.is_empty() && !split.target.is_empty();
        is_whole.then_some(split)
    }
}

/// The lines of a header section without their ends, the empty one at the end left out.
pub(super) fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = section;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        (!line.is_empty()).then_some(line)
    })
}

/// Checks a section from its request line to its empty line. `known` is the name that the TLS connection was
/// made for, which saves a look at the same name in `Host`.
///
/// # Errors
/// The refusal that the visitor gets.
pub(crate) fn check(section: &[u8], known: Option<&Host>) -> Result<Checked, Refusal> {
    let mut lines = lines(section);
    let line = lines.next().and_then(Line::split);
    let line = line.ok_or(Refusal::BadRequest("the request line is not a method, a target and a version"))?;
    let is_http_10 = check_line(&line)?;
    let mut facts = Facts::default();
    for (count, line) in lines.enumerate() {
        if count == MOST_FIELDS {
            return Err(Refusal::HeaderTooLarge);
        }
        facts.add(field::parse(line).map_err(Refusal::BadRequest)?)?;
    }
    facts.settle(is_http_10, known)
}

/// True for HTTP/1.0.
fn check_line(line: &Line<'_>) -> Result<bool, Refusal> {
    if !is_token(line.method) {
        return Err(Refusal::BadRequest("the method is not a word"));
    }
    let is_http_10 = match line.version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Refusal::VersionNotSupported);
        }
        _ => return Err(Refusal::BadRequest("the version is not one of HTTP")),
    };
    let is_known = Method::from_bytes(line.method).is_ok_and(|method| is_method_known(&method));
    if !is_known {
        return Err(Refusal::MethodNotAllowed);
    }
    check_target(line).map(|()| is_http_10)
}

/// A path and a query, or `*` for OPTIONS. An address as target (absolute form) is for proxies that the client
/// knows of, which this is not: two hosts in one request are one too many (RFC 9112 §3.2).
fn check_target(line: &Line<'_>) -> Result<(), Refusal> {
    let target = line.target;
    if target.len() > MOST_TARGET_BYTES {
        return Err(Refusal::UriTooLong);
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::BadRequest("the target has a byte that is no visible ASCII"));
    }
    if memchr::memchr(b'#', target).is_some() {
        return Err(Refusal::BadRequest("the target has a fragment"));
    }
    match target {
        [b'/', ..] => Ok(()),
        b"*" if line.method == b"OPTIONS" => Ok(()),
        _ => Err(Refusal::BadRequest("the target is not a path")),
    }
}

/// What the fields say, gathered in one pass.
#[derive(Default)]
struct Facts<'a> {
    framers: Framers<'a>,
    host: Option<&'a [u8]>,
    expects_continue: bool,
    is_websocket: bool,
}

impl<'a> Facts<'a> {
    /// Most names are told apart by their length alone.
    fn add(&mut self, field: Field<'a>) -> Result<(), Refusal> {
        let Field { name, value } = field;
        let is = |plain: &str| name.eq_ignore_ascii_case(plain.as_bytes());
        match name.len() {
            4 if is("host") => self.add_host(value),
            6 if is("expect") => self.add_expectation(value),
            7 if is("upgrade") => {
                self.is_websocket |= elements(value).any(|one| one.eq_ignore_ascii_case(b"websocket"));
                Ok(())
            }
            10 if is("connection") => check_connection(value),
            14 if is("content-length") => self.framers.add_length(value),
            17 if is("transfer-encoding") => self.framers.add_coding(value),
            14 if is_alias(name, "content-length") => Err(IMITATION),
            17 if is_alias(name, "transfer-encoding") => Err(IMITATION),
            _ => Ok(()),
        }
    }

    fn add_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        match self.host.replace(value) {
            None => Ok(()),
            Some(_) => Err(Refusal::BadRequest("there is more than one Host field")),
        }
    }

    fn add_expectation(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.expects_continue = true;
        if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(Refusal::ExpectationFailed) }
    }

    fn settle(self, is_http_10: bool, known: Option<&Host>) -> Result<Checked, Refusal> {
        let framing = self.framers.settle(is_http_10)?;
        if self.is_websocket && framing != Framing::Length(0) {
            return Err(Refusal::BadRequest("the handshake of a WebSocket has a body"));
        }
        let host = self.host.ok_or(Refusal::BadRequest("the Host field is missing"))?;
        let is_known = known.is_some_and(|known| host::port_behind(known, host).is_some());
        if !is_known {
            host::check(host)?;
        }
        Ok(Checked { framing, expects_continue: self.expects_continue && !is_http_10 })
    }
}

const IMITATION: Refusal = Refusal::BadRequest("a field imitates one that frames the body");

/// Whoever nominates a field for this connection only has it taken out on the way (RFC 9110 §7.6.1): not one
/// that says what the request is, whom it is for or whom it is from.
fn check_connection(value: &[u8]) -> Result<(), Refusal> {
    const NEVER: [&str; 9] = [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "transfer-encoding",
        "authorization",
        "cookie",
        "expect",
        "origin",
    ];
    for name in elements(value).filter(|name| !name.is_empty()) {
        if !is_token(name) {
            return Err(Refusal::BadRequest("Connection has an element that is no name"));
        }
        let text = std::str::from_utf8(name).unwrap_or_default().to_ascii_lowercase();
        if NEVER.contains(&text.as_str()) || is_claim(&text) {
            return Err(Refusal::BadRequest("Connection nominates a field that is not its own"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
