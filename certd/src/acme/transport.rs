//! HTTP to the authority, with what instant-acme's own client leaves out: time limits, a cap on the body,
//! and a note of each answer's status and `Retry-After`, which its errors do not carry.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio::time::Instant;

use super::lane::{Lane, SLOW};
use crate::CertdError;
use crate::https::{self, Clear, Finder, TOTAL};

/// Largest body that is read; a chain has some kilobytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

type Answered = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

/// Connections to one authority, shared by all orders.
#[derive(Clone)]
pub(crate) struct Transport(Client<HttpsConnector<HttpConnector<Finder>>, BodyWrapper<Bytes>>);

impl Transport {
    /// Trusts the system's roots and those in `ca_file`.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, CertdError> {
        let anchors = ca_file.map(|path| ("acme.ca_file", path));
        Ok(Self(Client::builder(TokioExecutor::new()).build(https::connector(anchors, Clear::Never)?)))
    }
}

impl HttpClient for Transport {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answered {
        let answer = self.0.request(request);
        Box::pin(async move {
            let answer = answer.await.map_err(|error| Error::Other(Box::new(error)))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(Error::Other)?;
            Ok(BytesResponse { parts, body: Box::new(body.to_bytes()) })
        })
    }
}

/// What the last answer said beside its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// HTTP status; none: no answer came.
    pub(crate) status: Option<StatusCode>,
    /// `Retry-After` as it was sent.
    pub(crate) retry_after: Option<String>,
    /// Whether something was sent that it may have acted upon, and no answer came.
    pub(crate) is_lost: bool,
}

/// One line of requests, one after the other, with the last answer noted. Bounds each request by [`TOTAL`].
#[derive(Clone)]
pub(crate) struct Recorder {
    inner: Arc<dyn HttpClient>,
    last: Arc<Mutex<Heard>>,
    lane: Arc<Lane>,
    /// What is there at an address, so that nobody is asked for it again.
    believed: Option<(String, Bytes)>,
}

impl Recorder {
    /// A line whose answers are noted in `lane`.
    pub(crate) fn new(inner: Arc<dyn HttpClient>, lane: Arc<Lane>) -> Self {
        Self { inner, last: Arc::default(), lane, believed: None }
    }

    /// Answers a GET of `url` with `text` from now on: the library wants the directory for each session anew.
    pub(crate) fn believe(&mut self, url: &str, text: Bytes) {
        self.believed = Some((url.to_owned(), text));
    }

    fn believed(&self, request: &Request<BodyWrapper<Bytes>>) -> Option<BytesResponse> {
        let (url, text) = self.believed.as_ref()?;
        if request.method() != Method::GET || request.uri().to_string() != *url {
            return None;
        }
        let (parts, ()) = Response::new(()).into_parts();
        Some(BytesResponse { parts, body: Box::new(text.clone()) })
    }

    /// What the last answer said.
    pub(crate) fn last(&self) -> Heard {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HttpClient for Recorder {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Answered {
        if let Some(answer) = self.believed(&request) {
            return Box::pin(async move { Ok(answer) });
        }
        let may_act = request.method() == Method::POST;
        let (answer, last) = (self.inner.request(request), Arc::clone(&self.last));
        let lane = Arc::clone(&self.lane);
        let note = move |heard| *last.lock().unwrap_or_else(PoisonError::into_inner) = heard;
        Box::pin(async move {
            note(Heard::default());
            let asked = Instant::now();
            let answer = tokio::time::timeout(TOTAL, answer).await;
            let failed = !matches!(&answer, Ok(Ok(answer)) if !answer.parts.status.is_server_error());
            lane.note(failed || asked.elapsed() > SLOW);
            let answer = answer.unwrap_or_else(|_| {
                Err(Error::Other(format!("no answer within {} s", TOTAL.as_secs()).into()))
            });
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    note(Heard { is_lost: may_act && !was_never_sent(&error), ..Heard::default() });
                    return Err(error);
                }
            };
            let retry_after = answer.parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let (status, retry_after) = (Some(answer.parts.status), retry_after.map(str::to_owned));
            note(Heard { status, retry_after, is_lost: false });
            Ok(answer)
        })
    }
}

/// Whether there was no connection that a request could have been sent on.
fn was_never_sent(error: &Error) -> bool {
    match error {
        Error::Other(error) => error
            .downcast_ref::<hyper_util::client::legacy::Error>()
            .is_some_and(hyper_util::client::legacy::Error::is_connect),
        _ => false,
    }
}
