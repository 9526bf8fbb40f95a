//! Which certificates have their private key open, and whose is closed again when there are too many.
//!
//! The open key stands in the certificate itself, so a handshake that finds it takes no lock of this. Second
//! chance (CLOCK): a handshake marks its certificate as used; when room is needed, the one at the front of
//! the line goes if it was not used since it was last there. Certificates that were replaced are held weakly
//! and cost nothing but their place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::sign::CertifiedKey;

use super::served::Served;

/// Certificates with an open key at most: 2 to 4 KB each beside what they cost anyway.
pub(super) const MOST_PREPARED: usize = 16_384;
/// How many second chances one handshake hands out before it takes the next, used or not.
const MOST_CHANCES: usize = 64;

/// The line of certificates whose key is open.
pub(super) struct Prepared {
    line: Mutex<VecDeque<Weak<Served>>>,
    most: usize,
}

impl Prepared {
    /// Room for `most`.
    pub(super) fn with_room_for(most: usize) -> Self {
        Self { line: Mutex::default(), most }
    }

    /// Keeps `key` in `served`. Gives the one that is there if another handshake was quicker.
    pub(super) fn keep(&self, served: &Arc<Served>, key: Arc<CertifiedKey>) -> Arc<CertifiedKey> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = served.prepared() {
            return there;
        }
        while line.len() >= self.most {
            close_one(&mut line);
        }
        served.keep(Arc::clone(&key));
        line.push_back(Arc::downgrade(served));
        key
    }
}

fn close_one(line: &mut VecDeque<Weak<Served>>) {
    for chance in 0..=MOST_CHANCES {
        let Some(front) = line.pop_front() else { return };
        match front.upgrade() {
            Some(served) if chance < MOST_CHANCES && served.was_used_since() => line.push_back(front),
            Some(served) => return served.close(),
            None => return,
        }
    }
}
