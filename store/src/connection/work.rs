//! Connections in certd's hands.

use std::time::Duration;

use model::Timestamp;
use model::domain::connection::{ConnectionStatus, Findings};
use model::id::DomainId;
use serde_json::json;
use sqlx::AnyConnection;

use super::{Connection, event, load, read};
use crate::Store;
use crate::caller::Actor;
use crate::error::{Result, StoreError};
use crate::row::{to_json, to_word};

/// What becomes of the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// It is kept as long as it was to be.
    #[default]
    AsItIs,
    /// It is kept until then.
    Until(Timestamp),
    /// It is forgotten now.
    Not,
}

/// What to change of a connection; none leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionPatch {
    /// How far it is now. Anything but working ends the lease.
    pub status: Option<ConnectionStatus>,
    /// What was found.
    pub findings: Option<Findings>,
    /// What a preview has shown, or that it is of no use any more.
    pub plan: Option<Option<String>>,
    /// What takes the records back, or that there is nothing to take back.
    pub applied: Option<Option<String>>,
    /// What becomes of the credential.
    pub keep: Keep,
    /// Attempts that nobody answered.
    pub attempts: Option<u32>,
    /// When to go on. Ends the lease.
    pub next_at: Option<Timestamp>,
}

impl Store {
    /// Connections that are to be worked on at `now` and are in nobody's hands, the longest waiting first; of one tenant
    /// at most `each`, so that nobody's slow server holds up the others.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn due_connections(&self, now: Timestamp, each: u32, limit: u32) -> Result<Vec<Connection>> {
        let rows = sqlx::query(
            "SELECT * FROM (
               SELECT connections.*, ROW_NUMBER() OVER (PARTITION BY tenant_id ORDER BY next_at, domain_id) AS place
               FROM connections WHERE status = 'working' AND next_at <= $1 AND lease_until <= $1
             ) AS due WHERE place <= $2 ORDER BY next_at, domain_id LIMIT $3",
        )
        .bind(now.unix_millis())
        .bind(i64::from(each))
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Takes a connection in hand until `ttl` from now; the answer's `fence` is the number to write with.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it is in other hands or has nothing to be done, [`StoreError::NotFound`].
    pub async fn lease_connection(&self, id: DomainId, owner: &str, ttl: Duration) -> Result<Connection> {
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        let row = sqlx::query(
            "UPDATE connections SET lease_owner = $2, lease_until = $3, fence = fence + 1
             WHERE domain_id = $1 AND status = 'working' AND lease_until <= $4 RETURNING *",
        )
        .bind(id.to_string())
        .bind(owner)
        .bind(now.plus(ttl).unix_millis())
        .bind(now.unix_millis())
        .fetch_optional(turn.connection())
        .await?;
        let Some(row) = row else { return Err(refused(turn.connection(), id).await) };
        let connection = read(&row)?;
        turn.commit().await?;
        Ok(connection)
    }

    /// Tells that the holder of lease `fence` works still: the lease holds for `ttl` from now.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if the lease is somebody else's by now, [`StoreError::NotFound`].
    pub async fn extend_connection_lease(&self, id: DomainId, fence: i64, ttl: Duration) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        let done = sqlx::query(
            "UPDATE connections SET lease_until = $3 WHERE domain_id = $1 AND fence = $2 AND status = 'working'",
        )
        .bind(id.to_string())
        .bind(fence)
        .bind(self.now().plus(ttl).unix_millis())
        .execute(turn.connection())
        .await?;
        if done.rows_affected() == 0 {
            return Err(refused(turn.connection(), id).await);
        }
        turn.commit().await
    }

    /// Writes down how far a connection is, as the holder of lease `fence`. The end of a step is an audit event.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if the lease is somebody else's by now, [`StoreError::NotFound`].
    pub async fn update_connection(
        &self,
        id: DomainId,
        fence: i64,
        patch: ConnectionPatch,
    ) -> Result<Connection> {
        let is_end = patch.status.is_some_and(|status| status != ConnectionStatus::Working);
        let mut write = self.write(&Actor::system("certd")).await?;
        let held = load(write.connection(), id).await?.filter(|held| held.fence == fence);
        let Some(held) = held.filter(|held| held.status == ConnectionStatus::Working) else {
            return Err(refused(write.connection(), id).await);
        };
        let is_over = is_end || patch.next_at.is_some();
        let next_at = patch.next_at.unwrap_or(write.now());
        let connection = patched(held, patch, write.now());
        let now = write.now();
        save(write.connection(), &connection, (is_over, next_at), now).await?;
        if is_end {
            let (step, status) = (connection.step, connection.status);
            let details = json!({ "step": step, "status": status, "trouble": connection.findings.trouble });
            write.audit(event(&connection, "domain.connection", details)).await?;
        }
        write.commit().await?;
        Ok(connection)
    }

    /// Forgets credentials whose time is over.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn forget_credentials(&self) -> Result<u64> {
        let mut turn = self.quiet_write().await?;
        let done = sqlx::query(
            "UPDATE connections SET credential_sealed = NULL
             WHERE credential_sealed IS NOT NULL AND forget_at <= $1 AND status <> 'working'",
        )
        .bind(self.now().unix_millis())
        .execute(turn.connection())
        .await?;
        turn.commit().await?;
        Ok(done.rows_affected())
    }
}

fn patched(held: Connection, patch: ConnectionPatch, now: Timestamp) -> Connection {
    let (credential, forget_at) = match patch.keep {
        Keep::AsItIs => (held.credential, held.forget_at),
        Keep::Until(until) => (held.credential, until),
        Keep::Not => (None, now),
    };
    Connection {
        status: patch.status.unwrap_or(held.status),
        findings: patch.findings.unwrap_or(held.findings),
        plan: patch.plan.unwrap_or(held.plan),
        applied: patch.applied.unwrap_or(held.applied),
        attempts: patch.attempts.unwrap_or(held.attempts),
        credential,
        forget_at,
        updated_at: now,
        ..held
    }
}

/// Writes the row if the fence still holds: on Postgres a lease may have been taken in between.
async fn save(
    connection: &mut AnyConnection,
    held: &Connection,
    (is_over, next_at): (bool, Timestamp),
    now: Timestamp,
) -> Result<()> {
    let saved = sqlx::query(
        "UPDATE connections SET status = $3, findings = $4, plan = $5, applied = $6, credential_sealed = $7,
         forget_at = $8, attempts = $9, next_at = $10, updated_at = $11,
         lease_until = CASE WHEN $12 = 1 THEN 0 ELSE lease_until END
         WHERE domain_id = $1 AND fence = $2",
    )
    .bind(held.domain.to_string())
    .bind(held.fence)
    .bind(to_word(&held.status)?)
    .bind(to_json(&held.findings)?)
    .bind(&held.plan)
    .bind(&held.applied)
    .bind(held.credential.as_ref().map(ToString::to_string))
    .bind(held.forget_at.unix_millis())
    .bind(i64::from(held.attempts))
    .bind(next_at.unix_millis())
    .bind(now.unix_millis())
    .bind(i64::from(is_over))
    .execute(&mut *connection)
    .await?;
    if saved.rows_affected() == 1 { Ok(()) } else { Err(refused(connection, held.domain).await) }
}

async fn refused(connection: &mut AnyConnection, id: DomainId) -> StoreError {
    match load(connection, id).await {
        Ok(Some(_)) => StoreError::Fenced { what: "connection", id: id.to_string() },
        Ok(None) => StoreError::not_found("connection", id),
        Err(error) => error,
    }
}
