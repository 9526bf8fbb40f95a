//! Problem documents (RFC 7807) with the error types of ACME (RFC 8555 §6.7, RFC 9773, profiles).

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

/// A refusal, as a client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The last part of the type's URN: `rateLimited`.
    pub kind: &'static str,
    /// Status of the answer.
    pub status: StatusCode,
    /// What a person reads.
    pub detail: String,
    /// `Retry-After`, in whole seconds rounded up.
    pub retry_after: Option<Duration>,
    /// `Location` of what is in the way.
    pub location: Option<String>,
}

impl Problem {
    /// A problem of a standard type, with the status that Let's Encrypt answers it with.
    #[must_use]
    pub fn new(kind: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, status: status_of(kind), detail: detail.into(), retry_after: None, location: None }
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new("malformed", detail)
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new("unauthorized", detail)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::malformed(format!("{what} not found")) }
    }

    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        Self::new("serverInternal", error.to_string())
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "type": format!("urn:ietf:params:acme:error:{}", self.kind),
            "detail": self.detail,
            "status": self.status.as_u16(),
        })
    }
}

fn status_of(kind: &str) -> StatusCode {
    match kind {
        "unauthorized" | "caa" | "orderNotReady" | "externalAccountRequired" | "userActionRequired" => {
            StatusCode::FORBIDDEN
        }
        "alreadyReplaced" => StatusCode::CONFLICT,
        "rateLimited" => StatusCode::TOO_MANY_REQUESTS,
        "serverInternal" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}
