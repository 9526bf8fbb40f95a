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
}
