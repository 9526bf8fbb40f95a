//! A host name, or a wildcard that stands for many.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Host, HostError};

/// A name, or all names one label below one (RFC 6125 §6.4.3): what a certificate is for, and what a creator connects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// `a.b`
    Exact(Host),
    /// `*.b`: covers `a.b`, neither `b` nor `x.a.b`.
    Wildcard(Host),
}

impl HostPattern {
    /// The name itself, or the one that the wildcard stands below.
    #[must_use]
    pub const fn base(&self) -> &Host {
        match self {
            Self::Exact(host) | Self::Wildcard(host) => host,
        }
    }

    /// The one name that it is; none: it is a wildcard.
    #[must_use]
    pub const fn exact(&self) -> Option<&Host> {
        match self {
            Self::Exact(host) => Some(host),
            Self::Wildcard(_) => None,
        }
    }

    /// Whether it stands for many names.
    #[must_use]
    pub const fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }

    /// One name of those that it stands for: itself, or `<label>.<base>`.
    ///
    /// # Errors
    /// As [`Host::with_label`].
    pub fn sample(&self, label: &str) -> Result<Host, HostError> {
        match self {
            Self::Exact(host) => Ok(host.clone()),
            Self::Wildcard(parent) => parent.with_label(label),
        }
    }

    /// Whether it stands for every name that `other` stands for.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        self == other || other.exact().is_some_and(|host| self.covers(host))
    }

    /// Whether this name covers `host`.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(parent) => host.parent() == Some(parent.as_str()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl From<Host> for HostPattern {
    fn from(host: Host) -> Self {
        Self::Exact(host)
    }
}

impl From<&Host> for HostPattern {
    fn from(host: &Host) -> Self {
        Self::Exact(host.clone())
    }
}

impl From<&Self> for HostPattern {
    fn from(pattern: &Self) -> Self {
        pattern.clone()
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        match text.strip_prefix("*.") {
            Some(parent) => Host::parse(parent).map(Self::Wildcard),
            None => Host::parse(text).map(Self::Exact),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostError;

    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(name: HostPattern) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_covers_one_label_only() -> Result<(), HostError> {
        let name: HostPattern = "*.apps.localhost".parse()?;
        assert!(name.covers(&Host::parse("a.apps.localhost")?));
        assert!(!name.covers(&Host::parse("apps.localhost")?));
        assert!(!name.covers(&Host::parse("x.a.apps.localhost")?));
        Ok(())
    }

    #[test]
    fn a_pattern_includes_itself_and_what_it_covers() -> Result<(), HostError> {
        let [wildcard, below, base] =
            ["*.apps.localhost", "a.apps.localhost", "apps.localhost"].map(str::parse::<HostPattern>);
        let (wildcard, below, base) = (wildcard?, below?, base?);
        assert!(wildcard.includes(&wildcard) && wildcard.includes(&below) && !wildcard.includes(&base));
        assert!(below.includes(&below) && !below.includes(&wildcard));
        Ok(())
    }

    #[test]
    fn a_sample_of_a_wildcard_is_a_name_that_it_covers() -> Result<(), HostError> {
        let wildcard: HostPattern = "*.apps.localhost".parse()?;
        assert!(wildcard.covers(&wildcard.sample("any")?));
        let exact: HostPattern = "apps.localhost".parse()?;
        assert_eq!(exact.sample("any")?.as_str(), "apps.localhost");
        Ok(())
    }
}
