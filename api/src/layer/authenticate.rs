//! Who calls: the bearer key (RFC 6750), looked up once a request.
//!
//! Fails closed: without an answer from the store nobody gets in. Form and checksum are looked at first, so
//! that noise costs no database.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use model::id::RequestId;
use model::secret::Secret;

use super::trace::UsedKey;
use crate::caller::Caller;
use crate::keys;
use crate::problem::{Code, Problem};

/// Lets nobody pass without a valid key, and tells the handler whose it is.
pub(crate) async fn authenticate(
    State(state): State<crate::State>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = match identify(&state, &parts).await {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let used = UsedKey(caller.key.id);
    parts.extensions.insert(caller);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    response.extensions_mut().insert(used);
    response
}

async fn identify(state: &crate::State, parts: &Parts) -> Result<Caller, Problem> {
    let secret = bearer(&parts.headers)?;
    let parsed = keys::parse(secret.reveal()).ok_or_else(invalid)?;
    let key = state.store().authenticate(&parsed.lookup, &parsed.hash).await?.ok_or_else(invalid)?;
    let id = parts.extensions.get::<RequestId>().copied();
    let ip = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    Ok(Caller { key, secret, request: id, ip })
}

fn bearer(headers: &HeaderMap) -> Result<Secret, Problem> {
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| {
        Problem::new(Code::KeyMissing, "A key is needed: send it as Authorization: Bearer sk_live_…")
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    })?;
    let text = value.to_str().map_err(|_| invalid())?;
    let (scheme, key) = text.split_once(' ').ok_or_else(invalid)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Secret::new(key.trim().to_owned()))
    } else {
        Err(invalid())
    }
}

fn invalid() -> Problem {
    let detail = "This key is not valid: it was mistyped or deleted, or belongs to another installation.";
    Problem::new(Code::KeyInvalid, detail)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
}
