//! Signed requests (RFC 7515, RFC 8555 §6.2) for what the library does not do: registering a key that was stored
//! before, bound to an external account if the authority wants that, and putting a key that was stored before in the
//! place of another.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::AcmeError;

/// Length of a P-256 coordinate.
const COORDINATE: usize = 32;

/// An account's key.
pub(super) struct Signer {
    pair: EcdsaKeyPair,
    jwk: Value,
}

impl Signer {
    /// From PKCS #8 DER.
    ///
    /// # Errors
    /// [`AcmeError::Crypto`] if it is no P-256 key.
    pub(super) fn new(pkcs8: &[u8]) -> Result<Self, AcmeError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8)
            .map_err(|error| AcmeError::Crypto(format!("the account's key: {error}")))?;
        // An uncompressed point: 4, x, y.
        let point = pair.public_key().as_ref();
        let coordinates = point.split_first().and_then(|(_, xy)| xy.split_at_checked(COORDINATE));
        let (x, y) =
            coordinates.ok_or_else(|| AcmeError::Crypto("the account's key has no point".to_owned()))?;
        let jwk = json!({ "crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y) });
        Ok(Self { pair, jwk })
    }

    /// The public key (RFC 7517).
    pub(super) fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// `payload`, signed by a key that the authority does not know yet.
    ///
    /// # Errors
    /// [`AcmeError::Crypto`] if the system has no randomness.
    pub(super) fn sign(&self, url: &str, nonce: &str, payload: &Value) -> Result<Vec<u8>, AcmeError> {
        self.signed(&json!({ "alg": "ES256", "jwk": self.jwk, "nonce": nonce, "url": url }), payload)
            .map(|jws| jws.to_string().into_bytes())
    }

    /// What asks for `next` in the place of this key, the one of `account` (RFC 8555 §7.3.5).
    ///
    /// # Errors
    /// As [`Self::sign`].
    pub(super) fn hand_over(
        &self,
        next: &Self,
        (url, nonce): (&str, &str),
        account: &str,
    ) -> Result<Vec<u8>, AcmeError> {
        let payload = json!({ "account": account, "oldKey": self.jwk });
        let inner = next.signed(&json!({ "alg": "ES256", "jwk": next.jwk, "url": url }), &payload)?;
        self.signed(&json!({ "alg": "ES256", "kid": account, "nonce": nonce, "url": url }), &inner)
            .map(|jws| jws.to_string().into_bytes())
    }

    fn signed(&self, header: &Value, payload: &Value) -> Result<Value, AcmeError> {
        let (protected, payload) = (encode(header.to_string()), encode(payload.to_string()));
        let signed = format!("{protected}.{payload}");
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .map_err(|error| AcmeError::Crypto(error.to_string()))?;
        Ok(json!({ "protected": protected, "payload": payload, "signature": encode(signature) }))
    }
}

/// What binds the key `jwk` to the account `key_id` that was made elsewhere (RFC 8555 §7.3.4).
pub(super) fn binding(key_id: &str, hmac_key: &[u8], url: &str, jwk: &Value) -> Value {
    let header = json!({ "alg": "HS256", "kid": key_id, "url": url });
    let (protected, payload) = (encode(header.to_string()), encode(jwk.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, hmac_key);
    let tag = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
    json!({ "protected": protected, "payload": payload, "signature": encode(tag) })
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn decode(value: &Value) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
    }

    #[test]
    fn a_signed_request_verifies_by_the_key_in_its_header() {
        let key = rcgen::KeyPair::generate().unwrap();
        let signer = Signer::new(key.serialized_der()).unwrap();
        let url = "https://ca.test/account";
        let jws: Value = serde_json::from_slice(&signer.sign(url, "n", &json!({ "a": 1 })).unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&decode(&jws["protected"])).unwrap();
        assert_eq!(
            (&header["url"], &header["nonce"], &header["alg"]),
            (&url.into(), &"n".into(), &"ES256".into())
        );
        let point = [vec![4], decode(&header["jwk"]["x"]), decode(&header["jwk"]["y"])].concat();
        let signed = format!("{}.{}", jws["protected"].as_str().unwrap(), jws["payload"].as_str().unwrap());
        let verified = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &decode(&jws["signature"]));
        assert_eq!(verified, Ok(()));
    }

    #[test]
    fn a_key_that_is_none_is_an_error() {
        assert!(matches!(Signer::new(b"no key"), Err(AcmeError::Crypto(_))));
    }

    #[test]
    fn a_binding_is_made_with_the_key_of_the_other_account() {
        let jwk = json!({ "kty": "EC" });
        let bound = binding("kid-1", b"secret", "https://ca.test/account", &jwk);
        let header: Value = serde_json::from_slice(&decode(&bound["protected"])).unwrap();
        assert_eq!((&header["alg"], &header["kid"]), (&"HS256".into(), &"kid-1".into()));
        let signed =
            format!("{}.{}", bound["protected"].as_str().unwrap(), bound["payload"].as_str().unwrap());
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        assert!(hmac::verify(&key, signed.as_bytes(), &decode(&bound["signature"])).is_ok());
        assert_eq!(serde_json::from_slice::<Value>(&decode(&bound["payload"])).unwrap(), jwk);
    }
}
