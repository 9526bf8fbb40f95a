//! What the control plane tells the edges: an ordered log of "this object is now so".
//!
//! Each change carries the whole object and the revision at which it became so, never a difference: applying
//! one twice, or only the newest of several, gives the same result.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::acme::{Challenge, Token};
use crate::certificate::Certificate;
use crate::id::{AppId, CertificateId, TenantId, TicketKeyId};
use crate::seal::Sealed;
use crate::site::Site;
use crate::tenant::Tenant;
use crate::ticket::TicketKey;

/// A place in the log; 0 is before the first change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which log a revision belongs to: a store that was created anew, or restored, has another lineage, and
/// its revisions cannot be compared with the old ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(pub String);

/// Names one object of the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum ObjectId {
    /// A tenant's standing and limits.
    Tenant(TenantId),
    /// An app.
    Site(AppId),
    /// A certificate.
    Certificate(CertificateId),
    /// An http-01 answer.
    Challenge(Token),
    /// A key of TLS session tickets.
    TicketKey(TicketKeyId),
}

/// The whole of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "value")]
pub enum Object {
    /// A tenant's standing and limits.
    Tenant(Tenant),
    /// An app.
    Site(Box<Site>),
    /// A certificate.
    Certificate(Certificate),
    /// An http-01 answer.
    Challenge(Challenge),
    /// A key of TLS session tickets.
    TicketKey(TicketKey),
}

impl Object {
    /// The name of the object.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        match self {
            Self::Tenant(tenant) => ObjectId::Tenant(tenant.id),
            Self::Site(site) => ObjectId::Site(site.app),
            Self::Certificate(certificate) => ObjectId::Certificate(certificate.id),
            Self::Challenge(challenge) => ObjectId::Challenge(challenge.token.clone()),
            Self::TicketKey(key) => ObjectId::TicketKey(key.id),
        }
    }

    /// What is sealed in the object, and in which context; none: nothing is.
    #[must_use]
    pub fn secret(&mut self) -> Option<(String, &mut Sealed)> {
        match self {
            Self::Certificate(certificate) => {
                Some((Certificate::key_context(certificate.id), &mut certificate.key))
            }
            Self::TicketKey(key) => Some((TicketKey::key_context(key.id), &mut key.key)),
            Self::Tenant(_) | Self::Site(_) | Self::Challenge(_) => None,
        }
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it became so.
    pub revision: Revision,
    /// Which object.
    pub id: ObjectId,
    /// The object as it now is; none: it is gone.
    pub object: Option<Object>,
}

/// A stretch of the log, ordered by revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// The log these changes belong to.
    pub lineage: Lineage,
    /// Whether these pages begin at revision 0 and, to the last of them, are the whole truth: what they do
    /// not name is gone.
    pub reset: bool,
    /// Whether another page follows at once.
    pub more: bool,
    /// What to ask after next.
    pub next: Revision,
    /// The changes.
    pub changes: Vec<Change>,
}
