//! Everything in the database that is sealed, and how it comes under another key.
//!
//! The work is found by the old key's fingerprint, through an index, so it has no state of its own: killed anywhere, it
//! goes on where it was. Each value is put in place only if it still is what was opened, so a change that comes between
//! is neither lost nor taken back. Edges are not told: what they are sealed for is a key of their own.

use std::collections::BTreeMap;

use model::certificate::Certificate;
use model::domain::connection::credential_context;
use model::seal::{KeyRing, Sealed};
use model::ticket::TicketKey;
use sqlx::any::AnyRow;

use crate::error::{Result, StoreError};
use crate::row::Columns as _;
use crate::{AccountRecord, LocalCa, Store};

/// Values in one transaction: other writers wait for as long as that takes, some 10 ms.
const PAGE: i64 = 500;
/// Most values that are named because they do not open.
const NAMED: usize = 20;

/// What became of the values that a key had sealed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resealed {
    /// How many are sealed with another key now.
    pub resealed: u64,
    /// How many do not open: they are left as they are.
    pub damaged: u64,
    /// Where the first of those are: `table.column id`.
    pub places: Vec<String>,
}

/// One sealed column. All statements are made of these words alone.
struct Column {
    name: &'static str,
    counts: &'static str,
    page: &'static str,
    swap: &'static str,
    /// What a value is sealed as, by the `subject` of its row.
    context: fn(&str) -> Result<String>,
}

macro_rules! column {
    ($table:literal, $sealed:literal, id $id:literal, of $subject:literal, $context:expr) => {
        Column {
            name: concat!($table, ".", $sealed),
            counts: concat!(
                "SELECT substr(",
                $sealed,
                ", 1, 12) AS seal, COUNT(*) AS many FROM ",
                $table,
                " WHERE ",
                $sealed,
                " IS NOT NULL GROUP BY substr(",
                $sealed,
                ", 1, 12)"
            ),
            page: concat!(
                "SELECT ",
                $id,
                " AS id, ",
                $subject,
                " AS subject, ",
                $sealed,
                " AS sealed FROM ",
                $table,
                " WHERE ",
                $sealed,
                " IS NOT NULL AND substr(",
                $sealed,
                ", 1, 12) = $1 AND ",
                $id,
                " > $2 ORDER BY ",
                $id,
                " LIMIT $3"
            ),
            swap: concat!(
                "UPDATE ",
                $table,
                " SET ",
                $sealed,
                " = $3 WHERE ",
                $id,
                " = $1 AND ",
                $sealed,
                " = $2"
            ),
            context: $context,
        }
    };
}

/// All of them. A test compares the list with the tables.
const COLUMNS: [Column; 8] = [
    column!("local_ca", "key_sealed", id "CAST(id AS TEXT)", of "'local_ca'", |_| Ok(LocalCa::KEY_CONTEXT.to_owned())),
    column!("acme_accounts", "key_sealed", id "directory", of "directory", |of| Ok(AccountRecord::key_context(of))),
    column!("acme_accounts", "next_key_sealed", id "directory", of "directory", |of| Ok(AccountRecord::key_context(of))),
    column!("ticket_keys", "key_sealed", id "id", of "id", |of| Ok(TicketKey::key_context(parsed(of)?))),
    column!("orders", "key_sealed", id "id", of "certificate_id", |of| Ok(Certificate::key_context(parsed(of)?))),
    column!("connections", "credential_sealed", id "domain_id", of "domain_id", |of| Ok(credential_context(parsed(of)?))),
    column!("contests", "key_sealed", id "id", of "certificate_id", |of| Ok(Certificate::key_context(parsed(of)?))),
    column!("certificates", "key_sealed", id "id", of "id", |of| Ok(Certificate::key_context(parsed(of)?))),
];

/// One sealed value.
struct Value {
    id: String,
    subject: String,
    sealed: Sealed,
}

