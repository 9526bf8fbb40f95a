//! Who calls, what the caller may see, and which version of a row the caller has read.

use std::fmt;
use std::net::IpAddr;

use model::id::{KeyId, RequestId, TenantId};
use serde::{Deserialize, Serialize};

/// Who makes a change, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The API key that was used.
    pub key: Option<KeyId>,
    /// `key_…`, or a part of the program: `certd`, `stoa up`.
    pub name: String,
    /// The request that asked for it.
    pub request: Option<RequestId>,
    /// Where the request came from.
    pub ip: Option<IpAddr>,
}

impl Actor {
    /// A part of the program that acts by itself.
    #[must_use]
    pub fn system(name: &str) -> Self {
        Self { key: None, name: name.to_owned(), request: None, ip: None }
    }

    /// Somebody with an API key.
    #[must_use]
    pub fn with_key(key: KeyId) -> Self {
        Self { key: Some(key), name: key.to_string(), request: None, ip: None }
    }
}

/// What the caller may see and change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Platform,
    /// What belongs to one tenant.
    Tenant(TenantId),
}

impl Access {
    /// Whether something of `owner` may be seen; what has no owner belongs to the platform.
    #[must_use]
    pub fn allows(self, owner: Option<TenantId>) -> bool {
        match self {
            Self::Platform => true,
            Self::Tenant(tenant) => owner == Some(tenant),
        }
    }
}

/// Version of a row, counted from 1: an `ETag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

impl Version {
    pub(crate) const FIRST: Self = Self(1);

    pub(crate) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
