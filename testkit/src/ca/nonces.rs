//! Replay protection (RFC 8555 §6.5): each nonce is good once. Old ones that nobody used are forgotten.

use std::collections::{HashSet, VecDeque};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine as _};
use rand::RngExt as _;
use rand::rngs::StdRng;

/// Most nonces that are remembered; with more, the oldest is refused.
const KEPT: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Nonces {
    good: HashSet<[u8; 16]>,
    given: VecDeque<[u8; 16]>,
}

impl Nonces {
    pub(super) fn give(&mut self, chance: &mut StdRng) -> String {
        let nonce: [u8; 16] = chance.random();
        self.good.insert(nonce);
        self.given.push_back(nonce);
        if self.given.len() > KEPT
            && let Some(oldest) = self.given.pop_front()
        {
            self.good.remove(&oldest);
        }
        BASE64URL.encode(nonce)
    }

    /// Whether the nonce was good; it is not any more.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let bytes = BASE64URL.decode(text).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        bytes.is_some_and(|nonce| self.good.remove(&nonce))
    }
}