impl Store {
    /// The columns that hold sealed values, `table.column`.
    #[must_use]
    pub fn sealed_columns() -> Vec<&'static str> {
        COLUMNS.iter().map(|column| column.name).collect()
    }

    /// How many values each key has sealed, by its fingerprint. Costs a look at an index.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn sealed_counts(&self) -> Result<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        for column in &COLUMNS {
            for row in &sqlx::query(column.counts).fetch_all(self.pool()).await? {
                let seal = row.text("seal")?;
                let fingerprint = seal.split('.').nth(1).unwrap_or(&seal).to_owned();
                *counts.entry(fingerprint).or_insert(0) += row.natural("many")?;
            }
        }
        Ok(counts)
    }

    /// Seals everything anew that the key of the fingerprint `old` has sealed, until nothing is left but what does not
    /// open. Tells `progress` how many there are so far.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if the ring seals with that very key or does not have it; else if the database does not
    /// answer: what is done is done, call it again.
    pub async fn reseal(&self, ring: &KeyRing, old: &str, mut progress: impl FnMut(u64)) -> Result<Resealed> {
        if ring.seals() == old || !ring.fingerprints().iter().any(|held| held == old) {
            let reason = format!("key {old} must be at hand and must not be the one that seals");
            return Err(StoreError::invalid("fingerprint", reason));
        }
        let mut outcome = Resealed::default();
        loop {
            let before = outcome.resealed;
            (outcome.damaged, outcome.places) = (0, Vec::new());
            for column in &COLUMNS {
                self.reseal_column(column, (ring, old), &mut outcome, &mut progress).await?;
            }
            // Once more, until there is nothing that was written meanwhile.
            if outcome.resealed == before {
                return Ok(outcome);
            }
        }
    }

    async fn reseal_column(
        &self,
        column: &Column,
        (ring, old): (&KeyRing, &str),
        outcome: &mut Resealed,
        progress: &mut impl FnMut(u64),
    ) -> Result<()> {
        let (prefix, mut after) = (Sealed::prefix(old), String::new());
        loop {
            let rows =
                sqlx::query(column.page).bind(&prefix).bind(&after).bind(PAGE).fetch_all(self.pool()).await?;
            let values = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
            let Some(last) = values.last() else { return Ok(()) };
            after.clone_from(&last.id);
            let mut fresh = Vec::with_capacity(values.len());
            for value in values {
                match anew(column, &value, ring) {
                    Ok(sealed) => fresh.push((value, sealed)),
                    Err(error) => {
                        tracing::error!(column = column.name, id = value.id, %error, "a sealed value does not open");
                        outcome.damaged += 1;
                        if outcome.places.len() < NAMED {
                            outcome.places.push(format!("{} {}", column.name, value.id));
                        }
                    }
                }
            }
            outcome.resealed += self.swap(column, &fresh).await?;
            progress(outcome.resealed);
        }
    }

    /// Puts values in the place of what they were made from; those that changed meanwhile are left alone.
    async fn swap(&self, column: &Column, fresh: &[(Value, Sealed)]) -> Result<u64> {
        let (mut turn, mut swapped) = (self.quiet_write().await?, 0);
        for (value, sealed) in fresh {
            let done = sqlx::query(column.swap)
                .bind(&value.id)
                .bind(value.sealed.to_string())
                .bind(sealed.to_string())
                .execute(turn.connection())
                .await?;
            swapped += done.rows_affected();
        }
        turn.commit().await?;
        Ok(swapped)
    }
}

fn anew(column: &Column, value: &Value, ring: &KeyRing) -> Result<Sealed> {
    let context = (column.context)(&value.subject)?;
    let sealed = ring.open(&context, &value.sealed).and_then(|clear| ring.seal(&context, &clear));
    sealed.map_err(|error| StoreError::corrupt(error.to_string()))
}

fn read(row: &AnyRow) -> Result<Value> {
    Ok(Value { id: row.text("id")?, subject: row.text("subject")?, sealed: row.parsed("sealed")? })
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|error| StoreError::corrupt(format!("`{text}`: {error}")))
}
