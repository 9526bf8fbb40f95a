//! Who sent a request: its nonce, its address and its signature (RFC 8555 §6.2 to §6.5).

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use serde_json::Value;

use super::jws::{Envelope, Jwk, Signer};
use super::problem::Problem;
use super::route::Route;
use super::state::State;

/// A request whose signature was verified.
pub(super) struct Signed {
    /// None: signed with a key that is written in it.
    pub(super) account: Option<u64>,
    pub(super) key: Jwk,
    /// Null: the request only asks.
    pub(super) payload: Value,
}

impl State {
    /// Refuses what is not signed as it must be; its nonce is used up all the same.
    pub(super) fn verify(&mut self, route: &Route<'_>, request: &Request<Bytes>) -> Result<Signed, Problem> {
        let is_jose = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/jose+json");
        if !is_jose {
            let problem = Problem::malformed("Content-Type must be application/jose+json");
            return Err(Problem { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, ..problem });
        }
        let envelope = Envelope::parse(request.body())?;
        if !envelope.nonce.as_deref().is_some_and(|nonce| self.nonces.take(nonce)) {
            return Err(bad_nonce());
        }
        let asked = format!("{}{}", self.base, request.uri().path());
        if envelope.url != asked {
            let detail =
                format!("JWS header parameter `url` is {:?}, the request's is {asked:?}", envelope.url);
            return Err(Problem::unauthorized(detail));
        }
        let (account, key) = match &envelope.signer {
            Signer::Key(key) if matches!(route, Route::NewAccount | Route::RevokeCert) => (None, key.clone()),
            Signer::Key(_) => return Err(Problem::malformed("`kid` must be given, not `jwk`")),
            Signer::Id(_) if matches!(route, Route::NewAccount) => {
                return Err(Problem::malformed("`jwk` must be given, not `kid`"));
            }
            Signer::Id(kid) => {
                let (id, key) = self.account_at(kid)?;
                (Some(id), key)
            }
        };
        envelope.verify(&key)?;
        Ok(Signed { account, key, payload: envelope.json()? })
    }

    fn account_at(&self, url: &str) -> Result<(u64, Jwk), Problem> {
        let id = url.strip_prefix(&self.url("account/")).and_then(|id| id.parse().ok());
        let found = id.and_then(|id| self.accounts.get(id).map(|account| (id, account)));
        let (id, account) =
            found.ok_or_else(|| Problem::new("accountDoesNotExist", format!("Account {url:?} not found")))?;
        if account.is_active {
            Ok((id, account.key.clone()))
        } else {
            Err(Problem::unauthorized("account is deactivated"))
        }
    }
}

pub(super) fn bad_nonce() -> Problem {
    Problem::new("badNonce", "JWS has an invalid anti-replay nonce")
}
