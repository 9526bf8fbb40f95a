//! The control plane over HTTP, for an edge that runs apart.
//!
//! `GET /v1/edge/changes`, `POST /v1/edge/usage` and `POST /v1/edge/report` with the edge's key; bodies are
//! the JSON of the types in `model`. Certificates are checked; clear text is for loopback only; redirects and
//! proxies are not followed, so that the key goes nowhere else.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use model::change::{Batch, Lineage, Revision};
use model::edge::EdgeReport;
use model::secret::Secret;
use model::usage::UsageBatch;
use reqwest::{Certificate, Client, RequestBuilder, Url, redirect};
use serde::Serialize;

use crate::{Origin, OriginError};

mod answer;

use answer::Refusal;

const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take beyond what the control plane was asked to wait.
const ANSWER: Duration = Duration::from_secs(10);

/// A control plane at a URL.
#[derive(Debug)]
pub struct HttpOrigin {
    base: Url,
    key: Secret,
    client: Client,
}

/// Settings with which no control plane can be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpOriginError {
    /// The text is no URL, or has parts that a base cannot have.
    #[error("control URL `{url}` cannot be used: {reason}; write it as https://control.example.com")]
    Url {
        /// What was given, without user and password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Clear text would tell the key and all certificates to the network.
    #[error(
        "control URL `{0}` is not encrypted: use https, or http with a loopback address (127.0.0.1, [::1], localhost)"
    )]
    Cleartext(String),
    /// The trust anchors cannot be read.
    #[error("control plane's CA file holds no certificate in PEM that can be used: {0}")]
    Ca(String),
    /// The key cannot stand in a header.
    #[error("the edge key has characters that a key does not have")]
    Key,
    /// The process installed no cryptography.
    #[error("no cryptographic provider is installed: install one before anything else")]
    NoProvider,
    /// The client cannot be made.
    #[error("no HTTPS client can be made: {0}")]
    Client(String),
}

impl HttpOrigin {
    /// A control plane at `base`, asked with `key`. With `ca_pem` only these authorities are trusted, else the
    /// system's. The process must have installed a rustls provider.
    ///
    /// # Errors
    /// [`HttpOriginError`] names what cannot be used.
    pub fn new(base: &str, key: Secret, ca_pem: Option<Vec<u8>>) -> Result<Self, HttpOriginError> {
        let base = parse_base(base)?;
        if key.reveal().is_empty() || !key.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HttpOriginError::Key);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(HttpOriginError::NoProvider);
        }
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .user_agent(concat!("stoa-edge/", env!("CARGO_PKG_VERSION")));
        let client = match ca_pem {
            Some(pem) => client.tls_certs_only(authorities(&pem)?),
            None if base.scheme() == "http" => client.tls_certs_only([]),
            None => client,
        };
        let client = client.build().map_err(|error| HttpOriginError::Client(answer::chain(&error)))?;
        Ok(Self { base, key, client })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<(), Refusal> {
        let request = self.client.post(self.url(path)).timeout(ANSWER).json(body);
        self.send(request).await.map(drop)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Vec<u8>, Refusal> {
        let response = request.bearer_auth(self.key.reveal()).send().await;
        answer::read(response.map_err(|error| Refusal::no_answer(&error))?).await
    }
}

#[async_trait]
impl Origin for HttpOrigin {
    async fn changes(
        &self,
        lineage: &Lineage,
        after: Revision,
        wait: Duration,
    ) -> Result<Batch, OriginError> {
        let mut url = self.url("/v1/edge/changes");
        url.query_pairs_mut()
            .append_pair("lineage", &lineage.0)
            .append_pair("after", &after.to_string())
            .append_pair("wait_ms", &wait.as_millis().to_string());
        let request = self.client.get(url).timeout(wait.saturating_add(ANSWER));
        decode_changes(&self.send(request).await?)
    }

    /// A refused key is "out of reach" here: once an operator has put the key right, the batch can be taken.
    /// Only a batch that can never be taken is refused.
    async fn usage(&self, batch: &UsageBatch) -> Result<(), OriginError> {
        self.post("/v1/edge/usage", batch).await.map_err(Refusal::of_message)
    }

    async fn report(&self, report: &EdgeReport) -> Result<(), OriginError> {
        Ok(self.post("/v1/edge/report", report).await?)
    }
}

/// The answer to `/v1/edge/changes`.
pub(crate) fn decode_changes(body: &[u8]) -> Result<Batch, OriginError> {
    serde_json::from_slice(body).map_err(|error| {
        OriginError::Unavailable(format!("the answer to /v1/edge/changes is not understood: {error}"))
    })
}

fn parse_base(text: &str) -> Result<Url, HttpOriginError> {
    let wrong = |reason: &str| {
        let shown = if text.contains('@') { "…" } else { text };
        HttpOriginError::Url { url: shown.to_owned(), reason: reason.to_owned() }
    };
    let url = Url::parse(text.trim()).map_err(|error| wrong(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it has a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it has a query or a fragment"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(HttpOriginError::Cleartext(text.to_owned())),
        _ => Err(wrong("it begins neither with https:// nor with http://")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn authorities(pem: &[u8]) -> Result<Vec<Certificate>, HttpOriginError> {
    let found =
        Certificate::from_pem_bundle(pem).map_err(|error| HttpOriginError::Ca(answer::chain(&error)))?;
    if found.is_empty() {
        Err(HttpOriginError::Ca("it has no BEGIN CERTIFICATE".to_owned()))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
