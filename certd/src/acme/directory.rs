//! What an authority offers (RFC 8555 §7.1.1, RFC 9773 §4.1, profiles), asked for beside the library, which keeps it
//! to itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use instant_acme::{BodyWrapper, Error, HttpClient as _, Problem};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::transport::Recorder;

/// Who we are, as RFC 8555 §6.1 wants every client to say.
const USER_AGENT: &str = concat!("stoa/", env!("CARGO_PKG_VERSION"));

/// Addresses of an authority, and what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Directory {
    pub(crate) new_nonce: String,
    pub(crate) new_account: String,
    /// Where an account gets another key; none: it has one for ever.
    #[serde(default)]
    pub(crate) key_change: Option<String>,
    /// Where renewal windows are asked for; none: it has none.
    #[serde(default)]
    pub(crate) renewal_info: Option<String>,
    #[serde(default)]
    pub(crate) meta: Meta,
    /// As it was sent.
    #[serde(skip)]
    pub(super) text: Bytes,
}

impl Directory {
    /// Asks for the one at `url`.
    ///
    /// # Errors
    /// As [`Answered::json`].
    pub(super) async fn ask(http: &Recorder, url: &str) -> Result<Self, Error> {
        let answer = ask(http, Method::GET, url).await?;
        Ok(Self { text: answer.body.clone(), ..answer.json()? })
    }
}

/// What an authority says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    /// Kinds of certificates, by name.
    #[serde(default)]
    pub(crate) profiles: BTreeMap<String, serde_json::Value>,
    /// Names that a domain's CAA records allow it by (RFC 8659).
    #[serde(default)]
    pub(crate) caa_identities: Vec<String>,
    /// Whether accounts are bound to one that was made elsewhere.
    #[serde(default)]
    pub(crate) external_account_required: bool,
}

/// An answer that was read to its end.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Answered {
    /// The JSON of a good answer.
    ///
    /// # Errors
    /// [`Error::Api`] with what the authority says, [`Error::Json`] if that is no JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.good()?;
        serde_json::from_slice(&self.body).map_err(Error::Json)
    }

    /// # Errors
    /// As [`Self::json`].
    pub(super) fn good(&self) -> Result<(), Error> {
        if self.status.is_success() {
            return Ok(());
        }
        let problem: Problem = serde_json::from_slice(&self.body).map_err(Error::Json)?;
        Err(Error::Api(problem))
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.to_owned())
    }
}

/// Sends a request without a body.
pub(super) async fn ask(http: &Recorder, method: Method, url: &str) -> Result<Answered, Error> {
    send(http, Request::builder().method(method).uri(url), BodyWrapper::default()).await
}

/// Sends a signed request (RFC 8555 §6.2).
pub(super) async fn post(http: &Recorder, url: &str, jws: Vec<u8>) -> Result<Answered, Error> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(http::header::CONTENT_TYPE, "application/jose+json");
    send(http, request, jws.into()).await
}

async fn send(
    http: &Recorder,
    request: http::request::Builder,
    body: BodyWrapper<Bytes>,
) -> Result<Answered, Error> {
    let request = request.header(http::header::USER_AGENT, USER_AGENT).body(body)?;
    let mut answer = http.request(request).await?;
    let body = answer.body.into_bytes().await.map_err(Error::Other)?;
    Ok(Answered { status: answer.parts.status, headers: answer.parts.headers, body })
}
