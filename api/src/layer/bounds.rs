//! No request is larger or takes longer than its route allows.
//!
//! When the time is up the caller gets an answer that says so. A change that was under way is either whole or
//! not made (it is one transaction); with an idempotency key it goes on to its end, and trying again tells
//! how it ended.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Code, Problem};
use crate::request::body::MaxBytes;

/// What a route allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Most bytes of a body.
    pub(crate) body: usize,
    /// Longest time until the answer begins.
    pub(crate) time: Duration,
}

/// Tells the handler its size limit, and answers in its stead when the time is up.
pub(crate) async fn bounds(State(bounds): State<Bounds>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(MaxBytes(bounds.body));
    match tokio::time::timeout(bounds.time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "It took too long. Try again; after a POST, with the same Idempotency-Key.";
            Problem::new(Code::Timeout, detail).into_response()
        }
    }
}
