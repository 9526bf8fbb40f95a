//! The tables, in numbered steps. A step that was released is never changed: the next one is added.

use sqlx::AnyConnection;

use crate::engine::Engine;
use crate::error::{Result, StoreError};
use crate::random;
use crate::row::Columns as _;

/// The steps; the version of a database is how many it has taken.
const STEPS: [&str; 16] = [
    include_str!("schema/0001_first.sql"),
    include_str!("schema/0002_ticket_keys.sql"),
    include_str!("schema/0003_client_ca.sql"),
    include_str!("schema/0004_challenge_kind.sql"),
    include_str!("schema/0005_authorities.sql"),
    include_str!("schema/0006_sealing.sql"),
    include_str!("schema/0007_connections.sql"),
    include_str!("schema/0008_order_placed.sql"),
    include_str!("schema/0009_contests.sql"),
    include_str!("schema/0010_consents.sql"),
    include_str!("schema/0011_beside.sql"),
    include_str!("schema/0012_fair_turns.sql"),
    include_str!("schema/0013_claims.sql"),
    include_str!("schema/0014_ended.sql"),
    include_str!("schema/0015_made_by.sql"),
    include_str!("schema/0016_texts.sql"),
];

/// Number of the lock that keeps two nodes from taking a step at the same time (any constant of ours).
const POSTGRES_LOCK: &str = "SELECT pg_advisory_xact_lock(7306086967310)";

/// Whether a database was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Database,
}

/// Takes the steps that the database has not taken yet, inside the caller's transaction.
pub(crate) async fn migrate(connection: &mut AnyConnection, engine: Engine, place: &str) -> Result<Found> {
    if engine == Engine::Postgres {
        sqlx::query(POSTGRES_LOCK).execute(&mut *connection).await?;
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS stoa_schema (version BIGINT PRIMARY KEY)")
        .execute(&mut *connection)
        .await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM stoa_schema")
        .fetch_one(&mut *connection)
        .await?;
    let taken = usize::try_from(row.integer("version")?).unwrap_or(usize::MAX);
    if taken > STEPS.len() {
        return Err(newer(place, taken));
    }
    for (number, step) in (1_i64..).zip(STEPS).skip(taken) {
        sqlx::raw_sql(step).execute(&mut *connection).await?;
        sqlx::query("INSERT INTO stoa_schema (version) VALUES ($1)")
            .bind(number)
            .execute(&mut *connection)
            .await?;
    }
    if taken > 0 {
        return Ok(Found::Database);
    }
    sqlx::query(
        "INSERT INTO log (id, lineage, revision, horizon, audit_count, audit_hash, zones)
         VALUES (1, $1, 0, 0, 0, $2, '')",
    )
    .bind(random::text())
    .bind(crate::audit::GENESIS)
    .execute(&mut *connection)
    .await?;
    Ok(Found::Nothing)
}

fn newer(place: &str, found: usize) -> StoreError {
    let known = STEPS.len();
    let reason = format!(
        "it has schema {found}, this program knows up to {known}: run the newer program, or restore a backup"
    );
    StoreError::Unopened { place: place.to_owned(), reason }
}
