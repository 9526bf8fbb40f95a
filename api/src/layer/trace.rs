//! The outermost layer: every request gets an id, every answer tells it, every problem is written here, and
//! one line is logged.
//!
//! An id that the caller sends is taken if it has our form, so that a program can join its log with ours.
//! Bodies, queries and keys are never logged.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use model::id::{KeyId, RequestId};
use tokio::time::Instant;

use crate::problem::Problem;

/// The header with the request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Left by authentication on the answer, for the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UsedKey(pub(crate) KeyId);

/// Gives the request its id, and the answer its reference and its log line.
pub(crate) async fn trace(State(state): State<crate::State>, mut request: Request, next: Next) -> Response {
    let id = taken(request.headers()).unwrap_or_else(|| RequestId::generate(state.now()));
    request.extensions_mut().insert(id);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    let started = Instant::now();
    let mut response = next.run(request).await;
    let key = response.extensions_mut().remove::<UsedKey>();
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        let allow = response.headers_mut().remove(http::header::ALLOW);
        response = problem.render(id);
        response.headers_mut().extend(allow.map(|allow| (http::header::ALLOW, allow)));
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let line = Line { id, method, route, key, problem: problem.as_ref(), status: response.status().as_u16() };
    line.log(started.elapsed().as_millis());
    response
}

fn taken(headers: &HeaderMap) -> Option<RequestId> {
    headers.get(REQUEST_ID)?.to_str().ok()?.parse().ok()
}

struct Line<'a> {
    id: RequestId,
    method: Method,
    route: &'a str,
    key: Option<UsedKey>,
    problem: Option<&'a Problem>,
    status: u16,
}

impl Line<'_> {
    /// Faults of ours as warnings, changes as information, reads and refusals for who looks closely.
    fn log(&self, took_ms: u128) {
        let Self { id, method, route, status, .. } = self;
        let key = self.key.map(|key| key.0.to_string()).unwrap_or_default();
        let code = self.problem.map_or("", |problem| problem.code().as_str());
        let cause = self.problem.and_then(Problem::cause).unwrap_or_default();
        if *status >= 500 {
            tracing::warn!(request_id = %id, %method, route, status, key, code, cause, took_ms, "API request failed");
        } else if method.is_safe() || *status >= 400 {
            tracing::debug!(request_id = %id, %method, route, status, key, code, took_ms, "API request answered");
        } else {
            tracing::info!(request_id = %id, %method, route, status, key, took_ms, "API change made");
        }
    }
}
