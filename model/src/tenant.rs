//! What an edge needs to know of a tenant.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::TenantId;
use crate::limits::Limits;

/// Whether a tenant's apps are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Served.
    Active,
    /// Refused with a page; nothing is deleted.
    Suspended,
}

/// A tenant as the edges see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its short name, the label of its metrics.
    pub slug: Slug,
    /// Served or not.
    pub standing: Standing,
    /// What it and its visitors may ask for.
    pub limits: Limits,
}

/// A short name that can be a DNS label and a metric label: 1 to 40 of `a-z`, `0-9` and inner hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slug(String);

/// A text that is no short name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Characters or length.
    #[error(
        "`{0}` is not a short name: use 1 to 40 of a-z, 0-9 and hyphens, with a letter or digit at both ends"
    )]
    Form(String),
    /// A name that visitors could take for the platform, or that looks like another script.
    #[error("`{0}` is reserved: choose another name")]
    Reserved(String),
}

/// Names that no app may have, because visitors would take it for the platform itself.
const RESERVED: [&str; 26] = [
    "abuse",
    "account",
    "admin",
    "api",
    "app",
    "apps",
    "auth",
    "billing",
    "cname",
    "console",
    "dashboard",
    "docs",
    "edge",
    "help",
    "login",
    "mail",
    "ns",
    "operator",
    "root",
    "security",
    "ssl",
    "status",
    "stoa",
    "support",
    "www",
    "acme",
];

impl Slug {
    /// Parses a short name.
    ///
    /// # Errors
    /// [`SlugError::Form`] names the text.
    pub fn parse(text: &str) -> Result<Self, SlugError> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let sound = (1..=40).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if sound { Ok(Self(text.to_owned())) } else { Err(SlugError::Form(text.to_owned())) }
    }

    /// Parses the name of an app, which becomes a label of a host name that visitors see: reserved words and
    /// names that browsers show in another script (`xn--…`, or `--` in third place) are refused.
    ///
    /// # Errors
    /// As [`Slug::parse`], and [`SlugError::Reserved`].
    pub fn parse_app_name(text: &str) -> Result<Self, SlugError> {
        let slug = Self::parse(text)?;
        let punycode = text.get(2..4) == Some("--");
        if punycode || RESERVED.contains(&text) {
            Err(SlugError::Reserved(text.to_owned()))
        } else {
            Ok(slug)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Slug {
    type Error = SlugError;

    fn try_from(text: String) -> Result<Self, SlugError> {
        Self::parse(&text)
    }
}

impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_taken_for_the_platform_are_reserved() {
        for name in ["admin", "login", "xn--pypal-4ve", "ab--c"] {
            assert_eq!(Slug::parse_app_name(name), Err(SlugError::Reserved(name.to_owned())));
        }
        assert!(Slug::parse_app_name("hello-2").is_ok());
    }

    #[test]
    fn a_short_name_can_be_a_label() {
        for name in ["", "-a", "a-", "A", "a.b", "a_b", "é", &"a".repeat(41)] {
            assert_eq!(Slug::parse(name), Err(SlugError::Form(name.to_owned())));
        }
    }
}
