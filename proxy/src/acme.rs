//! http-01 answers (RFC 8555 §8.3), given on any listener before any redirect or rule. Those of tls-alpn-01 are
//! given in the handshake: [`alpn`].
//!
//! A token that this edge does not know goes on to the app, which may prove names in its own way. Refuses
//! nothing, reads memory only.

pub(crate) mod alpn;

use bytes::Bytes;
use http::Method;
use model::Host;
use model::acme::{ChallengeKind, HTTP01_PREFIX};
use pingora_http::RequestHeader;

use crate::state::State;

/// The answer, if the request asks for one that is held for its host.
pub(crate) fn answer(head: &RequestHeader, host: &Host, state: &State) -> Option<Bytes> {
    let token = head.uri.path().strip_prefix(HTTP01_PREFIX)?;
    if head.method != Method::GET {
        return None;
    }
    let challenge = state.challenge(token)?;
    let is_held = challenge.kind == ChallengeKind::Http01
        && challenge.host == *host
        && challenge.expires_at > state.clock.now();
    is_held.then(|| Bytes::copy_from_slice(challenge.key_authorization.as_bytes()))
}
