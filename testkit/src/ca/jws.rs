//! Signed requests: flattened JSON Web Signatures with ES256, and HS256 for external accounts (RFC 8555 §6.2,
//! §7.3.4; RFC 7515). RSA and Ed25519 account keys are deliberately absent: no client of ours has them.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine as _};
use serde_json::Value;

use super::problem::Problem;

/// Length of a coordinate on P-256.
const COORDINATE: usize = 32;

/// A P-256 public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jwk {
    /// The uncompressed point.
    point: Vec<u8>,
    /// Its thumbprint (RFC 7638), base64url.
    pub(super) thumbprint: String,
}

impl Jwk {
    pub(super) fn parse(jwk: &Value) -> Result<Self, Problem> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
        if (text("kty"), text("crv")) != ("EC", "P-256") {
            return Err(Problem::new("badPublicKey", "the account key must be EC on P-256"));
        }
        let (x, y) = (text("x"), text("y"));
        let mut point = vec![4];
        for coordinate in [x, y] {
            let bytes = decode(coordinate, "a coordinate of the key")?;
            if bytes.len() != COORDINATE {
                return Err(Problem::new("badPublicKey", "a coordinate of the key has the wrong length"));
            }
            point.extend(bytes);
        }
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let thumbprint = BASE64URL.encode(digest(&SHA256, canonical.as_bytes()));
        Ok(Self { point, thumbprint })
    }

    /// Whether a certificate request's public key, an uncompressed point if it is on P-256, is this one.
    pub(super) fn has_point(&self, point: &[u8]) -> bool {
        self.point == point
    }
}

/// Who says that he signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signer {
    /// Whoever has this key.
    Key(Jwk),
    /// The account at this address, or an external account's id.
    Id(String),
}

/// A signed message, not verified yet.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) alg: String,
    pub(super) nonce: Option<String>,
    pub(super) url: String,
    pub(super) signer: Signer,
    /// Empty: the request only asks (POST-as-GET).
    pub(super) payload: Vec<u8>,
    input: String,
    signature: Vec<u8>,
}

impl Envelope {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let json: Value =
            serde_json::from_slice(body).map_err(|_| Problem::malformed("the request is no JSON"))?;
        Self::of(&json)
    }

    pub(super) fn of(json: &Value) -> Result<Self, Problem> {
        let part = |name: &str| {
            let text = json.get(name).and_then(Value::as_str);
            text.ok_or_else(|| Problem::malformed(format!("the JWS has no `{name}`")))
        };
        let (protected, payload) = (part("protected")?, part("payload")?);
        let header: Value = serde_json::from_slice(&decode(protected, "protected")?)
            .map_err(|_| Problem::malformed("the protected header is no JSON"))?;
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        let signer = match (header.get("jwk"), text("kid")) {
            (Some(jwk), None) => Signer::Key(Jwk::parse(jwk)?),
            (None, Some(kid)) => Signer::Id(kid),
            _ => return Err(Problem::malformed("exactly one of `jwk` and `kid` must be given")),
        };
        Ok(Self {
            alg: text("alg").unwrap_or_default(),
            nonce: text("nonce"),
            url: text("url").unwrap_or_default(),
            signer,
            payload: decode(payload, "payload")?,
            input: format!("{protected}.{payload}"),
            signature: decode(part("signature")?, "signature")?,
        })
    }

    /// Whether the holder of `key` signed.
    pub(super) fn verify(&self, key: &Jwk) -> Result<(), Problem> {
        if self.alg != "ES256" {
            let detail = format!("signature algorithm `{}` is not taken: use ES256", self.alg);
            return Err(Problem::new("badSignatureAlgorithm", detail));
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.point)
            .verify(self.input.as_bytes(), &self.signature)
            .map_err(|_| Problem::malformed("JWS verification error"))
    }

    /// Whether the holder of a shared secret signed.
    pub(super) fn verify_shared(&self, secret: &[u8]) -> Result<(), Problem> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let sound = self.alg == "HS256" && hmac::verify(&key, self.input.as_bytes(), &self.signature).is_ok();
        if sound {
            Ok(())
        } else {
            Err(Problem::unauthorized("the external account binding is not signed with its key"))
        }
    }

    /// The payload as JSON; null if it is empty.
    pub(super) fn json(&self) -> Result<Value, Problem> {
        if self.payload.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.payload).map_err(|_| Problem::malformed("the payload is no JSON"))
    }
}

pub(super) fn decode(text: &str, what: &str) -> Result<Vec<u8>, Problem> {
    BASE64URL.decode(text).map_err(|_| Problem::malformed(format!("{what} is not base64url")))
}
