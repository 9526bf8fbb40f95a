//! The end of a connection whose visitor may still be sending (RFC 9112 §9.6).
//!
//! Closed at once, the kernel would answer what still comes with a reset, and a reset throws away the page that
//! the visitor has not read yet. So our side is ended first, and what comes is read for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Transport;

/// How long the visitor may take to end its side.
const LONGEST: Duration = Duration::from_secs(5);
/// How much is read meanwhile.
const MOST_BYTES: u64 = 16 << 20;

/// Where pingora's end of a connection leaves what is left of it.
#[derive(Clone, Default)]
pub(crate) struct Farewell(Arc<Mutex<Option<Transport>>>);

impl Farewell {
    /// Leaves `transport` behind.
    pub(super) fn leave(&self, transport: Transport) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(transport);
    }

    /// Whether something was left.
    pub(crate) fn is_due(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Ends our side of what was left, and waits for the visitor's. Nothing left: nothing done.
    pub(crate) async fn say(self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut transport) = left else { return };
        let goodbye = async {
            // Whatever fails, the visitor is gone, and with it the need for this.
            let _ended = transport.shutdown().await;
            let _read = tokio::io::copy(&mut transport.take(MOST_BYTES), &mut tokio::io::sink()).await;
        };
        // A visitor who does not end in time gets the reset.
        let _late = timeout(LONGEST, goodbye).await;
    }
}
