//! Domain Connect (draft-ietf-dconn-domainconnect-02): a link with which a creator lets their provider set the records.
//!
//! The zone says where its provider can be asked, so a stranger says whom we ask: only the public internet is asked, at
//! the addresses that were checked, without redirects, for at most [`TIMEOUT`] in all; whatever goes wrong means that
//! there is no link, and the records are set by hand. The link is signed, so that a provider knows that it is ours.
//! Deliberately absent: the asynchronous flow (OAuth), and any trust in whoever comes back from a link.

mod template;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use model::Host;
use model::domain::{PROOF_PREFIX, Target};
use model::secret::Secret;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use store::DomainRecord;
use tokio::time::{Instant, timeout};

use crate::dns::{Kind, Lookup, Value};
use crate::https::{Clear, Finder, connector_by};
use crate::{CertdError, Guard};

pub use template::Templates;

/// How long everything may take: a creator waits.
pub const TIMEOUT: Duration = Duration::from_secs(4);
/// How long it is believed what was found out about a zone: whoever asks again and again makes us ask once.
pub const BELIEVED: Duration = Duration::from_secs(30);
/// Most zones of which that is kept.
const MAX_BELIEVED: usize = 1024;
/// Longest answer that is read.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Longest name of a provider that is shown, in characters.
const MAX_NAME: usize = 60;
/// Where a zone says who can be asked.
const LABEL: &str = "_domainconnect";
/// Longest part of a public key in one TXT record (RFC 1035 §3.3.14: 255 bytes with what stands before it).
const KEY_PART: usize = 220;

/// Who we are to providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Our id in the templates, a domain of ours; the public key is published below it.
    pub provider_id: Host,
    /// Label of the TXT records with the public key.
    pub key_host: String,
    /// RSA private key, PKCS #8 PEM.
    pub signing_key: Secret,
    /// Where browsers come back to: the API's `/v1/connect/return`, as they reach it.
    pub return_url: String,
    /// PEM file with trust anchors of providers beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Makes links.
pub struct Consents {
    service: Service,
    key: RsaKeyPair,
    guard: Guard,
    lookup: Arc<dyn Lookup>,
    believed: Mutex<HashMap<Question, (Instant, Answer)>>,
}

/// What is asked about: a zone, and the service of our template for it.
type Question = (Host, &'static str);

/// What was found out about it.
type Answer = Result<Page, NoLink>;

/// Where links for a zone lead.
#[derive(Debug, Clone)]
struct Page {
    /// All of the address but the query.
    url: String,
    provider: String,
}

/// A link for a creator's browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// At the provider.
    pub url: String,
    /// Its name.
    pub provider: String,
}

/// Why there is no link: the records are set by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLink {
    /// The zone names nobody, or nobody who can be asked.
    #[error("{0}")]
    NotOffered(String),
    /// The provider does not know our template.
    #[error("`{0}` does not know the template `{1}`")]
    Unknown(String, &'static str),
    /// It took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Slow,
}

/// What a provider says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    provider_name: String,
    provider_display_name: Option<String>,
    #[serde(rename = "urlSyncUX")]
    url_sync_ux: Option<String>,
    #[serde(rename = "urlAPI")]
    url_api: String,
}

impl std::fmt::Debug for Consents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consents").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Service {
    /// The key pair.
    ///
    /// # Errors
    /// [`CertdError::Settings`], never with the key.
    fn key(&self) -> Result<RsaKeyPair, CertdError> {
        let unusable = || {
            let what = "is no RSA private key of 2048 to 4096 bits in PKCS #8 PEM";
            CertdError::Settings(format!("connect.signing_key {what}: openssl genrsa 2048 makes one"))
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(self.signing_key.reveal().as_bytes());
        let der = der.map_err(|_| unusable())?;
        RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| unusable())
    }

    /// The TXT records with the public key, at [`Self::key_host`] below the provider id.
    ///
    /// # Errors
    /// As [`Consents::new`].
    pub fn key_records(&self) -> Result<Vec<String>, CertdError> {
        use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
        let key = self.key()?;
        let der: PublicKeyX509Der<'_> = key
            .public_key()
            .as_der()
            .map_err(|_| CertdError::Settings("connect.signing_key has no public key".to_owned()))?;
        let text = BASE64_STANDARD.encode(der.as_ref());
        let parts = text.as_bytes().chunks(KEY_PART).map(String::from_utf8_lossy);
        Ok((1..).zip(parts).map(|(number, part)| format!("p={number},a=RS256,d={part}")).collect())
    }
}

