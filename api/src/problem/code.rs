//! The stable codes of problems, each with its one status.

use http::StatusCode;

/// What kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The query is not understood.
    InvalidQuery,
    /// The body is not JSON at all.
    NotJson,
    /// A header of the request is not understood.
    InvalidHeader,
    /// No key was given.
    KeyMissing,
    /// The key is none of ours, or was deleted.
    KeyInvalid,
    /// The caller may see the thing, but not do this to it.
    ScopeMissing,
    /// The edge's id belongs to another key.
    EdgeOfAnotherKey,
    /// No such thing, or not for this key.
    NotFound,
    /// No such path.
    UnknownRoute,
    /// The path has no such method.
    MethodNotAllowed,
    /// It does not fit with what is there; the word tells how.
    Conflict(&'static str),
    /// The first request with the same idempotency key has not ended yet.
    IdempotencyRunning,
    /// It was changed since it was read.
    Stale,
    /// The body is too large.
    BodyTooLarge,
    /// The body's media type is not JSON.
    UnsupportedMediaType,
    /// The body is JSON, but its values cannot be accepted.
    Invalid,
    /// The same idempotency key was used with another body.
    IdempotencyMismatch,
    /// This key reads as many streams as it may, or all keys together do.
    TooManyStreams,
    /// This tenant asks for as many links at a time as it may, or all tenants together do.
    TooManyLinks,
    /// A fault of ours.
    Internal,
    /// Out of reach for now.
    Unavailable,
    /// It took too long.
    Timeout,
}

impl Code {
    /// The word in JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidQuery => "invalid_query",
            Self::NotJson => "not_json",
            Self::InvalidHeader => "invalid_header",
            Self::KeyMissing => "key_missing",
            Self::KeyInvalid => "key_invalid",
            Self::ScopeMissing => "scope_missing",
            Self::EdgeOfAnotherKey => "edge_of_another_key",
            Self::NotFound => "not_found",
            Self::UnknownRoute => "unknown_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict(word) => word,
            Self::IdempotencyRunning => "idempotency_running",
            Self::Stale => "stale",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Invalid => "invalid",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::TooManyStreams => "too_many_streams",
            Self::TooManyLinks => "too_many_links",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
        }
    }

    /// The status of the answer.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidQuery | Self::NotJson | Self::InvalidHeader => StatusCode::BAD_REQUEST,
            Self::KeyMissing | Self::KeyInvalid => StatusCode::UNAUTHORIZED,
            Self::ScopeMissing | Self::EdgeOfAnotherKey => StatusCode::FORBIDDEN,
            Self::NotFound | Self::UnknownRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) | Self::IdempotencyRunning => StatusCode::CONFLICT,
            Self::Stale => StatusCode::PRECONDITION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid | Self::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyStreams | Self::TooManyLinks => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}
