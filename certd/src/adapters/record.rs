//! Records as every provider has them: a name, a time to live, a content. What a provider keeps beside is held
//! as it was read, so that it can be given back.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use model::{Host, HostPattern};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest name and longest label in bytes (RFC 1035 §2.3.4).
const MAX_BYTES: (usize, usize) = (253, 63);

/// The owner of a record: lower-case ASCII without the last dot. Unlike a [`Host`] it may have underscores, and
/// `*` as its first label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordName(String);

/// A text that names no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a record: labels of letters, digits, `-` and `_`, and `*` only as the first"
)]
pub struct NameError(String);

impl RecordName {
    /// Parses a name; upper case and one trailing dot are accepted.
    ///
    /// # Errors
    /// [`NameError`] names the text.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let sound = |(place, label): (usize, &str)| {
            let written =
                label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            (1..=MAX_BYTES.1).contains(&label.len()) && (written || (place == 0 && label == "*"))
        };
        let is_name = name.len() <= MAX_BYTES.0 && name.split('.').enumerate().all(sound);
        if is_name { Ok(Self(name)) } else { Err(NameError(text.to_owned())) }
    }

    /// The name without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with a dot at its end.
    #[must_use]
    pub fn absolute(&self) -> String {
        format!("{}.", self.0)
    }

    /// Whether the name is the zone's own or lies below it.
    #[must_use]
    pub fn is_within(&self, zone: &Host) -> bool {
        self.below(zone).is_some()
    }

    /// What stands before the zone: `www` for `www.example.com`, nothing for the zone's own name; none: outside.
    #[must_use]
    pub fn below(&self, zone: &Host) -> Option<&str> {
        let rest = self.0.strip_suffix(zone.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_suffix('.') }
    }

    /// The names between this one and the zone's own, nearest first, both left out.
    pub(super) fn ancestors(&self, zone: &Host) -> Vec<Self> {
        let labels = self.below(zone).unwrap_or_default().split('.').count();
        let tails = std::iter::successors(self.0.split_once('.'), |(_, rest)| rest.split_once('.'));
        tails.take(labels.saturating_sub(1)).map(|(_, rest)| Self(rest.to_owned())).collect()
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&HostPattern> for RecordName {
    fn from(pattern: &HostPattern) -> Self {
        Self(pattern.to_string())
    }
}

impl From<&Host> for RecordName {
    fn from(host: &Host) -> Self {
        Self(host.as_str().to_owned())
    }
}

impl TryFrom<String> for RecordName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<RecordName> for String {
    fn from(name: RecordName) -> Self {
        name.0
    }
}

/// What a record says. Two records of the same content say the same, however a provider spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// An alias of another name: lower case, without the last dot.
    Cname(String),
    /// A text, its parts joined, without quotes.
    Txt(String),
    /// Who may sign certificates (RFC 8659).
    Caa {
        /// 128: whoever does not understand the tag must not sign.
        flags: u8,
        /// `issue`, `issuewild`, `iodef`, …
        tag: String,
        /// The tag's value.
        value: String,
    },
    /// What Stoa never writes, other than to give it back.
    Other {
        /// `MX`, `NS`, …
        kind: String,
        /// As the provider shows it.
        text: String,
    },
}

impl Content {
    /// An alias of `target`.
    #[must_use]
    pub fn alias(target: &str) -> Self {
        Self::Cname(target.trim_end_matches('.').to_ascii_lowercase())
    }

    /// The type of record, as in zone files.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::A(_) => "A",
            Self::Aaaa(_) => "AAAA",
            Self::Cname(_) => "CNAME",
            Self::Txt(_) => "TXT",
            Self::Caa { .. } => "CAA",
            Self::Other { kind, .. } => kind,
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => write!(f, "A {address}"),
            Self::Aaaa(address) => write!(f, "AAAA {address}"),
            Self::Cname(target) => write!(f, "CNAME {target}"),
            Self::Txt(text) => write!(f, "TXT {text:?}"),
            Self::Caa { flags, tag, value } => write!(f, "CAA {flags} {tag} {value:?}"),
            Self::Other { kind, text } => write!(f, "{kind} {text}"),
        }
    }
}

/// A record of a zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Where it stands.
    pub name: RecordName,
    /// How long others keep it, in seconds.
    pub ttl: u32,
    /// What it says.
    pub content: Content,
    /// How the provider spells it and what it keeps beside (comments, proxying); null if it is not there yet.
    pub raw: Value,
    /// What the provider calls it. Not part of what the record is: it changes when it is taken away and given
    /// back.
    pub id: Option<String>,
}

impl Record {
    /// A record that is not in the zone yet.
    #[must_use]
    pub fn new(name: RecordName, ttl: u32, content: Content) -> Self {
        Self { name, ttl, content, raw: Value::Null, id: None }
    }

    /// Whether it stands at the same place with the same content; the time to live is left aside.
    pub(super) fn says(&self, other: &Self) -> bool {
        self.name == other.name && self.content == other.content
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.says(other) && self.ttl == other.ttl && self.raw == other.raw
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.content)
    }
}

/// Whether both are the same records in whatever order.
pub(super) fn same(one: &[Record], other: &[Record]) -> bool {
    one.len() == other.len() && one.iter().all(|record| other.contains(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_underscores_and_a_star_at_their_beginning_only() {
        for sound in
            ["_acme-challenge.shop.example.com", "*.apps.example.com", "example.com.", "WWW.Example.com"]
        {
            let name = RecordName::parse(sound).unwrap();
            assert_eq!(name.as_str(), sound.trim_end_matches('.').to_ascii_lowercase());
        }
        for unsound in ["", ".", "a..b", "a.*.b", "a b.com", "x*.com", &"a".repeat(64), &"ab.".repeat(90)] {
            assert!(RecordName::parse(unsound).is_err(), "`{unsound}`");
        }
    }

    #[test]
    fn a_name_knows_what_lies_between_it_and_its_zone() {
        let zone = Host::parse("example.com").unwrap();
        let name = |text| RecordName::parse(text).unwrap();
        assert_eq!(name("example.com").below(&zone), Some(""));
        assert_eq!(name("a.b.example.com").below(&zone), Some("a.b"));
        assert_eq!(name("badexample.com").below(&zone), None);
        assert_eq!(
            name("a.b.c.example.com").ancestors(&zone),
            [name("b.c.example.com"), name("c.example.com")]
        );
        assert_eq!(name("www.example.com").ancestors(&zone), []);
        assert_eq!(name("example.com").ancestors(&zone), []);
    }
}
