//! One change, one transaction: rows, audit event and log pointers, committed together or not at all.
//!
//! A [`Write`] holds the log's one row from its first statement to its end, so writers follow one another
//! and revisions become visible in their order, on both engines.

use std::sync::Arc;

use aws_lc_rs::digest;
use model::Timestamp;
use model::change::{ObjectId, Revision};
use model::id::TenantId;
use serde_json::Value;
use sqlx::{Any, AnyConnection, Connection as _, Transaction};
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard};

use crate::Store;
use crate::audit;
use crate::caller::Actor;
use crate::engine::Engine;
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_integer};

/// The connection that writes, of an engine that has one writer at a time; none: not opened yet. It is kept: what it
/// knows of the file is not read again for each change, and nobody asks whether it is there still.
pub(crate) type Writer = Arc<Mutex<Option<Pen>>>;

#[derive(Debug)]
pub(crate) struct Pen {
    connection: AnyConnection,
    /// Whether a transaction was begun on it, or may have been, that has not ended.
    is_open: bool,
}

impl Pen {
    async fn begin(&mut self, statement: &'static str) -> sqlx::Result<()> {
        self.roll_back().await;
        // Before it begins: who breaks off in between has begun.
        self.is_open = true;
        sqlx::raw_sql(statement).execute(&mut self.connection).await?;
        Ok(())
    }

    async fn commit(&mut self) -> sqlx::Result<()> {
        sqlx::raw_sql("COMMIT").execute(&mut self.connection).await?;
        self.is_open = false;
        Ok(())
    }

    /// Lets go of the file.
    pub(crate) async fn close(mut self) {
        self.roll_back().await;
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "the connection that writes was not closed in good order");
        }
    }

    /// Takes back what was not committed.
    async fn roll_back(&mut self) {
        if self.is_open {
            // Whoever broke off before it began has nothing to take back, which is an error that says so.
            let _ended = sqlx::raw_sql("ROLLBACK").execute(&mut self.connection).await;
            self.is_open = false;
        }
    }
}

/// A transaction with the turn of its writer, where the engine has one writer at a time.
pub(crate) struct Turn(Kind);

enum Kind {
    /// On the connection that writes, which nobody else has meanwhile.
    Alone(Alone),
    /// Beside others.
    Beside(Transaction<'static, Any>),
}

struct Alone {
    pen: OwnedMappedMutexGuard<Option<Pen>, Pen>,
    writer: Writer,
}

impl Drop for Alone {
    /// What was not committed keeps no lock until somebody else writes.
    fn drop(&mut self) {
        if self.pen.is_open {
            let writer = Arc::clone(&self.writer);
            tokio::spawn(async move {
                if let Some(pen) = writer.lock().await.as_mut() {
                    pen.roll_back().await;
                }
            });
        }
    }
}

impl Turn {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        match &mut self.0 {
            Kind::Alone(alone) => &mut alone.pen.connection,
            Kind::Beside(transaction) => transaction,
        }
    }

    /// Commits in a task of its own: a caller that goes away meanwhile leaves no doubt about the outcome.
    pub(crate) async fn commit(self) -> Result<()> {
        self.commit_then(|| ()).await
    }

    async fn commit_then(self, then: impl FnOnce() + Send + 'static) -> Result<()> {
        let task = tokio::spawn(async move {
            let committed = match self.0 {
                Kind::Alone(mut alone) => alone.pen.commit().await,
                Kind::Beside(transaction) => transaction.commit().await,
            };
            if committed.is_ok() {
                then();
            }
            committed
        });
        match task.await {
            Ok(committed) => Ok(committed?),
            Err(_) => Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)),
        }
    }
}

/// What an audit event tells beside who and when.
pub(crate) struct Event {
    /// Who may read it beside the operators.
    pub(crate) tenant: Option<TenantId>,
    /// `<noun>.<verb>`
    pub(crate) action: &'static str,
    /// Id or name of what was changed.
    pub(crate) target: String,
    /// What became of it; never a secret.
    pub(crate) details: Value,
}

/// Whether an object of the log is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Present,
    Gone,
}

/// A change under way.
pub(crate) struct Write {
    store: Store,
    turn: Turn,
    actor: Actor,
    now: Timestamp,
    revision: i64,
    audit_count: i64,
    audit_hash: String,
}

