//! `Idempotency-Key`: a POST that is sent twice happens once (draft-ietf-httpapi-idempotency-key-header).
//!
//! Kept, for each API key and for 24 hours, are a fingerprint of the request and the answer of a success. An
//! answer that changed nothing is forgotten, so the same request may be tried again. The handler runs to its
//! end even if the caller hangs up. The one gap: a process that dies between the change and the note of its
//! answer lets the request happen again after two minutes. Fails closed: without the store no POST happens.

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use model::id::KeyId;
use store::{Answer, Idempotency};

use crate::caller::Caller;
use crate::problem::{Code, Problem};
use crate::request::body::{MaxBytes, read_up_to};

/// The header of the request.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The header of an answer that was given before.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Longest key, in characters.
const MAX_KEY: usize = 255;
/// Headers of an answer that are given again.
const KEPT: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// Left by a handler on an answer that holds a secret: the body to give when the request is sent again.
#[derive(Debug, Clone)]
pub(crate) struct WithoutSecret(pub(crate) String);

/// Which request of whom.
#[derive(Debug, Clone)]
struct Once {
    state: crate::State,
    caller: KeyId,
    key: String,
}

/// Carries a POST with an idempotency key out once.
pub(crate) async fn idempotency(State(state): State<crate::State>, request: Request, next: Next) -> Response {
    let answer = match (request.method() == Method::POST).then(|| read_key(request.headers())) {
        None | Some(Ok(None)) => return next.run(request).await,
        Some(Ok(Some(key))) => once(state, key, request, next).await,
        Some(Err(problem)) => Err(problem),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

fn read_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(Some(text.to_owned()));
    }
    let detail = "Idempotency-Key must have 1 to 255 printable characters, e.g. a random UUID.";
    Err(Problem::new(Code::InvalidHeader, detail))
}

async fn once(state: crate::State, key: String, request: Request, next: Next) -> Result<Response, Problem> {
    let caller = request.extensions().get::<Caller>().map(|caller| caller.key.id);
    let caller = caller.ok_or_else(|| Problem::internal("a POST came here without a caller"))?;
    let limit = request.extensions().get::<MaxBytes>().map_or(crate::MAX_BODY_BYTES, |max| max.0);
    let (parts, body) = request.into_parts();
    let body = read_up_to(body, limit).await?;
    let fingerprint = fingerprint(&parts, &body);
    match state.store().begin_idempotent(caller, &key, &fingerprint).await? {
        Idempotency::Replay(answer) => Ok(replay(answer)),
        Idempotency::Running => Err(running()),
        Idempotency::Mismatch => Err(mismatch(&key)),
        Idempotency::Started => {
            let request = Request::from_parts(parts, Body::from(body));
            let once = Once { state, caller, key };
            // A task of its own: it goes on if the caller hangs up or the time is up.
            let task = tokio::spawn(once.carry_out(request, next));
            task.await.map_err(Problem::internal)
        }
    }
}

impl Once {
    async fn carry_out(self, request: Request, next: Next) -> Response {
        let response = next.run(request).await;
        if !response.status().is_success() {
            self.forget().await;
            return response;
        }
        let (parts, body) = response.into_parts();
        let body = match axum::body::to_bytes(body, usize::MAX).await {
            Ok(body) => body,
            Err(error) => return Problem::internal(error).into_response(),
        };
        let kept = match parts.extensions.get::<WithoutSecret>() {
            Some(without) => without.0.clone(),
            None => String::from_utf8_lossy(&body).into_owned(),
        };
        let answer =
            Answer { status: parts.status.as_u16(), headers: kept_headers(&parts.headers), body: kept };
        if let Err(error) = self.state.store().finish_idempotent(self.caller, &self.key, &answer).await {
            tracing::warn!(key = %self.caller, %error, "an answer was not kept: its request may happen again");
        }
        Response::from_parts(parts, Body::from(body))
    }

    async fn forget(&self) {
        if let Err(error) = self.state.store().abandon_idempotent(self.caller, &self.key).await {
            tracing::warn!(key = %self.caller, %error, "a request without effect stays marked as running for a while");
        }
    }
}

fn fingerprint(parts: &Parts, body: &Bytes) -> String {
    let mut hash = Context::new(&SHA256);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    hash.update(target.as_bytes());
    hash.update(b"\n");
    hash.update(body);
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    KEPT.iter().filter_map(|name| Some((name.to_string(), text(name)?.to_owned()))).collect()
}

fn replay(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn running() -> Problem {
    let detail = "The first request with this Idempotency-Key has not ended yet. Try again in a second.";
    Problem::new(Code::IdempotencyRunning, detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

fn mismatch(key: &str) -> Problem {
    let detail =
        format!("Idempotency-Key `{key}` was used for another request: take a new one for each request.");
    Problem::new(Code::IdempotencyMismatch, detail)
}
