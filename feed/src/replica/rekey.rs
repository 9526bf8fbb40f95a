//! A replica that was written with an older key: read with it, and written anew with the present one.
//!
//! Two seals change: that of the file's records, and that of the secrets in them. When it is over the older key opens
//! nothing of the file any more.

use model::change::{Change, Object};
use model::seal::SealingKey;

use super::{Loaded, Mark, Replica, ReplicaError};

/// Seals the secrets of `objects` that `old` opens with `new`. Others stay as they are: the edge will say so.
pub(super) fn reseal(objects: &mut [Change], old: &SealingKey, new: &SealingKey) -> Result<(), ReplicaError> {
    if old.fingerprint() == new.fingerprint() {
        return Ok(());
    }
    for (context, sealed) in objects.iter_mut().filter_map(|it| it.object.as_mut().and_then(Object::secret)) {
        if let Ok(clear) = old.open(&context, sealed) {
            *sealed = new.seal(&context, &clear)?;
        }
    }
    Ok(())
}

impl Replica {
    /// The same objects in a new file in the place of this one, which was written with another key. When it returns the
    /// disk has it.
    pub(super) fn rekeyed(&self, loaded: &mut Loaded, key: &SealingKey) -> Result<Self, ReplicaError> {
        reseal(&mut loaded.objects, &self.cipher.key, key)?;
        let mut fresh = Self::draft(&self.path, key)?;
        let mark = Mark { lineage: loaded.lineage.clone(), revision: loaded.revision };
        fresh.write(loaded.objects.iter(), mark)?;
        fresh.journal.publish()?;
        Ok(fresh)
    }
}
