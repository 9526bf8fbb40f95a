//! Requests that must happen once: `Idempotency-Key` with the fingerprint of its body and its answer.
//!
//! A request that was under way when its process died is given up after [`ABANDONED`]; answers are kept for
//! [`LIFE`]. An answer that holds a secret must arrive sealed: it is kept as it comes.

use std::time::Duration;

use model::id::KeyId;
use sqlx::AnyConnection;

use crate::Store;
use crate::error::Result;
use crate::row::{Columns as _, to_json};

/// How long an answer is kept.
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a request may be under way before it counts as dead; requests end far sooner.
const ABANDONED: Duration = Duration::from_secs(120);

/// An answer to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: String,
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idempotency {
    /// It is new: the caller carries it out and then finishes or abandons it.
    Started,
    /// It was carried out: this was the answer.
    Replay(Answer),
    /// It is under way.
    Running,
    /// The key was used with another body.
    Mismatch,
}

impl Store {
    /// Begins a request once. Rows past their life are taken away on the same occasion.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin_idempotent(
        &self,
        key: KeyId,
        idempotency_key: &str,
        fingerprint: &str,
    ) -> Result<Idempotency> {
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        purge(turn.connection(), now.minus(LIFE).unix_millis(), now.minus(ABANDONED).unix_millis()).await?;
        let inserted = sqlx::query(
            "INSERT INTO idempotency (key_id, idempotency_key, fingerprint, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (key_id, idempotency_key) DO NOTHING",
        )
        .bind(key.to_string())
        .bind(idempotency_key)
        .bind(fingerprint)
        .bind(now.unix_millis())
        .execute(turn.connection())
        .await?;
        let state = match inserted.rows_affected() {
            0 => known(turn.connection(), key, idempotency_key, fingerprint).await?,
            _ => Idempotency::Started,
        };
        turn.commit().await?;
        Ok(state)
    }

    /// Keeps the answer of a request that was begun.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn finish_idempotent(&self, key: KeyId, idempotency_key: &str, answer: &Answer) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query(
            "UPDATE idempotency SET status = $3, headers = $4, body = $5
             WHERE key_id = $1 AND idempotency_key = $2 AND status IS NULL",
        )
        .bind(key.to_string())
        .bind(idempotency_key)
        .bind(i64::from(answer.status))
        .bind(to_json(&answer.headers)?)
        .bind(&answer.body)
        .execute(turn.connection())
        .await?;
        turn.commit().await
    }

    /// Forgets a request that was begun and changed nothing, so that it may be sent again.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn abandon_idempotent(&self, key: KeyId, idempotency_key: &str) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query("DELETE FROM idempotency WHERE key_id = $1 AND idempotency_key = $2 AND status IS NULL")
            .bind(key.to_string())
            .bind(idempotency_key)
            .execute(turn.connection())
            .await?;
        turn.commit().await
    }
}

async fn purge(connection: &mut AnyConnection, old: i64, dead: i64) -> Result<()> {
    sqlx::query("DELETE FROM idempotency WHERE created_at <= $1 OR (status IS NULL AND created_at <= $2)")
        .bind(old)
        .bind(dead)
        .execute(connection)
        .await?;
    Ok(())
}

async fn known(
    connection: &mut AnyConnection,
    key: KeyId,
    idempotency_key: &str,
    fingerprint: &str,
) -> Result<Idempotency> {
    let row = sqlx::query("SELECT * FROM idempotency WHERE key_id = $1 AND idempotency_key = $2")
        .bind(key.to_string())
        .bind(idempotency_key)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(Idempotency::Running) };
    if row.text("fingerprint")? != fingerprint {
        return Ok(Idempotency::Mismatch);
    }
    let Some(status) = row.integer_or_none("status")? else { return Ok(Idempotency::Running) };
    Ok(Idempotency::Replay(Answer {
        status: u16::try_from(status).unwrap_or(500),
        headers: row.json("headers")?,
        body: row.text("body")?,
    }))
}
