//! JSON over HTTP with a credential: what the providers' APIs have in common. Every request ends, every answer
//! is bounded, and no credential can be printed.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use model::Host;
use model::secret::Secret;
use serde_json::Value;

use super::error::{AdapterError, Fault, Provider};
use crate::https::{self, Clear, Finder, TOTAL};
use crate::{CertdError, Guard};

/// Largest answer that is read: PowerDNS gives a zone in one piece, some 100 bytes a record.
const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// The same from a server that a stranger names.
const MAX_STRANGE_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Longest text of a provider that is kept: it is shown to people.
const MAX_REASON: usize = 300;
/// The longest wait that a provider may ask for.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// One zone's API.
pub(super) struct Api {
    client: Client<HttpsConnector<HttpConnector<Finder>>, Full<Bytes>>,
    max_body_bytes: usize,
    base: String,
    header: (HeaderName, HeaderValue),
    pub(super) provider: Provider,
    pub(super) zone: Host,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.provider, self.base, self.zone)
    }
}

/// Where an API is and what opens it.
#[derive(Debug)]
pub(super) struct Door<'a> {
    /// `https://…`, or `http://` on this machine.
    pub(super) url: &'a str,
    /// PEM file with trust anchors beside the system's.
    pub(super) ca_file: Option<&'a Path>,
    pub(super) header: HeaderName,
    /// `Bearer`, for one.
    pub(super) scheme: Option<&'static str>,
    pub(super) secret: &'a Secret,
    /// Set if a stranger gave the address.
    pub(super) guard: Option<&'a Guard>,
}

impl<'a> Door<'a> {
    /// A token in `Authorization` (RFC 6750).
    pub(super) fn bearer(url: &'a str, token: &'a Secret) -> Self {
        Self { url, ca_file: None, header: AUTHORIZATION, scheme: Some("Bearer"), secret: token, guard: None }
    }
}

/// What a provider said, with a status that the adapter looks at.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Null if there was none, a text if it was no JSON.
    pub(super) body: Value,
}

impl Api {
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used.
    pub(super) fn new(provider: Provider, zone: Host, door: &Door<'_>) -> Result<Self, CertdError> {
        let base = door.url.trim_end_matches('/').to_owned();
        let clear = match door.guard {
            None => clear(&base),
            Some(guard) => clear_by(guard, &base),
        };
        let clear = clear.ok_or_else(|| {
            let text = format!("{provider}'s address `{base}` must be https://, or http:// on this machine");
            CertdError::Settings(text)
        })?;
        let secret = door.scheme.map(|scheme| format!("{scheme} {}", door.secret.reveal()));
        let secret = Secret::new(secret.unwrap_or_else(|| door.secret.reveal().to_owned()));
        let mut value = HeaderValue::from_str(secret.reveal().trim()).map_err(|_| {
            CertdError::Settings(format!(
                "the credential for {provider} has a character that no header can have"
            ))
        })?;
        value.set_sensitive(true);
        let (finder, max_body_bytes) = match door.guard {
            None => (Finder::system(), MAX_BODY_BYTES),
            Some(guard) => (Finder::Guarded(guard.clone()), MAX_STRANGE_BODY_BYTES),
        };
        let anchors = door.ca_file.map(|path| ("the provider's CA file", path));
        let connector = https::connector_by(finder, anchors, clear)?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, max_body_bytes, base, header: (door.header.clone(), value), provider, zone })
    }

    pub(super) fn fails(&self, fault: Fault) -> AdapterError {
        AdapterError { provider: self.provider, zone: self.zone.clone(), fault }
    }

    pub(super) fn nonsense(&self, reason: impl Into<String>) -> AdapterError {
        self.fails(Fault::Nonsense { reason: reason.into() })
    }

    /// Asks; what every provider means by the same status is an error already, the rest is an answer.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, AdapterError> {
        let (parts, bytes) = tokio::time::timeout(TOTAL, self.send(method, path, body))
            .await
            .unwrap_or_else(|_| Err(self.away(format!("no answer within {} s", TOTAL.as_secs()))))?;
        let text = String::from_utf8_lossy(&bytes);
        let json = serde_json::from_slice(&bytes).ok();
        let is_json = json.is_some() || bytes.is_empty();
        let body =
            json.unwrap_or_else(|| if bytes.is_empty() { Value::Null } else { text.into_owned().into() });
        let status = parts.status;
        let reason = || reason(status, &body);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.fails(Fault::Credential { reason: reason() }))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                Err(self.fails(Fault::Limited { retry_after: retry_after(&parts.headers) }))
            }
            status if status.is_server_error() => Err(self.away(reason())),
            status if status.is_success() && !is_json => Err(self.nonsense("it is not JSON")),
            status => Ok(Answer { status, body }),
        }
    }

    /// An answer that says no.
    pub(super) fn refused(&self, answer: &Answer) -> AdapterError {
        self.fails(Fault::Refused { reason: reason(answer.status, &answer.body) })
    }

    fn away(&self, reason: String) -> AdapterError {
        self.fails(Fault::Away { reason })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(http::response::Parts, Bytes), AdapterError> {
        let sent = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(self.header.0.clone(), self.header.1.clone())
            .header("accept", "application/json")
            .header("user-agent", concat!("stoa/", env!("CARGO_PKG_VERSION")));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(sent)).map_err(|error| self.nonsense(error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| self.away(with_cause(&error)))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, self.max_body_bytes).collect().await;
        let body = body.map_err(|error| self.nonsense(format!("it breaks off, or is too long: {error}")))?;
        Ok((parts, body.to_bytes()))
    }
}

