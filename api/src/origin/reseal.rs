//! Private keys and ticket keys on their way to an edge: opened with the keys of the installation and sealed again with
//! the edge's own, in the same context. So another key of the installation changes nothing for any edge.
//!
//! A key that does not open is passed on as it is: the edge cannot open it either, keeps what it had, and
//! says so. One damaged row does not stop the others.

use model::change::Batch;
use model::seal::{KeyRing, SealError, SealingKey};

/// Seals every secret of the batch for the edge that has the key `edge`.
pub(crate) fn reseal(mut batch: Batch, keys: &KeyRing, edge: &SealingKey) -> Result<Batch, SealError> {
    for change in &mut batch.changes {
        let id = change.id.clone();
        let Some((context, sealed)) = change.object.as_mut().and_then(model::change::Object::secret) else {
            continue;
        };
        match keys.open(&context, sealed) {
            Ok(key) => *sealed = edge.seal(&context, &key)?,
            Err(error) => tracing::error!(?id, %error, "a secret of the feed does not open"),
        }
    }
    Ok(batch)
}
