//! A client of a few lines, which says exactly what a test wants.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine as _};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{Method, Request};
use model::Timestamp;
use model::clock::ManualClock;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::super::super::requests::REPLAY_NONCE;
use super::super::super::{Handler, Options, Reply};

pub(super) const BASE: &str = "https://ca.test";
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn start() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// An authority at a standing clock.
pub(super) struct Scene {
    pub(super) authority: Handler,
    pub(super) clock: Arc<ManualClock>,
}

impl Scene {
    pub(super) fn new(options: Options) -> Self {
        crate::tls::install_provider();
        let clock = Arc::new(ManualClock::at(start()));
        let options = Options { clock: clock.clone(), ..options };
        Self { authority: Handler::new(BASE, options).unwrap(), clock }
    }

    /// Somebody with an account.
    pub(super) fn client(&self) -> Client<'_> {
        let mut client = Client::stranger(self);
        let made = client.post("new-account", &json!({ "termsOfServiceAgreed": true }));
        assert_eq!(made.status, 201, "{}", made.body);
        client.kid = made.location;
        client
    }
}

/// What a client reads of an answer.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) text: String,
    pub(super) location: Option<String>,
    pub(super) retry_after: Option<String>,
}

impl Said {
    /// The last part of a problem's type.
    pub(super) fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap_or_default()
    }

    pub(super) fn url(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap().strip_prefix("https://ca.test/").unwrap()
    }
}

pub(super) struct Client<'a> {
    pub(super) scene: &'a Scene,
    pub(super) key: EcdsaKeyPair,
    pub(super) kid: Option<String>,
}

impl<'a> Client<'a> {
    pub(super) fn stranger(scene: &'a Scene) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { scene, key, kid: None }
    }

    pub(super) fn send(&self, method: Method, path: &str, body: Bytes) -> Option<Said> {
        let request = Request::builder().method(method).uri(format!("/{path}"));
        let request = request.header(CONTENT_TYPE, "application/jose+json").body(body).unwrap();
        let Reply::Answer(response) = self.scene.authority.handle(&request) else { return None };
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let text = String::from_utf8(response.body().to_vec()).unwrap();
        Some(Said {
            status: response.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or_default(),
            location: header(LOCATION),
            retry_after: header(RETRY_AFTER),
            text,
        })
    }

    pub(super) fn get(&self, path: &str) -> Said {
        self.send(Method::GET, path, Bytes::new()).unwrap()
    }

    pub(super) fn nonce(&self) -> String {
        let request = Request::head("/new-nonce").body(Bytes::new()).unwrap();
        match self.scene.authority.handle(&request) {
            Reply::Answer(answer) => answer.headers()[REPLAY_NONCE].to_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y) })
    }

    pub(super) fn sign(&self, header: &Value, payload: &str) -> Value {
        let (header, payload) = (BASE64URL.encode(header.to_string()), BASE64URL.encode(payload));
        let input = format!("{header}.{payload}");
        let signature = self.key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        json!({ "protected": header, "payload": payload, "signature": BASE64URL.encode(signature) })
    }

    /// The header of a sound request.
    pub(super) fn header(&self, path: &str) -> Value {
        let url = format!("{BASE}/{path}");
        let nonce = self.nonce();
        match &self.kid {
            Some(kid) => json!({ "alg": "ES256", "kid": kid, "nonce": nonce, "url": url }),
            None => json!({ "alg": "ES256", "jwk": self.jwk(), "nonce": nonce, "url": url }),
        }
    }

    pub(super) fn post_as(&self, header: &Value, path: &str, payload: &str) -> Option<Said> {
        self.send(Method::POST, path, Bytes::from(self.sign(header, payload).to_string()))
    }

    pub(super) fn post(&self, path: &str, payload: &Value) -> Said {
        self.post_as(&self.header(path), path, &payload.to_string()).unwrap()
    }

    pub(super) fn ask(&self, path: &str) -> Said {
        self.post_as(&self.header(path), path, "").unwrap()
    }

    pub(super) fn order_with(&self, names: &[&str], more: Value) -> Said {
        let identifiers: Vec<Value> =
            names.iter().map(|name| json!({ "type": "dns", "value": name })).collect();
        let mut payload = json!({ "identifiers": identifiers });
        for (name, value) in more.as_object().into_iter().flatten() {
            payload[name] = value.clone();
        }
        self.post("new-order", &payload)
    }

    /// Has the http-01 challenges of an order checked, and gives the order again.
    pub(super) fn prove(&self, order: &Said) -> Said {
        for authorization in order.body["authorizations"].as_array().unwrap() {
            let path = authorization.as_str().unwrap().strip_prefix("https://ca.test/").unwrap();
            let challenge = self.ask(path).body["challenges"][0]["url"].as_str().unwrap().to_owned();
            self.post(challenge.strip_prefix("https://ca.test/").unwrap(), &json!({}));
        }
        let path = order.location.as_deref().unwrap().strip_prefix("https://ca.test/").unwrap();
        self.ask(path)
    }

    pub(super) fn finalize(&self, order: &Said, names: &[&str]) -> Said {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
        self.post(order.url("finalize"), &json!({ "csr": BASE64URL.encode(csr.der()) }))
    }

    /// A certificate for names: its chain, PEM.
    pub(super) fn certify(&self, names: &[&str], more: Value) -> Result<String, Said> {
        let order = self.order_with(names, more);
        if order.status != 201 {
            return Err(order);
        }
        let done = self.finalize(&self.prove(&order), names);
        if done.status != 200 {
            return Err(done);
        }
        Ok(self.ask(done.url("certificate")).text)
    }
}

/// The id of RFC 9773 §4.1, from the certificate itself.
pub(super) fn ari_id(chain: &str) -> String {
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&pem.contents).unwrap();
    let key_id = leaf.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(found) => {
            found.key_identifier.as_ref().map(|id| BASE64URL.encode(id.0))
        }
        _ => None,
    });
    format!("{}.{}", key_id.unwrap(), BASE64URL.encode(leaf.raw_serial()))
}

pub(super) fn not_after(chain: &str) -> Timestamp {
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&pem.contents).unwrap();
    Timestamp::from_unix_seconds(leaf.validity().not_after.timestamp())
}
