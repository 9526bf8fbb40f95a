//! What looks found, written down together: as many as wait, in one transaction.
//!
//! Most looks tell nothing new. A transaction for each costs more than all the rest of the look.

use std::collections::HashMap;
use std::sync::PoisonError;

use model::Timestamp;
use model::domain::Facts;
use model::id::DomainId;
use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use tokio::sync::oneshot;

use super::check::Checked;
use super::{DomainRecord, select};
use crate::Store;
use crate::caller::Version;
use crate::error::{Result, StoreError};
use crate::row::Columns as _;
use crate::tenant::expect_version;
use crate::write::Turn;

/// Most looks of one transaction, or that are taken by one statement: as many places as [`MANY`] and [`TAKE`] have.
const TOGETHER: usize = 32;
/// Domains by their ids, [`TOGETHER`] at a time.
const MANY: &str = select!(
    "WHERE domains.id IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
     $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)"
);

/// The condition stands beside the ids: on Postgres another process may have come between.
const TAKE: &str = "UPDATE domains SET next_check_at = $33 WHERE next_check_at <= $34 AND id IN ($1, $2, $3, $4, $5, \
     $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, \
     $29, $30, $31, $32) RETURNING id";

type Question = Query<'static, Any, AnyArguments>;

/// Where looks wait to be written down.
#[derive(Debug, Default)]
pub(crate) struct Scribe {
    waiting: std::sync::Mutex<Vec<Looked>>,
    /// Who writes; the others' looks gather meanwhile.
    writing: tokio::sync::Mutex<()>,
}

/// What a look found, and who is told what became of it.
#[derive(Debug)]
struct Looked {
    id: DomainId,
    version: Version,
    facts: Facts,
    next_check_at: Timestamp,
    told: oneshot::Sender<Result<Written>>,
}

/// A row that was read; none: a look has it.
type Found = Option<Result<DomainRecord>>;

/// What became of a look.
#[derive(Debug)]
pub(super) enum Written {
    /// It told nothing new, and is kept.
    Kept(DomainRecord),
    /// It is to be kept in a change that everybody hears of.
    IsNews(Checked),
}

impl Scribe {
    fn take(&self) -> Vec<Looked> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(TOGETHER);
        waiting.drain(..count).collect()
    }
}

impl Store {
    /// Takes looks that are due at domains until `until`: they are due for nobody else before.
    /// Gives those that nobody else took. Moves neither their versions nor any log.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn take_domain_checks(&self, ids: &[DomainId], until: Timestamp) -> Result<Vec<DomainId>> {
        let mut turn = self.quiet_write().await?;
        let mut taken = Vec::with_capacity(ids.len());
        for ids in ids.chunks(TOGETHER) {
            let rows = bind_ids(sqlx::query(TAKE), ids.iter().copied())
                .bind(until.unix_millis())
                .bind(self.now().unix_millis())
                .fetch_all(turn.connection())
                .await?;
            for row in &rows {
                taken.push(row.parsed("id")?);
            }
        }
        turn.commit().await?;
        Ok(taken)
    }

    /// Keeps what a look found, unless it is news.
    pub(super) async fn keep_look(
        &self,
        (id, version): (DomainId, Version),
        facts: Facts,
        next_check_at: Timestamp,
    ) -> Result<Written> {
        let (told, written) = oneshot::channel();
        let looked = Looked { id, version, facts, next_check_at, told };
        self.inner.scribe.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(looked);
        // A caller that goes away must not take what others found with it.
        let store = self.clone();
        tokio::spawn(async move { store.keep_looks().await });
        written.await.unwrap_or_else(|_| Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)))
    }

    /// Keeps what waits; another one may have done so already.
    async fn keep_looks(&self) {
        let _writing = self.inner.scribe.writing.lock().await;
        let mut looked = self.inner.scribe.take();
        if looked.is_empty() {
            return;
        }
        let written = self.write_looks(&mut looked).await;
        let failed = written.as_ref().err().map(ToString::to_string);
        let mut written = written.unwrap_or_default().into_iter();
        for look in looked {
            let outcome = written.next().unwrap_or_else(|| {
                let reason = failed.clone().unwrap_or_default();
                Err(StoreError::Unavailable(sqlx::Error::Protocol(reason)))
            });
            // Nobody may wait any more.
            let _gone = look.told.send(outcome);
        }
    }

    /// What became of each, in their order.
    async fn write_looks(&self, looked: &mut [Looked]) -> Result<Vec<Result<Written>>> {
        let mut turn = self.quiet_write().await?;
        let mut found = self.domains_by_id(&mut turn, looked).await?;
        let mut written = Vec::with_capacity(looked.len());
        for look in looked {
            let record = found.get_mut(&look.id);
            written.push(self.write_look(&mut turn, look, record).await?);
        }
        turn.commit().await?;
        Ok(written)
    }

    /// The outer error is the transaction's, the inner one the look's.
    async fn write_look(
        &self,
        turn: &mut Turn,
        look: &Looked,
        found: Option<&mut Found>,
    ) -> Result<Result<Written>> {
        let id = look.id;
        let record = match found.map(Option::take) {
            Some(Some(Ok(record))) => record,
            Some(Some(Err(damaged))) => return Ok(Err(damaged)),
            // Another look of the same moment, at the same version, has it.
            Some(None) => {
                let (id, current) = (id.to_string(), look.version.next());
                return Ok(Err(StoreError::Stale { what: "domain", id, current }));
            }
            None => return Ok(Err(StoreError::not_found("domain", id))),
        };
        if let Err(stale) = expect_version(("domain", id), record.version, Some(look.version)) {
            return Ok(Err(stale));
        }
        let checked = Checked::of(record, look.facts.clone(), look.next_check_at, self.now());
        if checked.is_news() {
            return Ok(Ok(Written::IsNews(checked)));
        }
        if checked.save(turn.connection()).await? {
            return Ok(Ok(Written::Kept(checked.domain)));
        }
        Ok(Err(self.overtaken(turn.connection(), id).await))
    }

    /// The domains; a row that cannot be read holds up nobody else's.
    async fn domains_by_id(&self, turn: &mut Turn, looked: &[Looked]) -> Result<HashMap<DomainId, Found>> {
        let query = match looked {
            [only] => sqlx::query(select!("WHERE domains.id = $1")).bind(only.id.to_string()),
            _ => bind_ids(sqlx::query(MANY), looked.iter().map(|look| look.id)),
        };
        let rows = query.fetch_all(turn.connection()).await?;
        rows.iter().map(|row| Ok((row.parsed("id")?, Some(self.read_domain(row))))).collect()
    }
}

/// Fills the places of [`MANY`] or [`TAKE`].
fn bind_ids(query: Question, ids: impl Iterator<Item = DomainId>) -> Question {
    let places = ids.map(|id| id.to_string()).chain(std::iter::repeat(String::new())).take(TOGETHER);
    places.fold(query, Query::bind)
}
