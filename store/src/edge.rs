//! What edges told of themselves.

use std::time::Duration;

use model::Timestamp;
use model::change::Revision;
use model::edge::EdgeReport;
use sqlx::any::AnyRow;

use crate::Store;
use crate::error::Result;
use crate::row::{Columns as _, to_integer};

/// How long an edge that is silent is remembered.
const SILENT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most edges that are listed.
const MAX_EDGES: i64 = 1_000;
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
    /// Notes how far an edge is. Edges that are silent for a week are forgotten.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn report_edge(&self, report: &EdgeReport) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        sqlx::query("DELETE FROM edges WHERE seen_at <= $1")
            .bind(now.minus(SILENT).unix_millis())
            .execute(turn.connection())
            .await?;
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
