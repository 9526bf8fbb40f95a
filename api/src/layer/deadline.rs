//! No request takes for ever: after the time limit the caller gets an answer that says so.
//!
//! A change that was under way is either whole or not made (it is one transaction); with an idempotency key
//! it goes on to its end, and trying again tells how it ended.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Code, Problem};

/// Answers in the handler's stead when the time is up. Waiting for changes has its own, added, bound.
pub(crate) async fn deadline(State(state): State<crate::State>, request: Request, next: Next) -> Response {
    let limit = state.settings().request_timeout.saturating_add(crate::MAX_WAIT);
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Timeout, "It took too long. Try again, with the same Idempotency-Key if it was a POST.")
            .into_response(),
    }
}