impl Consents {
    /// One that looks names up with `lookup` and goes where `guard` lets it.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used.
    pub fn new(service: Service, guard: Guard, lookup: Arc<dyn Lookup>) -> Result<Self, CertdError> {
        let sound = service.return_url.parse::<Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("https") && uri.host().is_some() && uri.query().is_none()
        });
        if !sound {
            let text =
                format!("connect.return_url `{}` must be https:// without a query", service.return_url);
            return Err(CertdError::Settings(text));
        }
        Ok(Self { key: service.key()?, service, guard, lookup, believed: Mutex::default() })
    }

    /// A link for a domain, if its zone's provider can be asked and knows us; `state` comes back with the browser.
    ///
    /// # Errors
    /// [`NoLink`]; within [`TIMEOUT`]. What was found out is believed for [`BELIEVED`].
    pub async fn link(&self, domain: &DomainRecord, state: &str) -> Result<Link, NoLink> {
        let none = |what: &str| NoLink::NotOffered(what.to_owned());
        let host =
            domain.host.exact().ok_or_else(|| none("records for many names at once are set by hand"))?;
        let registered = || psl::domain_str(host.as_str()).and_then(|name| Host::parse(name).ok());
        let zone = domain.facts.authority.zone.clone().filter(|zone| host.is_within(zone));
        let zone = zone.or_else(registered).ok_or_else(|| none("nobody can tell its zone"))?;
        let service = if *host == zone { "site-apex" } else { "site" };
        let page = self.page(&(zone.clone(), service)).await?;
        let query = self.signed(&query((&self.service, state), &zone, host, &domain.target))?;
        Ok(Link { url: format!("{}?{query}", page.url), provider: page.provider })
    }

    /// Where links lead, as it is believed or was just found out.
    async fn page(&self, question: &Question) -> Result<Page, NoLink> {
        let believed = || self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = believed().get(question).filter(|(until, _)| Instant::now() < *until).cloned();
        if let Some((_, known)) = known {
            return known;
        }
        let found = timeout(TIMEOUT, self.find(question)).await.unwrap_or(Err(NoLink::Slow));
        let (now, mut believed) = (Instant::now(), believed());
        believed.retain(|_, (until, _)| now < *until);
        if believed.len() < MAX_BELIEVED {
            believed.insert(question.clone(), (now + BELIEVED, found.clone()));
        }
        found
    }

    async fn find(&self, (zone, service): &Question) -> Result<Page, NoLink> {
        let none = |what: &str| NoLink::NotOffered(what.to_owned());
        let place = self.place(zone).await?;
        let (status, body) = self.get(&format!("https://{place}/v2/{zone}/settings")).await?;
        if !status.is_success() {
            return Err(NoLink::NotOffered(format!("`{place}` does not keep `{zone}`: {status}")));
        }
        let found: Found = serde_json::from_slice(&body)
            .map_err(|error| NoLink::NotOffered(format!("`{place}` answers nonsense: {error}")))?;
        let sync = found
            .url_sync_ux
            .as_deref()
            .and_then(prefix)
            .ok_or_else(|| none("it has no pages for consent"))?;
        let api = prefix(&found.url_api).ok_or_else(|| none("it has no API"))?;
        let template =
            format!("/v2/domainTemplates/providers/{}/services/{service}", self.service.provider_id);
        let (status, _) = self.get(&format!("{api}{template}")).await?;
        if !status.is_success() {
            return Err(NoLink::Unknown(place, service));
        }
        let name = found.provider_display_name.unwrap_or(found.provider_name);
        let provider = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
        Ok(Page { url: format!("{sync}{template}/apply"), provider })
    }

    /// Where the zone's provider can be asked: a host, perhaps a port and a path.
    async fn place(&self, zone: &Host) -> Result<String, NoLink> {
        let texts = self.lookup.records(&format!("{LABEL}.{zone}"), Kind::Txt).await;
        let texts = texts.map_err(|error| NoLink::NotOffered(error.to_string()))?;
        let text =
            texts.into_iter().find_map(|value| if let Value::Text(text) = value { Some(text) } else { None });
        let text = text.ok_or_else(|| NoLink::NotOffered(format!("`{zone}` names nobody")))?;
        let place = text.trim().trim_end_matches('/').to_ascii_lowercase();
        let written = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'/' | b'[' | b']')
        };
        let sound = place.len() <= 253
            && place.bytes().all(written)
            && !place.starts_with('/')
            && !place.contains("..");
        if sound { Ok(place) } else { Err(NoLink::NotOffered(format!("`{zone}` names no host"))) }
    }

    /// One answer of at most [`MAX_BODY_BYTES`]; a redirect is one that says no.
    async fn get(&self, url: &str) -> Result<(StatusCode, Bytes), NoLink> {
        let away = |what: String| NoLink::NotOffered(what);
        let uri: Uri = url.parse().map_err(|_| away("its address is none".to_owned()))?;
        let host = uri.host().ok_or_else(|| away("its address has no host".to_owned()))?.to_owned();
        // An address in place of a name is looked up by nobody, so it is checked here.
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            self.guard.addresses(&host).await.map_err(|error| away(error.to_string()))?;
        }
        let anchors = self.service.ca_file.as_deref().map(|path| ("connect.ca_file", path));
        let connector = connector_by(Finder::Guarded(self.guard.clone()), anchors, Clear::Never);
        let connector = connector.map_err(|error| away(error.to_string()))?;
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let request = Request::get(uri)
            .header("accept", "application/json")
            .header("user-agent", concat!("stoa/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| away(error.to_string()))?;
        let answer = client.request(request).await.map_err(|error| away(format!("`{host}`: {error}")))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|error| away(format!("`{host}` answers too much: {error}")))?;
        Ok((parts.status, body.to_bytes()))
    }

    /// The query with its signature; that one stands last, as some providers want it.
    fn signed(&self, query: &str) -> Result<String, NoLink> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), query.as_bytes(), &mut signature)
            .map_err(|_| NoLink::NotOffered("the link could not be signed".to_owned()))?;
        let (key, signature) = (encoded(&self.service.key_host), encoded(&BASE64_STANDARD.encode(signature)));
        Ok(format!("{query}&key={key}&sig={signature}"))
    }
}

