//! Usage: taken from edges once each, summed by tenant, app, window and class.
//!
//! An edge numbers its batches 1, 2, 3 …; the highest number taken from it is written in the same
//! transaction as the sums, so a batch that is sent again, or whose answer was lost, changes no total.

mod query;

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;
use model::id::{KeyId, TenantId};
use model::usage::{Counters, UsageBatch, UsageKey};
use sqlx::AnyConnection;

use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_integer};
use crate::{Store, edge};

pub use query::{UsageGroup, UsageLine, UsageQuery};

/// Most rows of a batch.
const MAX_ROWS: usize = 50_000;
/// Most of one counter in one row: far above what an edge can do in a minute, far below what a sum can hold.
const MAX_COUNT: u64 = 1 << 50;

impl Store {
    /// Takes a batch of the edge in the same process, which has no key; false: it was taken before. Rows of
    /// tenants that are not there are left out.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a batch that no edge of ours sends, [`StoreError::EdgeOfAnotherKey`] if the
    /// edge's id belongs to a key.
    pub async fn ingest_usage(&self, batch: &UsageBatch) -> Result<bool> {
        self.ingest(None, batch).await
    }

    /// Takes a batch of the edge that uses `key`, as [`Store::ingest_usage`]. The first use binds the edge's
    /// id to the key.
    ///
    /// # Errors
    /// As [`Store::ingest_usage`]; [`StoreError::EdgeOfAnotherKey`] if another key, or the edge in the same
    /// process, has the id; [`StoreError::TooMany`] ids of one key.
    pub async fn ingest_usage_of(&self, key: KeyId, batch: &UsageBatch) -> Result<bool> {
        self.ingest(Some(key), batch).await
    }

    async fn ingest(&self, key: Option<KeyId>, batch: &UsageBatch) -> Result<bool> {
        let rows = summed(batch)?;
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        edge::bind(turn.connection(), key, batch.edge).await?;
        if !advance(turn.connection(), batch, now).await? {
            return Ok(false);
        }
        let known = known_tenants(turn.connection(), &rows).await?;
        let mut unknown = 0_usize;
        for (key, counters) in &rows {
            if known.contains(&key.tenant) {
                add(turn.connection(), key, *counters).await?;
            } else {
                unknown = unknown.saturating_add(1);
            }
        }
        turn.commit().await?;
        if unknown > 0 {
            tracing::warn!(edge = %batch.edge, sequence = batch.sequence, rows = unknown, "usage of unknown tenants was left out");
        }
        Ok(true)
    }

    /// When usage last arrived from any edge.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn usage_freshness(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT MAX(taken_at) AS taken_at FROM usage_watermarks")
            .fetch_one(self.pool())
            .await?;
        row.moment_or_none("taken_at")
    }
}

/// The rows, each key once and in order: writers that take the same keys in the same order do not lock each
/// other out.
fn summed(batch: &UsageBatch) -> Result<BTreeMap<UsageKey, Counters>> {
    let refuse = |field, reason: String| Err(StoreError::invalid(field, reason));
    if batch.sequence == 0 || i64::try_from(batch.sequence).is_err() {
        return refuse("sequence", format!("sequence is {}: it counts from 1", batch.sequence));
    }
    if batch.rows.len() > MAX_ROWS {
        return refuse("rows", format!("the batch has {} rows: send at most {MAX_ROWS}", batch.rows.len()));
    }
    let mut sums = BTreeMap::new();
    for row in &batch.rows {
        let Counters { requests, bytes_in, bytes_out } = row.counters;
        let most = requests.max(bytes_in).max(bytes_out);
        if most > MAX_COUNT {
            return refuse(
                "rows",
                format!("a counter is {most}: more than {MAX_COUNT} in a minute cannot be"),
            );
        }
        sums.entry(row.key).or_insert_with(Counters::default).add(row.counters);
    }
    Ok(sums)
}

/// Moves the edge's watermark; false: it stands there or beyond already.
async fn advance(connection: &mut AnyConnection, batch: &UsageBatch, now: Timestamp) -> Result<bool> {
    let moved = sqlx::query(
        "INSERT INTO usage_watermarks (edge_id, sequence, taken_at) VALUES ($1, $2, $3)
         ON CONFLICT (edge_id) DO UPDATE SET sequence = excluded.sequence, taken_at = excluded.taken_at
         WHERE usage_watermarks.sequence < excluded.sequence",
    )
    .bind(batch.edge.to_string())
    .bind(to_integer(batch.sequence))
    .bind(now.unix_millis())
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

async fn known_tenants(
    connection: &mut AnyConnection,
    rows: &BTreeMap<UsageKey, Counters>,
) -> Result<BTreeSet<TenantId>> {
    let asked: BTreeSet<TenantId> = rows.keys().map(|key| key.tenant).collect();
    let mut known = BTreeSet::new();
    for tenant in asked {
        let row = sqlx::query("SELECT id FROM tenants WHERE id = $1")
            .bind(tenant.to_string())
            .fetch_optional(&mut *connection)
            .await?;
        if row.is_some() {
            known.insert(tenant);
        }
    }
    Ok(known)
}

async fn add(connection: &mut AnyConnection, key: &UsageKey, counters: Counters) -> Result<()> {
    sqlx::query(
        "INSERT INTO usage_sums (tenant_id, app_id, window_start, class, requests, bytes_in, bytes_out)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant_id, window_start, app_id, class) DO UPDATE
         SET requests = usage_sums.requests + excluded.requests,
         bytes_in = usage_sums.bytes_in + excluded.bytes_in,
         bytes_out = usage_sums.bytes_out + excluded.bytes_out",
    )
    .bind(key.tenant.to_string())
    .bind(key.app.to_string())
    .bind(key.window.floor_to(model::usage::WINDOW).unix_millis())
    .bind(key.class.as_str())
    .bind(to_integer(counters.requests))
    .bind(to_integer(counters.bytes_in))
    .bind(to_integer(counters.bytes_out))
    .execute(connection)
    .await?;
    Ok(())
}
