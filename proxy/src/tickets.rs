//! TLS session tickets that any edge resumes (RFC 5077 §4, RFC 8446 §4.6.1): stateless, under shared keys.
//!
//! A ticket is `key name (16) | nonce (12) | AES-256-GCM (moment of issue (8) | session) | tag (16)`, the name
//! authenticated. The newest key encrypts, all that the feed told are accepted; an edge without its control
//! plane goes on with those it has. Nonces are 96 random bits: one key is good for 2^32 tickets (NIST
//! SP 800-38D §8.3), or 149,000 a second over all edges for the eight hours that it is the newest. Until the
//! first key arrives, tickets are under a key of this process.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use model::id::TicketKeyId;
use model::seal::{SealError, SealingKey};
use model::ticket::{KEPT, LIFETIME, TicketKey};
use model::{Clock, Timestamp};
use rustls::server::ProducesTickets;

const NAME_BYTES: usize = 16;
const MOMENT_BYTES: usize = 8;

type Name = [u8; NAME_BYTES];

/// The keys of one edge.
pub(crate) struct Tickets {
    /// The newest first. Order of arrival, not of ids or times: the feed tells keys in the order in which
    /// they were made, whatever a clock says.
    keys: ArcSwap<Vec<Arc<Key>>>,
    /// What there is before the first key.
    local: Arc<dyn ProducesTickets>,
    sealing_key: SealingKey,
    clock: Arc<dyn Clock>,
}

struct Key {
    id: TicketKeyId,
    name: Name,
    cipher: LessSafeKey,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TicketError {
    /// The secret does not open.
    #[error("its secret does not open: {0}")]
    Sealed(#[from] SealError),
    /// The secret is of the wrong length.
    #[error("its secret is no AES-256 key")]
    Form,
}

impl Tickets {
    /// None but `local`; the secrets of those that come open with `sealing_key`.
    pub(crate) fn new(
        local: Arc<dyn ProducesTickets>,
        sealing_key: SealingKey,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { keys: ArcSwap::default(), local, sealing_key, clock }
    }

    /// Encrypts with `key` from now on, unless it is there already. Changes come one at a time.
    ///
    /// # Errors
    /// [`TicketError`], which never tells anything of the secret.
    pub(crate) fn put(&self, key: &TicketKey) -> Result<(), TicketError> {
        let keys = self.keys.load();
        if keys.iter().any(|there| there.id == key.id) {
            return Ok(());
        }
        let secret = self.sealing_key.open(&TicketKey::key_context(key.id), &key.key)?;
        let cipher = UnboundKey::new(&AES_256_GCM, &secret).map_err(|_| TicketError::Form)?;
        let key = Key { id: key.id, name: name(key.id), cipher: LessSafeKey::new(cipher) };
        let kept = std::iter::once(Arc::new(key)).chain(keys.iter().cloned()).take(KEPT).collect();
        self.keys.store(Arc::new(kept));
        Ok(())
    }

    /// Accepts tickets of this key no longer.
    pub(crate) fn remove(&self, id: TicketKeyId) {
        let kept = self.keys.load().iter().filter(|key| key.id != id).cloned().collect();
        self.keys.store(Arc::new(kept));
    }

    /// Those there are.
    pub(crate) fn ids(&self) -> Vec<TicketKeyId> {
        self.keys.load().iter().map(|key| key.id).collect()
    }
}

/// Tells which key a ticket is of. Says nothing of the secret, which the id does not depend on.
fn name(id: TicketKeyId) -> Name {
    let hash = digest(&SHA256, id.to_string().as_bytes());
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

impl Key {
    fn encrypt(&self, plain: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut text = Vec::with_capacity(MOMENT_BYTES + plain.len() + AES_256_GCM.tag_len());
        text.extend_from_slice(&now.unix_millis().to_be_bytes());
        text.extend_from_slice(plain);
        let (aad, nonce_once) = (Aad::from(self.name), Nonce::assume_unique_for_key(nonce));
        self.cipher.seal_in_place_append_tag(nonce_once, aad, &mut text).ok()?;
        Some([&self.name[..], &nonce, &text].concat())
    }

    fn decrypt(&self, nonce: [u8; NONCE_LEN], text: &[u8], now: Timestamp) -> Option<Vec<u8>> {
        let mut text = text.to_vec();
        let (aad, nonce) = (Aad::from(self.name), Nonce::assume_unique_for_key(nonce));
        let plain = self.cipher.open_in_place(nonce, aad, &mut text).ok()?;
        let (moment, session) = plain.split_first_chunk::<MOMENT_BYTES>()?;
        let issued = Timestamp::from_unix_millis(i64::from_be_bytes(*moment));
        (now.since(issued) <= LIFETIME).then(|| session.to_vec())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// Seconds.
    fn lifetime(&self) -> u32 {
        match self.keys.load().is_empty() {
            true => self.local.lifetime(),
            false => u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX),
        }
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        match self.keys.load().first() {
            Some(key) => key.encrypt(plain, self.clock.now()),
            None => self.local.encrypt(plain),
        }
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        if keys.is_empty() {
            return self.local.decrypt(ticket);
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = keys.iter().find(|key| key.name == *name)?;
        key.decrypt(*nonce, text, self.clock.now())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.ids()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
