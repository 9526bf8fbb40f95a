//! Keys of TLS session tickets: the newest few, each told to the edges.

use model::Timestamp;
use model::change::ObjectId;
use model::ticket::{KEPT, ROTATION, TicketKey};
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Store;
use crate::caller::Actor;
use crate::error::Result;
use crate::row::Columns as _;
use crate::write::{Event, Shape, Write};

impl Store {
    /// Whether it is time for a new key: there is none, or the newest is [`ROTATION`] old (or, after a clock
    /// was set back, as far in the future).
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn ticket_key_due(&self) -> Result<bool> {
        let mut connection = self.pool().acquire().await?;
        is_due(&mut connection, self.now()).await
    }

    /// Keeps a new key, tells the edges, and takes away what is older than the newest [`KEPT`]. False if it is
    /// not time for one: another node was quicker.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_ticket_key(&self, actor: &Actor, key: &TicketKey) -> Result<bool> {
        let mut write = self.write(actor).await?;
        let now = write.now();
        if !is_due(write.connection(), now).await? {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO ticket_keys (id, number, key_sealed, made_at)
             SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3 FROM ticket_keys",
        )
        .bind(key.id.to_string())
        .bind(key.key.to_string())
        .bind(key.made_at.unix_millis())
        .execute(write.connection())
        .await?;
        write.point(&ObjectId::TicketKey(key.id), Shape::Present).await?;
        drop_old(&mut write).await?;
        let target = key.id.to_string();
        write.audit(Event { tenant: None, action: "ticket_key.rotate", target, details: json!({}) }).await?;
        write.commit().await?;
        Ok(true)
    }
}

async fn is_due(connection: &mut AnyConnection, now: Timestamp) -> Result<bool> {
    let row = sqlx::query("SELECT made_at FROM ticket_keys ORDER BY number DESC LIMIT 1")
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(true) };
    let made_at = row.moment("made_at")?;
    Ok(now.since(made_at).max(made_at.since(now)) >= ROTATION)
}

async fn drop_old(write: &mut Write) -> Result<()> {
    let rows = sqlx::query(
        "DELETE FROM ticket_keys WHERE number <= (SELECT MAX(number) FROM ticket_keys) - $1 RETURNING id",
    )
    .bind(i64::try_from(KEPT).unwrap_or(i64::MAX))
    .fetch_all(write.connection())
    .await?;
    for row in &rows {
        write.point(&ObjectId::TicketKey(row.parsed("id")?), Shape::Gone).await?;
    }
    Ok(())
}

pub(crate) fn read(row: &AnyRow) -> Result<TicketKey> {
    Ok(TicketKey { id: row.parsed("id")?, key: row.parsed("key_sealed")?, made_at: row.moment("made_at")? })
}
