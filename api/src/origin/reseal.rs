//! Private keys and ticket keys on their way to an edge: opened with the keys of the installation and sealed again with
//! the edge's own, in the same context. So another key of the installation changes nothing for any edge.
//!
//! A key that does not open is passed on as it is: the edge cannot open it either, keeps what it had, and
//! says so. One damaged row does not stop the others. But where this process lacks the key that the store names, it is
//! about to get it: then the edge has to ask again, or it would pass over what it can have in a moment.

use model::change::Batch;
use model::seal::{KeyRing, SealError, SealingKey};
use store::{Store, StoreError};

/// Why a batch cannot be told now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResealError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this process does not have key {0}, with which the store is sealed: see `stoa master-key list`")]
    Behind(String),
}

/// Seals every secret of the batch for the edge that has the key `edge`.
pub(crate) async fn reseal(
    mut batch: Batch,
    keys: &KeyRing,
    edge: &SealingKey,
    store: &Store,
) -> Result<Batch, ResealError> {
    for change in &mut batch.changes {
        let id = change.id.clone();
        let Some((context, sealed)) = change.object.as_mut().and_then(model::change::Object::secret) else {
            continue;
        };
        match keys.open(&context, sealed) {
            Ok(key) => *sealed = edge.seal(&context, &key)?,
            Err(error) => {
                if matches!(error, SealError::OtherKey { .. })
                    && let Some(wanted) = store.sealing_key().await?
                    && !keys.fingerprints().contains(&wanted)
                {
                    return Err(ResealError::Behind(wanted));
                }
                tracing::error!(?id, %error, "a secret of the feed does not open");
            }
        }
    }
    Ok(batch)
}
