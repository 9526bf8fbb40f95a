//! Private keys on their way to an edge that runs apart: opened with the master key and sealed again with a
//! key that only this edge can derive, in the same context.
//!
//! A key that does not open is passed on as it is: the edge cannot open it either, keeps what it had, and
//! says so. One damaged row does not stop the others.

use model::certificate::Certificate;
use model::change::{Batch, Object};
use model::seal::{EDGE_FEED_PURPOSE, SealError, SealingKey};
use model::secret::Secret;

/// Seals every private key of the batch for the edge whose API key is `secret`.
pub(crate) fn reseal(mut batch: Batch, master: &SealingKey, secret: &Secret) -> Result<Batch, SealError> {
    let edge = SealingKey::derive(secret.reveal().as_bytes(), EDGE_FEED_PURPOSE)?;
    for change in &mut batch.changes {
        let Some(Object::Certificate(certificate)) = &mut change.object else { continue };
        let context = Certificate::key_context(certificate.id);
        match master.open(&context, &certificate.key) {
            Ok(key) => certificate.key = edge.seal(&context, &key)?,
            Err(error) => {
                tracing::error!(certificate = %certificate.id, %error, "a certificate's private key does not open");
            }
        }
    }
    Ok(batch)
}
