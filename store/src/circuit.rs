//! Authorities that fail: after some failures in a row one is left alone for a while, by all processes. Orders that
//! have gone elsewhere meanwhile are shown the way back by one of them, which tries it.

use std::time::Duration;

use model::Timestamp;
use sqlx::any::AnyRow;

use crate::Store;
use crate::error::Result;
use crate::row::Columns as _;

/// Failures in a row after which an authority is left alone.
const FAILURES: u32 = 5;
/// How long at first, and at most.
const OPEN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(600));
/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 300;

/// An authority that failed the last time it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// Its directory.
    pub authority: String,
    /// Failures in a row.
    pub failures: u32,
    /// When the first of them was.
    pub since: Timestamp,
    /// Until when it is left alone by those who have another one, and if it [`Self::is_open`] by all; past: it may be
    /// tried.
    pub open_until: Timestamp,
    /// Why it failed last.
    pub reason: String,
}

impl Circuit {
    /// Whether it failed too often to be asked without care.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.failures >= FAILURES
    }
}

/// How long an authority is left alone after so many failures.
fn pause(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(FAILURES));
    OPEN.0.saturating_mul(doubled).min(OPEN.1)
}

impl Store {
    /// Authorities that failed the last time they were asked.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn circuits(&self) -> Result<Vec<Circuit>> {
        let rows = sqlx::query("SELECT * FROM ca_circuits ORDER BY authority").fetch_all(self.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// Counts a failure that was the authority's own.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn note_authority_failure(&self, authority: &str, reason: &str) -> Result<Circuit> {
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        let row = sqlx::query(
            "INSERT INTO ca_circuits (authority, failures, since, open_until, reason) VALUES ($1, 1, $2, 0, $3)
             ON CONFLICT (authority) DO UPDATE SET failures = ca_circuits.failures + 1, reason = excluded.reason
             RETURNING *",
        )
        .bind(authority)
        .bind(now.unix_millis())
        .bind(reason.chars().take(MAX_REASON).collect::<String>())
        .fetch_one(turn.connection())
        .await?;
        let mut circuit = read(&row)?;
        circuit.open_until = now.plus(pause(circuit.failures));
        sqlx::query("UPDATE ca_circuits SET open_until = $2 WHERE authority = $1")
            .bind(authority)
            .bind(circuit.open_until.unix_millis())
            .execute(turn.connection())
            .await?;
        turn.commit().await?;
        Ok(circuit)
    }

    /// The authority works.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn note_authority_works(&self, authority: &str) -> Result<()> {
        let row = sqlx::query("SELECT authority FROM ca_circuits WHERE authority = $1")
            .bind(authority)
            .fetch_optional(self.pool())
            .await?;
        if row.is_none() {
            return Ok(());
        }
        let mut turn = self.quiet_write().await?;
        sqlx::query("DELETE FROM ca_circuits WHERE authority = $1")
            .bind(authority)
            .execute(turn.connection())
            .await?;
        turn.commit().await
    }

    /// The authority answers again, whatever it may do with orders: one of them may try it now.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn note_authority_answers(&self, authority: &str) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query("UPDATE ca_circuits SET open_until = $2 WHERE authority = $1")
            .bind(authority)
            .bind(self.now().unix_millis())
            .execute(turn.connection())
            .await?;
        turn.commit().await
    }

    /// Whether the caller is the one who tries an authority whose pause, as `found`, is over; others are told no
    /// until the first pause has passed once more.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn may_try_authority(&self, found: &Circuit) -> Result<bool> {
        let now = self.now();
        if now < found.open_until {
            return Ok(false);
        }
        let mut turn = self.quiet_write().await?;
        let done =
            sqlx::query("UPDATE ca_circuits SET open_until = $3 WHERE authority = $1 AND open_until = $2")
                .bind(&found.authority)
                .bind(found.open_until.unix_millis())
                .bind(now.plus(OPEN.0).unix_millis())
                .execute(turn.connection())
                .await?;
        turn.commit().await?;
        Ok(done.rows_affected() == 1)
    }
}

fn read(row: &AnyRow) -> Result<Circuit> {
    Ok(Circuit {
        authority: row.text("authority")?,
        failures: u32::try_from(row.integer("failures")?).unwrap_or(u32::MAX),
        since: row.moment("since")?,
        open_until: row.moment("open_until")?,
        reason: row.text("reason")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_left_alone_for_a_minute_and_from_the_fifth_failure_on_for_up_to_ten() {
        let pauses: Vec<u64> = [0, 1, 4, 5, 6, 7, 8, 9, 10, u32::MAX].map(|n| pause(n).as_secs()).to_vec();
        assert_eq!(pauses, [0, 60, 60, 60, 120, 240, 480, 600, 600, 600]);
    }
}
