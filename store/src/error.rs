//! Why the store refused or failed, by what the caller does about it.

use crate::Version;

/// What every method of the store returns.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is not there, or the caller may not see it.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// The kind of object.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// Somebody else has it: choose another value.
    #[error("{field} `{value}` {}", conflict(code))]
    Conflict {
        /// The field.
        field: &'static str,
        /// The value that is taken.
        value: String,
        /// `name_taken`, `slug_taken`, `domain_taken`, `name_quarantined`, `domain_quarantined`,
        /// `certificate_exists`, `key_taken`, `connection_working`, `connection_applied` `nothing_to_undo`
        /// or `not_contested`.
        code: &'static str,
    },
    /// The row changed since the caller read it: read it again.
    #[error("{what} `{id}` was changed meanwhile: it is at version {current}")]
    Stale {
        /// The kind of object.
        what: &'static str,
        /// Which one.
        id: String,
        /// Its version now.
        current: Version,
    },
    /// The value cannot be meant: correct it.
    #[error("{reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it, naming the value.
        reason: String,
    },
    /// A bounded count is reached.
    #[error("there are {limit} {what} already, which is the most allowed")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The most allowed.
        limit: usize,
    },
    /// Another key speaks for the edge: use that one, or delete it.
    #[error(
        "edge `{edge}` belongs to another key or to the control plane itself: use its own key, or delete that one to free it"
    )]
    EdgeOfAnotherKey {
        /// Which edge.
        edge: String,
    },
    /// Another holder took the lease over: stop working on it.
    #[error("{what} `{id}` is in other hands")]
    Fenced {
        /// The kind of object.
        what: &'static str,
        /// Which one.
        id: String,
    },
    /// The database is busy or out of reach for now: try again later.
    #[error("the database does not answer as it should")]
    Unavailable(#[source] sqlx::Error),
    /// What is stored cannot be read: an operator must restore it.
    #[error("the database holds something that cannot be read: {what}")]
    Corrupt {
        /// What and where.
        what: String,
    },
    /// The database cannot be opened: an operator must act.
    #[error("cannot open the store `{place}`: {reason}")]
    Unopened {
        /// Path or URL, without a password.
        place: String,
        /// Why, and what to do.
        reason: String,
    },
}

impl StoreError {
    pub(crate) fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    pub(crate) fn invalid(field: &'static str, reason: impl ToString) -> Self {
        Self::Invalid { field, reason: reason.to_string() }
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

fn conflict(code: &str) -> &'static str {
    match code {
        "name_quarantined" | "domain_quarantined" => {
            "was given up by somebody else a short while ago and is not free yet"
        }
        "connection_working" => "is being worked on at its provider: wait until that has ended",
        "connection_applied" => "has records that we set already: take them back first",
        "nothing_to_undo" => "has no records that we set",
        "not_contested" => "is not wanted by anybody who has proved it",
        _ => "is taken",
    }
}

/// Codes of SQLite (<https://sqlite.org/rescode.html>) and Postgres (appendix A) for damaged data.
const DAMAGED: [&str; 4] = ["11", "26", "XX001", "XX002"];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner)
                if inner.code().is_some_and(|code| DAMAGED.contains(&code.as_ref())) =>
            {
                Self::corrupt(inner.message())
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::corrupt(error.to_string())
            }
            _ => Self::Unavailable(error),
        }
    }
}
