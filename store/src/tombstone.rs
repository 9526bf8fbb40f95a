//! Pointers of objects that are gone: kept so that edges hear of it, purged when every edge must have.

use model::Timestamp;

use crate::Store;
use crate::error::Result;
use crate::row::Columns as _;

impl Store {
    /// Forgets what was deleted before `before`; an edge that has not followed since begins anew. Gives how
    /// many pointers were purged.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn purge_tombstones(&self, before: Timestamp) -> Result<u64> {
        let mut turn = self.quiet_write().await?;
        sqlx::query("UPDATE log SET revision = revision WHERE id = 1").execute(turn.connection()).await?;
        let row = sqlx::query("SELECT MAX(revision) AS horizon FROM feed WHERE gone = 1 AND changed_at < $1")
            .bind(before.unix_millis())
            .fetch_one(turn.connection())
            .await?;
        let Some(horizon) = row.integer_or_none("horizon")? else { return Ok(0) };
        let purged = sqlx::query("DELETE FROM feed WHERE gone = 1 AND revision <= $1")
            .bind(horizon)
            .execute(turn.connection())
            .await?;
        sqlx::query("UPDATE log SET horizon = $1 WHERE id = 1")
            .bind(horizon)
            .execute(turn.connection())
            .await?;
        turn.commit().await?;
        Ok(purged.rows_affected())
    }
}
