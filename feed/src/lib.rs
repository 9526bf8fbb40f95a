//! The wire between control plane and edge: an ordered, resumable log of changes down, usage up.
//!
//! Embedded, an [`Origin`] is the store itself; apart, it is [`http::HttpOrigin`] over the control plane's
//! API. The edge's half is a [`Sink`] that holds everything in memory. Deliberately absent: how the control
//! plane stores the log (`store`) and what an edge does with it (`proxy`).

mod backoff;
pub mod disk;
pub mod edge_id;
pub mod follower;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod journal;
pub mod replica;
pub mod usage;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use model::change::{Batch, Change, Lineage, ObjectId, Revision};
use model::edge::EdgeReport;
use model::usage::UsageBatch;

pub use follower::{EdgeInfo, Follower, FollowerState};
pub use replica::Replica;
pub use usage::Outbox;

/// The control plane as an edge sees it.
#[async_trait]
pub trait Origin: Send + Sync + std::fmt::Debug + 'static {
    /// The changes after `after` in the log `lineage`, oldest first. If there are none, waits up to `wait`
    /// for one and then answers an empty batch. Of another lineage, or too far behind: the first page of a
    /// reset. The pages after it are asked for with the `lineage` and `next` of the page before, so an origin
    /// must go on from there even where it would tell an edge that was away that it is too far behind.
    ///
    /// # Errors
    /// [`OriginError`] tells whether trying again makes sense.
    async fn changes(&self, lineage: &Lineage, after: Revision, wait: Duration)
    -> Result<Batch, OriginError>;

    /// Takes usage; a batch that was taken before is taken for done.
    ///
    /// # Errors
    /// [`OriginError`] tells whether trying again makes sense.
    async fn usage(&self, batch: &UsageBatch) -> Result<(), OriginError>;

    /// Notes how far an edge is.
    ///
    /// # Errors
    /// [`OriginError`] tells whether trying again makes sense.
    async fn report(&self, report: &EdgeReport) -> Result<(), OriginError>;
}

/// Why the control plane did not answer as wished.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// Out of reach, busy or broken for now: try again later.
    #[error("control plane is out of reach: {0}")]
    Unavailable(String),
    /// It refuses this edge or this message: an operator must act.
    #[error("control plane refuses: {0}")]
    Refused(String),
}

/// The edge's memory.
pub trait Sink: Send + Sync + std::fmt::Debug + 'static {
    /// Takes one change into memory at once. A change that cannot be taken (a certificate whose key does
    /// not open) leaves what was there before as it was.
    ///
    /// # Errors
    /// [`ApplyError`] names the object; the follower logs it and goes on.
    fn apply(&self, change: &Change) -> Result<(), ApplyError>;

    /// Forgets every object that is not in `known`: the end of a reset.
    fn retain(&self, known: &BTreeSet<ObjectId>);
}

/// A change that an edge could not take.
#[derive(Debug, thiserror::Error)]
#[error("{id:?} at revision {revision} was not taken: {reason}")]
pub struct ApplyError {
    /// Which object.
    pub id: ObjectId,
    /// Which revision of it.
    pub revision: Revision,
    /// Why.
    pub reason: String,
}
