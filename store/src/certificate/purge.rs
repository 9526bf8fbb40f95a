//! The end of what was a certificate: its private key opens nothing any more, and is not kept for ever.

use std::time::Duration;

use model::id::CertificateId;

use crate::Store;
use crate::error::Result;
use crate::row::Columns as _;

/// How long a certificate that has ended can still be looked at. Nobody is served with it, nor rolled back to it.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

impl Store {
    /// Forgets certificates, with their keys, that ended 30 days ago and are not served; at most 1,000 a call. The audit
    /// log keeps what became of them. Gives how many; 0: nothing is left to do.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn purge_certificates(&self) -> Result<usize> {
        let before = self.now().minus(KEPT).unix_millis();
        let rows = sqlx::query(
            "SELECT id FROM certificates WHERE status <> 'active' AND not_after <= $1 ORDER BY not_after LIMIT 1000",
        )
        .bind(before)
        .fetch_all(self.pool())
        .await?;
        let mut turn = self.quiet_write().await?;
        for row in &rows {
            let id = row.parsed::<CertificateId>("id")?.to_string();
            for sql in [
                "DELETE FROM certificate_names WHERE certificate_id = $1",
                "DELETE FROM certificates WHERE id = $1",
            ] {
                sqlx::query(sql).bind(&id).execute(turn.connection()).await?;
            }
        }
        turn.commit().await?;
        Ok(rows.len())
    }
}
