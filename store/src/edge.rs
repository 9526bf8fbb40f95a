//! What edges told of themselves, and which key speaks for each.

use std::time::Duration;

use model::Timestamp;
use model::change::Revision;
use model::edge::EdgeReport;
use model::id::{EdgeId, KeyId};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Store;
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_integer};

/// How long an edge that is silent is remembered.
const SILENT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most edges that are listed.
const MAX_EDGES: i64 = 1_000;
/// Most edges that may share one key; a fleet of thousands has more than one.
const MAX_EDGES_PER_KEY: usize = 1_000;
/// Longest version text that is kept, in characters.
const MAX_VERSION: usize = 64;

/// An edge and when it was last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeRecord {
    /// Its latest report.
    pub report: EdgeReport,
    /// When the report arrived.
    pub seen_at: Timestamp,
}

impl Store {
    /// Notes how far the edge in the same process is, which has no key. Edges that are silent for a week are
    /// forgotten.
    ///
    /// # Errors
    /// [`StoreError::EdgeOfAnotherKey`] if the edge's id belongs to a key.
    pub async fn report_edge(&self, report: &EdgeReport) -> Result<()> {
        self.note(None, report).await
    }

    /// Notes how far the edge that uses `key` is, as [`Store::report_edge`]. The first use binds the edge's id
    /// to the key.
    ///
    /// # Errors
    /// [`StoreError::EdgeOfAnotherKey`] if another key, or the edge in the same process, has the id;
    /// [`StoreError::TooMany`] ids of one key.
    pub async fn report_edge_of(&self, key: KeyId, report: &EdgeReport) -> Result<()> {
        self.note(Some(key), report).await
    }

    async fn note(&self, key: Option<KeyId>, report: &EdgeReport) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        sqlx::query("DELETE FROM edges WHERE seen_at <= $1")
            .bind(now.minus(SILENT).unix_millis())
            .execute(turn.connection())
            .await?;
        bind(turn.connection(), key, report.edge).await?;
        sqlx::query(
            "INSERT INTO edges (id, revision, version, started_at, sites, certificates, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, version = excluded.version,
             started_at = excluded.started_at, sites = excluded.sites, certificates = excluded.certificates,
             seen_at = excluded.seen_at",
        )
        .bind(report.edge.to_string())
        .bind(to_integer(report.revision.0))
        .bind(report.version.chars().take(MAX_VERSION).collect::<String>())
        .bind(report.started_at.unix_millis())
        .bind(to_integer(report.sites))
        .bind(to_integer(report.certificates))
        .bind(now.unix_millis())
        .execute(turn.connection())
        .await?;
        turn.commit().await
    }

    /// All edges that were heard of in the last week, the oldest first; at most 1,000.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn edges(&self) -> Result<Vec<EdgeRecord>> {
        let rows = sqlx::query("SELECT * FROM edges WHERE seen_at > $1 ORDER BY id LIMIT $2")
            .bind(self.now().minus(SILENT).unix_millis())
            .bind(MAX_EDGES)
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }
}

/// Whoever sends must be who the edge's id belongs to; an id that is nobody's yet goes to the key.
pub(crate) async fn bind(connection: &mut AnyConnection, key: Option<KeyId>, edge: EdgeId) -> Result<()> {
    let id = edge.to_string();
    let row = sqlx::query("SELECT key_id FROM edge_keys WHERE edge_id = $1")
        .bind(&id)
        .fetch_optional(&mut *connection)
        .await?;
    let owner: Option<KeyId> = row.map(|row| row.parsed("key_id")).transpose()?;
    match (owner, key) {
        (owner, key) if owner == key && owner.is_some() => Ok(()),
        (None, None) => Ok(()),
        (None, Some(key)) => bind_anew(connection, key, &id).await,
        (Some(_), _) => Err(StoreError::EdgeOfAnotherKey { edge: id }),
    }
}

async fn bind_anew(connection: &mut AnyConnection, key: KeyId, edge: &str) -> Result<()> {
    // An edge that reported and has no key is the one in the same process: its id is its own.
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM edges WHERE id = $1) AS reported,
         (SELECT COUNT(*) FROM edge_keys WHERE key_id = $2) AS bound",
    )
    .bind(edge)
    .bind(key.to_string())
    .fetch_one(&mut *connection)
    .await?;
    if row.integer("reported")? > 0 {
        return Err(StoreError::EdgeOfAnotherKey { edge: edge.to_owned() });
    }
    if usize::try_from(row.integer("bound")?).is_ok_and(|bound| bound >= MAX_EDGES_PER_KEY) {
        return Err(StoreError::TooMany { what: "edges of this key", limit: MAX_EDGES_PER_KEY });
    }
    let bound = sqlx::query("INSERT INTO edge_keys (edge_id, key_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(edge)
        .bind(key.to_string())
        .execute(&mut *connection)
        .await?;
    if bound.rows_affected() == 1 {
        return Ok(());
    }
    // On Postgres somebody else was quicker: perhaps the same key with its other message.
    let row = sqlx::query("SELECT key_id FROM edge_keys WHERE edge_id = $1")
        .bind(edge)
        .fetch_optional(connection)
        .await?;
    match row.map(|row| row.parsed::<KeyId>("key_id")).transpose()? {
        Some(owner) if owner == key => Ok(()),
        _ => Err(StoreError::EdgeOfAnotherKey { edge: edge.to_owned() }),
    }
}

/// Frees the ids of a key's edges. Their reports go along: what has reported and has no key would count as
/// the edge in the same process.
pub(crate) async fn unbind(connection: &mut AnyConnection, key: KeyId) -> Result<()> {
    sqlx::query("DELETE FROM edges WHERE id IN (SELECT edge_id FROM edge_keys WHERE key_id = $1)")
        .bind(key.to_string())
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM edge_keys WHERE key_id = $1").bind(key.to_string()).execute(connection).await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<EdgeRecord> {
    let report = EdgeReport {
        edge: row.parsed("id")?,
        revision: Revision(row.natural("revision")?),
        version: row.text("version")?,
        started_at: row.moment("started_at")?,
        sites: row.natural("sites")?,
        certificates: row.natural("certificates")?,
    };
    Ok(EdgeRecord { report, seen_at: row.moment("seen_at")? })
}
