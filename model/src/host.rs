//! Host names, parsed strictly at the door.
//!
//! A [`Host`] is lower-case ASCII (IDNA A-labels, UTS 46), has no trailing dot and no port, 1 to 253 bytes,
//! labels of 1 to 63 letters, digits and hyphens (RFC 1123 §2.1, RFC 5891). IP addresses are refused by
//! their own variant, because an edge answers them differently.

pub mod likeness;
mod pattern;

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use pattern::HostPattern;

/// Longest host name in bytes (RFC 1035 §2.3.4, without the root's dot).
pub const MAX_BYTES: usize = 253;
/// Longest label in bytes (RFC 1035 §2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;

/// A host name in its one canonical form. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(Arc<str>);

/// Why a text is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing was given.
    #[error("host is empty")]
    Empty,
    /// More than [`MAX_BYTES`] bytes.
    #[error("host `{0}` is longer than 253 characters")]
    TooLong(String),
    /// Two dots in a row, or one at the start.
    #[error("host `{0}` has an empty label")]
    EmptyLabel(String),
    /// A label of more than [`MAX_LABEL_BYTES`] bytes.
    #[error("host `{0}` has a label longer than 63 characters")]
    LongLabel(String),
    /// A label that begins or ends with a hyphen.
    #[error("host `{0}` has a label that begins or ends with a hyphen")]
    Hyphen(String),
    /// A character that host names do not have, or a name that IDNA refuses.
    #[error("host `{0}` has a character that host names do not have")]
    Character(String),
    /// An IP address where a name is wanted.
    #[error("host `{0}` is an IP address, not a name")]
    IpAddress(String),
    /// What follows the colon is not a port from 1 to 65535.
    #[error("host `{0}` has a port that is not a number from 1 to 65535")]
    Port(String),
}

impl Host {
    /// Parses a bare name: no port; one trailing dot, upper case and Unicode are accepted and normalised.
    ///
    /// # Errors
    /// Each [`HostError`] names the text.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        normalise(text).map(|name| Self(Arc::from(name.as_ref())))
    }

    /// Parses an HTTP authority, `name[:port]` (RFC 9110 §7.2). Userinfo is refused as a bad character.
    ///
    /// # Errors
    /// As [`Host::parse`], and [`HostError::Port`].
    pub fn parse_authority(text: &str) -> Result<(Self, Option<u16>), HostError> {
        let (name, port) = split_port(text)?;
        Ok((Self::parse(name)?, port))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name one label up: `b.c` for `a.b.c`; none for a single label.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, parent)| parent)
    }

    /// The first label: `a` for `a.b.c`.
    #[must_use]
    pub fn first_label(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    /// Whether this name is `zone` or lies below it.
    #[must_use]
    pub fn is_within(&self, zone: &Self) -> bool {
        self == zone || self.as_str().strip_suffix(zone.as_str()).is_some_and(|rest| rest.ends_with('.'))
    }

    /// `<label>.<self>`.
    ///
    /// # Errors
    /// As [`Host::parse`] of the joined name.
    pub fn with_label(&self, label: &str) -> Result<Self, HostError> {
        Self::parse(&format!("{label}.{self}"))
    }

    /// Whether the name is reserved for development and can never be on the internet: it is, or lies below,
    /// `localhost`, `test`, `example`, `invalid` (RFC 6761) or `internal` (ICANN, 2024).
    #[must_use]
    pub fn is_development(&self) -> bool {
        let last = self.0.rsplit('.').next().unwrap_or_default();
        matches!(last, "localhost" | "test" | "example" | "invalid" | "internal")
    }
}

/// The canonical form of a bare name; borrows when the text already is canonical.
///
/// # Errors
/// Each [`HostError`] names the text.
pub fn normalise(text: &str) -> Result<Cow<'_, str>, HostError> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() {
        return Err(if text.is_empty() { HostError::Empty } else { HostError::EmptyLabel(text.to_owned()) });
    }
    let name = if bare.is_ascii() {
        if bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(bare.to_ascii_lowercase())
        } else {
            Cow::Borrowed(bare)
        }
    } else {
        let ascii = idna::domain_to_ascii_strict(bare).map_err(|_| HostError::Character(text.to_owned()))?;
        Cow::Owned(ascii)
    };
    check(&name, text)?;
    Ok(name)
}

/// Splits `name[:port]`; a bracketed IPv6 address comes back with its brackets.
fn split_port(text: &str) -> Result<(&str, Option<u16>), HostError> {
    if text.starts_with('[') {
        return Err(HostError::IpAddress(text.to_owned()));
    }
    let Some((name, port)) = text.split_once(':') else { return Ok((text, None)) };
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(HostError::IpAddress(text.to_owned()));
    }
    let digits = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok((name, Some(port))),
        _ => Err(HostError::Port(text.to_owned())),
    }
}

fn check(name: &str, text: &str) -> Result<(), HostError> {
    if name.len() > MAX_BYTES {
        return Err(HostError::TooLong(text.to_owned()));
    }
    for label in name.split('.') {
        check_label(label, text)?;
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if is_number(last) {
        return Err(HostError::IpAddress(text.to_owned()));
    }
    let has_a_label = name.split('.').any(|label| label.starts_with("xn--"));
    if has_a_label && idna::domain_to_ascii_strict(name).map_or(true, |ascii| ascii != name) {
        return Err(HostError::Character(text.to_owned()));
    }
    Ok(())
}

/// Whether readers take a name whose last label this is for an IPv4 address (WHATWG URL §3.5, "ends in a number").
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn check_label(label: &str, text: &str) -> Result<(), HostError> {
    let text = || text.to_owned();
    if label.is_empty() {
        return Err(HostError::EmptyLabel(text()));
    }
    if label.len() > MAX_LABEL_BYTES {
        return Err(HostError::LongLabel(text()));
    }
    if !label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err(HostError::Character(text()));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostError::Hyphen(text()));
    }
    Ok(())
}

impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Host {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Host {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        Self::parse(&text)
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests;
