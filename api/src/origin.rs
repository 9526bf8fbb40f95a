//! The store as edges follow it: [`feed::Origin`] in process, and the same behind the edges' endpoints.
//!
//! Waiting costs no query: the store tells when its revision moves.

pub(crate) mod reseal;

use std::time::Duration;

use async_trait::async_trait;
use feed::{Origin, OriginError};
use model::change::{Batch, Lineage, Revision};
use model::edge::EdgeReport;
use model::seal::{KeyRing, SealingKey};
use model::usage::UsageBatch;
use store::{Store, StoreError};
use tokio::time::Instant;

/// Changes in one answer: certificates are some kilobytes each, so an answer stays below a few megabytes.
const PAGE: u32 = 500;

/// The control plane of an edge in the same process.
#[derive(Debug, Clone)]
pub struct StoreOrigin {
    store: Store,
    /// The keys of the installation, and the edge's own.
    keys: Option<(KeyRing, SealingKey)>,
}

impl StoreOrigin {
    /// The log of `store`. Certificates' keys come as they are stored.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, keys: None }
    }

    /// Seals certificates' keys anew with `edge`, the edge's own key: then the `installation` can change its keys
    /// without the edge.
    #[must_use]
    pub fn sealed_for(self, edge: SealingKey, installation: KeyRing) -> Self {
        Self { keys: Some((installation, edge)), ..self }
    }

    /// The changes after `after`; if there are none, waits up to `wait` for one.
    pub(crate) async fn follow(
        &self,
        lineage: &Lineage,
        after: Revision,
        wait: Duration,
    ) -> Result<Batch, StoreError> {
        let deadline = Instant::now() + wait;
        // Subscribed before the first look: what is committed between the two is not slept through.
        let mut head = self.store.watch();
        loop {
            head.borrow_and_update();
            let batch = self.store.changes(lineage, after, PAGE).await?;
            if batch.reset || !batch.changes.is_empty() || batch.more {
                return Ok(batch);
            }
            match tokio::time::timeout_at(deadline, head.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(batch),
            }
        }
    }
}

#[async_trait]
impl Origin for StoreOrigin {
    async fn changes(
        &self,
        lineage: &Lineage,
        after: Revision,
        wait: Duration,
    ) -> Result<Batch, OriginError> {
        let batch = self.follow(lineage, after, wait).await.map_err(refusal)?;
        match &self.keys {
            Some((keys, edge)) => reseal::reseal(batch, keys, edge, &self.store)
                .await
                .map_err(|error| OriginError::Unavailable(error.to_string())),
            None => Ok(batch),
        }
    }

    async fn usage(&self, batch: &UsageBatch) -> Result<(), OriginError> {
        self.store.ingest_usage(batch).await.map(drop).map_err(refusal)
    }

    async fn report(&self, report: &EdgeReport) -> Result<(), OriginError> {
        self.store.report_edge(report).await.map_err(refusal)
    }
}

/// Only what an operator must look at is refused; everything else is tried again.
fn refusal(error: StoreError) -> OriginError {
    match error {
        StoreError::Invalid { .. } | StoreError::EdgeOfAnotherKey { .. } => {
            OriginError::Refused(error.to_string())
        }
        _ => OriginError::Unavailable(error.to_string()),
    }
}
