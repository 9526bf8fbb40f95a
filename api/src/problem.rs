//! Every "no" of the API: one [`Problem`] (RFC 9457), with a stable code and a sentence in plain words.
//!
//! A handler returns a problem; the outermost layer writes it, because only that knows the request's id.
//! What a key may not see gives the same problem as what is not there.

mod code;
mod store;

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use model::id::RequestId;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use code::Code;

/// Media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Result of a handler.
pub(crate) type Answer<T> = Result<T, Problem>;

/// Why a request was not carried out.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: Code,
    detail: Cow<'static, str>,
    faults: Vec<Fault>,
    header: Option<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

/// One fault of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// Where: a JSON pointer into the body (RFC 6901), or `?name` for a query parameter.
    #[schema(example = "/slug")]
    pub(crate) pointer: String,
    /// What kind of fault, stable.
    #[schema(example = "invalid")]
    pub(crate) code: Cow<'static, str>,
    /// What is wrong and what to do, in plain words.
    pub(crate) message: String,
}

/// A problem as it is sent (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody<'a> {
    /// Always `about:blank`: `code` tells the kind.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'a str,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'a str,
    /// The status of the answer.
    #[schema(example = 404)]
    status: u16,
    /// What kind of problem, stable: write programs against this.
    #[schema(example = "not_found")]
    code: &'a str,
    /// What is wrong and what to do, in plain words.
    detail: &'a str,
    /// Reference of this request, also in the header `Request-Id`: tell it to support.
    #[schema(example = "req_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    request_id: String,
    /// Each fault of the request, if it is the request's.
    errors: &'a [Fault],
}

impl Fault {
    pub(crate) fn new(
        pointer: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl ToString,
    ) -> Self {
        Self { pointer: pointer.into(), code: code.into(), message: message.to_string() }
    }

    /// A value that was understood and cannot be accepted.
    pub(crate) fn invalid(pointer: impl Into<String>, message: impl ToString) -> Self {
        Self::new(pointer, "invalid", message)
    }
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let parts = Parts { code, detail: detail.into(), faults: Vec::new(), header: None, cause: None };
        Self(Box::new(parts))
    }

    /// There is no such `what`, or the key may not see it: the two are one answer.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("There is no such {what}, or this key may not see it."))
    }

    /// The faults of a body or a query that was understood.
    pub(crate) fn faulty(faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [one] => Cow::Owned(one.message.clone()),
            many => Cow::Owned(format!("{} values cannot be accepted; `errors` names each.", many.len())),
        };
        Self::new(Code::Invalid, detail).with_faults(faults)
    }

    /// A fault of ours; `cause` goes to the log only.
    pub(crate) fn internal(cause: impl ToString) -> Self {
        let detail = "Something went wrong on our side. Nothing was changed; tell support the request id.";
        Self::new(Code::Internal, detail).with_cause(cause)
    }

    /// Out of reach for now; `cause` goes to the log only.
    pub(crate) fn unavailable(cause: impl ToString) -> Self {
        Self::new(Code::Unavailable, "The service is busy. Try again in a few seconds.")
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("2"))
            .with_cause(cause)
    }

    pub(crate) fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.0.faults = faults;
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    fn with_cause(mut self, cause: impl ToString) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    #[cfg(test)]
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.0.faults
    }

    pub(crate) fn code(&self) -> Code {
        self.0.code
    }

    /// Why, for the log; never sent.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The whole answer.
    pub(crate) fn render(&self, request: RequestId) -> Response {
        let status = self.0.code.status();
        let body = ProblemBody {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.0.code.as_str(),
            detail: &self.0.detail,
            request_id: request.to_string(),
            errors: &self.0.faults,
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response();
        if let Some((name, value)) = &self.0.header {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}

/// Leaves the writing to the outermost layer, which knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status: StatusCode = self.0.code.status();
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