impl Store {
    /// Begins a transaction that touches neither the audit log nor the edges' log.
    pub(crate) async fn quiet_write(&self) -> Result<Turn> {
        let begin = self.inner.engine.begin_write();
        if self.inner.engine == Engine::Postgres {
            return Ok(Turn(Kind::Beside(self.pool().begin_with(begin).await?)));
        }
        let writer = Arc::clone(&self.inner.writer);
        let mut held = Arc::clone(&writer).lock_owned().await;
        if held.is_none() {
            *held = Some(Pen { connection: self.pool().acquire().await?.detach(), is_open: false });
        }
        let Ok(pen) = OwnedMutexGuard::try_map(held, Option::as_mut) else {
            return Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed));
        };
        let mut alone = Alone { pen, writer };
        alone.pen.begin(begin).await?;
        Ok(Turn(Kind::Alone(alone)))
    }

    /// Begins a transaction that reads everything as of one moment.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Any>> {
        Ok(self.pool().begin_with(self.inner.engine.begin_read()).await?)
    }

    /// Begins a change.
    pub(crate) async fn write(&self, actor: &Actor) -> Result<Write> {
        let mut turn = self.quiet_write().await?;
        let row = sqlx::query(
            "UPDATE log SET revision = revision WHERE id = 1 RETURNING revision, audit_count, audit_hash",
        )
        .fetch_one(turn.connection())
        .await?;
        Ok(Write {
            store: self.clone(),
            turn,
            actor: actor.clone(),
            now: self.now(),
            revision: row.integer("revision")?,
            audit_count: row.integer("audit_count")?,
            audit_hash: row.text("audit_hash")?,
        })
    }
}

impl Write {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        self.turn.connection()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The moment of the change: one for all its rows.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn now_millis(&self) -> i64 {
        self.now.unix_millis()
    }

    /// Moves the pointer of one object to the next revision.
    pub(crate) async fn point(&mut self, id: &ObjectId, shape: Shape) -> Result<()> {
        self.revision = self.revision.saturating_add(1);
        let (kind, object) = crate::changes::columns(id);
        sqlx::query(
            "INSERT INTO feed (kind, object_id, revision, gone, changed_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (kind, object_id) DO UPDATE
             SET revision = excluded.revision, gone = excluded.gone, changed_at = excluded.changed_at",
        )
        .bind(kind)
        .bind(object)
        .bind(self.revision)
        .bind(i64::from(shape == Shape::Gone))
        .bind(self.now.unix_millis())
        .execute(self.turn.connection())
        .await?;
        Ok(())
    }

    /// Moves the log's head without moving any pointer: only so that those who wait look again.
    pub(crate) fn advance(&mut self) {
        self.revision = self.revision.saturating_add(1);
    }

    /// Moves the pointers of all apps.
    pub(crate) async fn point_all_sites(&mut self) -> Result<()> {
        let moved = sqlx::query(
            "INSERT INTO feed (kind, object_id, revision, gone, changed_at)
             SELECT 'site', id, $1 + ROW_NUMBER() OVER (ORDER BY id), 0, $2 FROM apps WHERE 1 = 1
             ON CONFLICT (kind, object_id) DO UPDATE
             SET revision = excluded.revision, gone = excluded.gone, changed_at = excluded.changed_at",
        )
        .bind(self.revision)
        .bind(self.now.unix_millis())
        .execute(self.turn.connection())
        .await?;
        self.revision = self.revision.saturating_add(to_integer(moved.rows_affected()));
        Ok(())
    }

    /// Appends one event to the chain.
    pub(crate) async fn audit(&mut self, event: Event) -> Result<()> {
        let sequence = self.audit_count.saturating_add(1);
        let event = audit::sealed(event, &self.actor, (sequence, self.now), self.audit_hash.clone());
        audit::insert(self.turn.connection(), &event).await?;
        self.audit_count = sequence;
        self.audit_hash = event.hash;
        Ok(())
    }

    /// Makes the change visible to everybody, and wakes those who wait for it.
    pub(crate) async fn commit(mut self) -> Result<()> {
        sqlx::query("UPDATE log SET revision = $1, audit_count = $2, audit_hash = $3 WHERE id = 1")
            .bind(self.revision)
            .bind(self.audit_count)
            .bind(&self.audit_hash)
            .execute(self.turn.connection())
            .await?;
        let (store, revision) = (self.store, Revision(u64::try_from(self.revision).unwrap_or(0)));
        self.turn.commit_then(move || store.note_revision(revision)).await
    }
}

/// SHA-256 as 64 hexadecimal digits.
pub(crate) fn sha256_hex(text: &[u8]) -> String {
    use std::fmt::Write as _;
    digest::digest(&digest::SHA256, text).as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