/// Whether the address may be without TLS; none: it is no address that is taken.
fn clear(base: &str) -> Option<Clear> {
    let uri: Uri = base.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str()? {
        "https" => Some(Clear::Never),
        "http" if here => Some(Clear::ToThisMachine),
        _ => None,
    }
}

/// The same for an address that a stranger gave. What is written as an address is not looked up by anybody, so it is
/// checked here; without TLS only an address is taken that the operator lets creators reach.
fn clear_by(guard: &Guard, base: &str) -> Option<Clear> {
    let uri: Uri = base.parse().ok()?;
    let literal = uri.host()?.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    match (uri.scheme_str()?, literal) {
        ("https", None) => Some(Clear::Never),
        ("https", Some(address)) => guard.admits(address).then_some(Clear::Never),
        ("http", Some(address)) => guard.is_allowed(address).then_some(Clear::ToThisMachine),
        _ => None,
    }
}

/// The provider's own words, wherever it puts them, in at most [`MAX_REASON`] characters.
fn reason(status: StatusCode, body: &Value) -> String {
    let said = ["/errors/0/message", "/error", "/message"]
        .iter()
        .find_map(|place| body.pointer(place).and_then(Value::as_str))
        .or_else(|| body.as_str().filter(|text| !text.trim_start().starts_with('<')));
    let text =
        said.map_or_else(|| status.to_string(), |said| format!("{}: {}", status.as_u16(), said.trim()));
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

/// In seconds, as the providers here send it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

fn with_cause(error: &dyn std::error::Error) -> String {
    let last = std::iter::successors(error.source(), |cause| cause.source()).last();
    last.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_tls_is_taken_on_this_machine_only() {
        assert_eq!(clear("https://api.example.com"), Some(Clear::Never));
        for here in ["http://127.0.0.1:8081", "http://localhost:8081", "http://[::1]:8081"] {
            assert_eq!(clear(here), Some(Clear::ToThisMachine), "{here}");
        }
        for refused in
            ["http://10.0.0.1:8081", "http://dns.example.com", "ftp://localhost", "localhost:80", ""]
        {
            assert_eq!(clear(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_credential_is_never_printed() {
        testing_provider();
        let (zone, secret) = (Host::parse("example.com").unwrap(), Secret::new("hunter2".to_owned()));
        let door = Door::bearer("http://127.0.0.1:1", &secret);
        let api = Api::new(Provider::DigitalOcean, zone, &door).unwrap();
        assert!(!format!("{api:?}").contains("hunter2"));
        assert!(!format!("{door:?}").contains("hunter2"));
        assert!(!format!("{:?}", api.header).contains("hunter2"));
    }

    fn testing_provider() {
        testkit::tls::install_provider();
    }
}
