//! `ETag` and `If-Match` (RFC 9110 §8.8.3, §13.1.1): a row's version, so that nobody overwrites what they
//! have not seen.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use store::Version;

use super::body::Json;
use crate::problem::{Code, Problem};

/// The versions that the caller has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No header, or `*`: whatever is there.
    Any,
    /// One of these; a tag that is none of ours matches nothing.
    OneOf(Vec<i64>),
}

impl IfMatch {
    /// Refuses if `current` is not what the caller has seen.
    pub(crate) fn check(&self, current: Version) -> Result<(), Problem> {
        match self {
            Self::OneOf(versions) if !versions.contains(&current.0) => Err(stale()),
            Self::Any | Self::OneOf(_) => Ok(()),
        }
    }

    /// The one version that a change may be based on; none: any. What `current` reads is looked at only if
    /// the caller named versions, and the store looks again when it changes the row.
    pub(crate) async fn version(
        &self,
        current: impl AsyncFnOnce() -> Result<Version, Problem>,
    ) -> Result<Option<Version>, Problem> {
        match self {
            Self::Any => Ok(None),
            Self::OneOf(_) => {
                let current = current().await?;
                self.check(current)?;
                Ok(Some(current))
            }
        }
    }

    fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut versions = None;
        for value in headers.get_all(header::IF_MATCH) {
            let text = value.to_str().map_err(|_| malformed("?"))?;
            for tag in text.split(',').map(str::trim) {
                if tag == "*" {
                    return Ok(Self::Any);
                }
                let strong = tag.strip_prefix("W/").is_none();
                let bare = tag.strip_prefix("W/").unwrap_or(tag);
                let inner = bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let inner = inner.ok_or_else(|| malformed(tag))?;
                let version = inner.parse::<i64>().ok().filter(|_| strong);
                versions.get_or_insert_with(Vec::new).extend(version);
            }
        }
        Ok(versions.map_or(Self::Any, Self::OneOf))
    }
}

/// It was changed since it was read.
pub(crate) fn stale() -> Problem {
    Problem::new(Code::Stale, "It was changed since you read it. Read it again and repeat your change.")
}

fn malformed(tag: &str) -> Problem {
    let detail =
        format!("If-Match: `{tag}` is no entity tag: send the ETag of the last answer, quotes included.");
    Problem::new(Code::InvalidHeader, detail)
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(&parts.headers)
    }
}

/// A body with the version it shows as its `ETag`.
#[derive(Debug)]
pub(crate) struct Tagged<T>(pub(crate) Version, pub(crate) T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.1).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.0.0)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &'static str) -> Result<IfMatch, &'static str> {
        let headers = HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))]);
        IfMatch::parse(&headers).map_err(|problem| problem.code().as_str())
    }

    #[test]
    fn only_a_strong_tag_of_ours_matches() {
        assert_eq!(parsed(r#""3""#), Ok(IfMatch::OneOf(vec![3])));
        assert_eq!(parsed(r#""3", "4""#), Ok(IfMatch::OneOf(vec![3, 4])));
        assert_eq!(parsed(r#"W/"3""#), Ok(IfMatch::OneOf(vec![])));
        assert_eq!(parsed(r#""abc""#), Ok(IfMatch::OneOf(vec![])));
        assert_eq!(parsed("*"), Ok(IfMatch::Any));
        assert_eq!(IfMatch::parse(&HeaderMap::new()).ok(), Some(IfMatch::Any));
    }

    #[test]
    fn what_is_no_tag_is_named() {
        for value in ["3", "\"3", "", "\"3\" \"4"] {
            assert_eq!(parsed(value), Err("invalid_header"), "{value}");
        }
    }
}