/// What is signed: the parameters in the order of their names, encoded.
fn query((service, state): (&Service, &str), zone: &Host, host: &Host, target: &Target) -> String {
    let below =
        host.as_str().strip_suffix(zone.as_str()).and_then(|rest| rest.strip_suffix('.')).unwrap_or_default();
    let label = target.cname.as_str().split('.').next().unwrap_or_default();
    let proof = target.proof.strip_prefix(PROOF_PREFIX).unwrap_or(&target.proof);
    let (redirect, domain) = (service.return_url.as_str(), zone.as_str());
    let parameters = match below.is_empty() {
        true => vec![("domain", domain), ("proof", proof), ("redirect_uri", redirect), ("state", state)],
        false => vec![
            ("domain", domain),
            ("host", below),
            ("label", label),
            ("redirect_uri", redirect),
            ("state", state),
        ],
    };
    let pairs: Vec<String> =
        parameters.into_iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// Percent-encoded but for what never needs it (RFC 3986 §2.3).
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// An address that something is put behind: https, a host, perhaps a path.
fn prefix(url: &str) -> Option<&str> {
    let url = url.trim_end_matches('/');
    let uri: Uri = url.parse().ok()?;
    let plain = uri.query().is_none() && !uri.authority()?.as_str().contains('@') && !url.contains('#');
    (uri.scheme_str() == Some("https") && plain).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_encoded_as_the_standard_has_it() {
        assert_eq!(encoded("https://a.test/x?y=1 2+ä"), "https%3A%2F%2Fa.test%2Fx%3Fy%3D1%202%2B%C3%A4");
        assert_eq!(encoded("a-Z.0_9~"), "a-Z.0_9~");
    }

    #[test]
    fn only_plain_addresses_with_tls_are_gone_to() {
        assert_eq!(prefix("https://dc.example.com/path/"), Some("https://dc.example.com/path"));
        for url in
            ["http://a.test", "https://u@a.test", "https://a.test/?x", "https://a.test/#x", "a.test", ""]
        {
            assert_eq!(prefix(url), None, "{url}");
        }
    }
}
