//! Keys of TLS session tickets (RFC 8446 §4.6.1, RFC 5077), which all edges share.
//!
//! The control plane makes one every [`ROTATION`] and keeps [`KEPT`]. An edge encrypts with the newest and
//! accepts all of them, so each ticket is good for its whole [`LIFETIME`] at every edge, and a key that is
//! gone opens nothing that was recorded before.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Timestamp;
use crate::id::TicketKeyId;
use crate::seal::{KeyRing, SealError, Sealed};

/// Time between two keys.
pub const ROTATION: Duration = Duration::from_secs(8 * 3600);
/// How many keys are kept.
pub const KEPT: usize = 3;
/// How long a ticket is good for: as long as the key that it was made with is kept, were it made at the last
/// moment. 16 hours, less than the 24 that are held for the most.
pub const LIFETIME: Duration = Duration::from_secs(16 * 3600);
/// Length of the secret in bytes.
pub const KEY_BYTES: usize = 32;

/// A key with its secret sealed in the context [`TicketKey::key_context`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// Its id.
    pub id: TicketKeyId,
    /// The secret, [`KEY_BYTES`] random bytes, sealed.
    pub key: Sealed,
    /// When it was made.
    pub made_at: Timestamp,
}

impl TicketKey {
    /// A new random key, sealed with what `keys` seals with. Its secret is in the clear only here and where it is used.
    ///
    /// # Errors
    /// [`SealError::Refused`] if the library refuses.
    pub fn generate(now: Timestamp, keys: impl Into<KeyRing>) -> Result<Self, SealError> {
        let id = TicketKeyId::generate(now);
        let secret: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(rand::random());
        let key = keys.into().seal(&Self::key_context(id), secret.as_slice())?;
        Ok(Self { id, key, made_at: now })
    }

    /// The context that a secret is sealed in: moved to another row, it does not open.
    #[must_use]
    pub fn key_context(id: TicketKeyId) -> String {
        format!("ticket-key/{id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_never_outlives_its_key() {
        let others = u32::try_from(KEPT - 1).unwrap();
        assert_eq!(LIFETIME, ROTATION * others);
    }
}
