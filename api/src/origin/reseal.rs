//! Private keys and ticket keys on their way to an edge that runs apart: opened with the master key and sealed again with a
//! key that only this edge can derive, in the same context.
//!
//! A key that does not open is passed on as it is: the edge cannot open it either, keeps what it had, and
//! says so. One damaged row does not stop the others.

use model::certificate::Certificate;
use model::change::{Batch, Object};
use model::seal::{EDGE_FEED_PURPOSE, SealError, Sealed, SealingKey};
use model::secret::Secret;
use model::ticket::TicketKey;

/// Seals every secret of the batch for the edge whose API key is `secret`.
pub(crate) fn reseal(mut batch: Batch, master: &SealingKey, secret: &Secret) -> Result<Batch, SealError> {
    let edge = SealingKey::derive(secret.reveal().as_bytes(), EDGE_FEED_PURPOSE)?;
    for change in &mut batch.changes {
        let id = change.id.clone();
        let Some((context, sealed)) = change.object.as_mut().and_then(secret_of) else { continue };
        match master.open(&context, sealed) {
            Ok(key) => *sealed = edge.seal(&context, &key)?,
            Err(error) => tracing::error!(?id, %error, "a secret of the feed does not open"),
        }
    }
    Ok(batch)
}

/// What is sealed in an object, and in which context.
fn secret_of(object: &mut Object) -> Option<(String, &mut Sealed)> {
    match object {
        Object::Certificate(certificate) => {
            Some((Certificate::key_context(certificate.id), &mut certificate.key))
        }
        Object::TicketKey(key) => Some((TicketKey::key_context(key.id), &mut key.key)),
        Object::Tenant(_) | Object::Site(_) | Object::Challenge(_) => None,
    }
}
