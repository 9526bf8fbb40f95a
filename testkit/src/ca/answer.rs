//! Answers on their way to the client.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::problem::Problem;

#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: String,
    headers: Vec<(HeaderName, String)>,
}

impl Answer {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, body: String::new(), headers: Vec::new() }
    }

    pub(super) fn json(status: StatusCode, body: Value) -> Self {
        Self::text(status, "application/json", body.to_string())
    }

    pub(super) fn text(status: StatusCode, kind: &str, body: String) -> Self {
        Self { status, body, headers: vec![(CONTENT_TYPE, kind.to_owned())] }
    }

    pub(super) fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The response; what cannot be a header is left out.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.body));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// Adds a field to an object.
pub(super) fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let document = problem.to_json().to_string();
        let mut answer = Self::text(problem.status, "application/problem+json", document);
        if let Some(wait) = problem.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            answer = answer.with(http::header::RETRY_AFTER, seconds.to_string());
        }
        if let Some(location) = problem.location {
            answer = answer.with(http::header::LOCATION, location);
        }
        answer
    }
}
