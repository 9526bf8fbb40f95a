//! Prefixed ULIDs: sortable by time, readable in a log, impossible to confuse with each other.
//!
//! The text form is `<prefix>_<26 characters>`, e.g. `t_01JD0Z6B3X…`. The prefix is part of the contract of
//! the API. See <https://github.com/ulid/spec> for the 26 characters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::Timestamp;
use crate::push::Push;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text does not begin with the kind's prefix.
    #[error("`{text}` is not {kind} id: it must begin with `{prefix}_`")]
    Prefix {
        /// What was given.
        text: String,
        /// The kind with its article, e.g. `a tenant`.
        kind: &'static str,
        /// The prefix it must have.
        prefix: &'static str,
    },
    /// What follows the prefix is not a ULID.
    #[error("`{text}` is not {kind} id: 26 characters of Crockford's base 32 must follow `{prefix}_`")]
    Ulid {
        /// What was given.
        text: String,
        /// The kind with its article, e.g. `a tenant`.
        kind: &'static str,
        /// The prefix it has.
        prefix: &'static str,
    },
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Ulid);

        impl $name {
            /// The prefix of the text form, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id that sorts after every id of an earlier millisecond; 80 random bits.
            #[must_use]
            pub fn generate(now: Timestamp) -> Self {
                let random = rand::random::<u128>();
                Self(Ulid::from_parts(now.unix_millis_unsigned(), random))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                // The ULID's own way asks what padding is wanted, letter by letter.
                f.write_str(self.0.array_to_str(&mut [0; ulid::ULID_LEN]))
            }
        }

        impl Push for $name {
            fn push_to(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(concat!($prefix, "_").as_bytes());
                out.extend_from_slice(self.0.array_to_str(&mut [0; ulid::ULID_LEN]).as_bytes());
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let Some(rest) = text.strip_prefix(concat!($prefix, "_")) else {
                    return Err(IdError::Prefix { text: text.to_owned(), kind: $kind, prefix: $prefix });
                };
                let ulid = Ulid::from_string(rest)
                    .map_err(|_| IdError::Ulid { text: text.to_owned(), kind: $kind, prefix: $prefix })?;
                Ok(Self(ulid))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    )*};
}

ids! {
    /// A notice to an account.
    NoticeId, "ntc", "a notice";
    /// A tenant: the unit that is limited, metered, billed and isolated.
    TenantId, "t", "a tenant";
    /// An app: what a visitor meets at a host name.
    AppId, "a", "an app";
    /// A creator's own domain, connected to one app.
    DomainId, "dom", "a domain";
    /// One certificate with its private key.
    CertificateId, "crt", "a certificate";
    /// An API key (an operator's, a tenant's or an edge's).
    KeyId, "key", "a key";
    /// An audit event.
    EventId, "evt", "an event";
    /// An edge process, stable over its restarts.
    EdgeId, "edg", "an edge";
    /// An ACME order of ours.
    OrderId, "ord", "an order";
    /// A key of TLS session tickets.
    TicketKeyId, "tik", "a ticket key";
    /// One request, printed as its reference code.
    RequestId, "req", "a request";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() -> Result<(), IdError> {
        let id = TenantId::generate(Timestamp::from_unix_millis(1_790_000_000_000));
        assert_eq!(id.to_string().parse::<TenantId>()?, id);
        assert!(id.to_string().starts_with("t_"));
        Ok(())
    }

    #[test]
    fn an_id_of_another_kind_is_refused_with_the_wanted_prefix() {
        let id = AppId::generate(Timestamp::from_unix_millis(0)).to_string();
        let error = id.parse::<TenantId>().map_err(|e| e.to_string());
        assert_eq!(error, Err(format!("`{id}` is not a tenant id: it must begin with `t_`")));
    }

    #[test]
    fn later_ids_sort_later() {
        let early = AppId::generate(Timestamp::from_unix_millis(1));
        let late = AppId::generate(Timestamp::from_unix_millis(2));
        assert!(early < late && early.to_string() < late.to_string());
    }
}
