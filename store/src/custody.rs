//! Which key seals, and who holds which: what all processes of an installation agree on about keys that are in no
//! database.

use std::time::Duration;

use model::Timestamp;
use serde_json::json;

use crate::Store;
use crate::caller::Actor;
use crate::error::Result;
use crate::row::{Columns as _, to_json};
use crate::write::Event;

/// A process that has given no sign of life for so long is taken for gone.
pub const HOLDER_LIFE: Duration = Duration::from_secs(90);

/// A process that holds keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which one, for people: host and process.
    pub process: String,
    /// Fingerprints of the keys that it can open with.
    pub opens: Vec<String>,
    /// The one that it seals with, its own files included.
    pub seals: String,
    /// Its last sign of life.
    pub seen_at: Timestamp,
}

impl Store {
    /// Fingerprint of the key that all processes are to seal with; none: nobody has said so yet.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn sealing_key(&self) -> Result<Option<String>> {
        let row =
            sqlx::query("SELECT fingerprint FROM sealing WHERE id = 1").fetch_optional(self.pool()).await?;
        row.map(|row| row.text("fingerprint")).transpose()
    }

    /// Has an installation in which nobody has said so yet seal with the key of that fingerprint.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin_sealing(&self, actor: &Actor, fingerprint: &str) -> Result<()> {
        let mut write = self.write(actor).await?;
        let now = write.now_millis();
        let begun = sqlx::query(
            "INSERT INTO sealing (id, fingerprint, since) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING",
        )
        .bind(fingerprint)
        .bind(now)
        .execute(write.connection())
        .await?;
        if begun.rows_affected() == 0 {
            return Ok(());
        }
        let (action, target) = ("sealing_key.use", fingerprint.to_owned());
        write.audit(Event { tenant: None, action, target, details: json!({}) }).await?;
        write.commit().await
    }

    /// Has all processes seal with the key of that fingerprint, which they must hold.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn use_sealing_key(&self, actor: &Actor, fingerprint: &str) -> Result<()> {
        let mut write = self.write(actor).await?;
        let now = write.now_millis();
        sqlx::query(
            "INSERT INTO sealing (id, fingerprint, since) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint, since = excluded.since",
        )
        .bind(fingerprint)
        .bind(now)
        .execute(write.connection())
        .await?;
        let (action, target) = ("sealing_key.use", fingerprint.to_owned());
        write.audit(Event { tenant: None, action, target, details: json!({}) }).await?;
        write.commit().await
    }

    /// Writes down that a key opens nothing any more.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn note_retired_key(&self, actor: &Actor, fingerprint: &str) -> Result<()> {
        let mut write = self.write(actor).await?;
        let (action, target) = ("sealing_key.retire", fingerprint.to_owned());
        write.audit(Event { tenant: None, action, target, details: json!({}) }).await?;
        write.commit().await
    }

    /// A sign of life of a process that holds keys.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn note_holder(&self, process: &str, opens: &[String], seals: &str) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        sqlx::query("DELETE FROM sealing_holders WHERE seen_at <= $1")
            .bind(now.minus(HOLDER_LIFE).unix_millis())
            .execute(turn.connection())
            .await?;
        sqlx::query(
            "INSERT INTO sealing_holders (process, opens, seals, seen_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (process) DO UPDATE
             SET opens = excluded.opens, seals = excluded.seals, seen_at = excluded.seen_at",
        )
        .bind(process)
        .bind(to_json(&opens)?)
        .bind(seals)
        .bind(now.unix_millis())
        .execute(turn.connection())
        .await?;
        turn.commit().await
    }

    /// The farewell of a process.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn drop_holder(&self, process: &str) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query("DELETE FROM sealing_holders WHERE process = $1")
            .bind(process)
            .execute(turn.connection())
            .await?;
        turn.commit().await
    }

    /// The processes that hold keys and have given a sign of life within [`HOLDER_LIFE`].
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn holders(&self) -> Result<Vec<Holder>> {
        let rows = sqlx::query("SELECT * FROM sealing_holders WHERE seen_at > $1 ORDER BY process")
            .bind(self.now().minus(HOLDER_LIFE).unix_millis())
            .fetch_all(self.pool())
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Holder {
                    process: row.text("process")?,
                    opens: row.json("opens")?,
                    seals: row.text("seals")?,
                    seen_at: row.moment("seen_at")?,
                })
            })
            .collect()
    }
}
