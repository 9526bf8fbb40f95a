//! The sink, with what it could not take: each such object is logged once a revision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::change::{Batch, Change, ObjectId, Revision};

use crate::Sink;

/// How many objects that were not taken are remembered; beyond it a log line may come twice.
const MAX_FAILED: usize = 10_000;

#[derive(Debug)]
pub(super) struct Memory {
    sink: Arc<dyn Sink>,
    failed: BTreeMap<ObjectId, Revision>,
}

impl Memory {
    pub(super) fn new(sink: Arc<dyn Sink>) -> Self {
        Self { sink, failed: BTreeMap::new() }
    }

    /// Gives one change to the sink.
    pub(super) fn apply(&mut self, change: &Change) {
        match self.sink.apply(change) {
            Ok(()) => {
                self.failed.remove(&change.id);
            }
            Err(error) if self.failed.get(&change.id) != Some(&change.revision) => {
                tracing::error!(%error, "change was not taken: what was there before stays");
                if self.failed.len() >= MAX_FAILED {
                    self.failed.clear();
                }
                self.failed.insert(change.id.clone(), change.revision);
            }
            Err(_) => {}
        }
    }

    /// The end of a reset.
    pub(super) fn retain(&mut self, known: &BTreeSet<ObjectId>) {
        self.failed.retain(|id, _| known.contains(id));
        self.sink.retain(known);
    }

    /// Takes out what names one object and holds another: it could neither be found nor taken back.
    pub(super) fn refuse_mislabelled(&mut self, batch: &mut Batch) {
        batch.changes.retain(|change| {
            let held = change.object.as_ref().map(model::change::Object::id);
            let sound = held.as_ref().is_none_or(|held| *held == change.id);
            if !sound && self.failed.insert(change.id.clone(), change.revision) != Some(change.revision) {
                tracing::error!(id = ?change.id, ?held, "control plane sent an object under the id of another");
            }
            sound
        });
    }
}
