//! When the authority of a certificate would like it to be renewed (RFC 9773).

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;
use model::id::CertificateId;
use sqlx::AnyConnection;
use sqlx::query::Query;

use super::{CertificateRecord, read};
use crate::Store;
use crate::error::Result;
use crate::row::Columns as _;

/// Most certificates of one statement that tells nothing new of them.
const TOGETHER: usize = 16;

/// What an authority said about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalAdvice {
    /// The certificate.
    pub id: CertificateId,
    /// Within which it would like it to be renewed; none: it has no advice.
    pub window: Option<(Timestamp, Timestamp)>,
    /// When it is renewed by that.
    pub renew_at: Timestamp,
    /// How long until it is asked again.
    pub ask_in: Duration,
    /// Whether the window is another one than before; else only the next question is written down.
    pub is_news: bool,
    /// Whether the authority wants it renewed by now although it was not due, e.g. because it is revoked.
    pub is_recalled: bool,
}

impl Store {
    /// Active certificates whose authority is to be asked at `now` when it would like them renewed, each with the
    /// authority's directory. Those of which nobody knows the authority are left out.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn certificates_to_ask(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(CertificateRecord, String)>> {
        let rows = sqlx::query(
            "SELECT * FROM certificates WHERE status = 'active' AND source = 'acme' AND ask_at <= $1
             AND not_after > $1 AND authority IS NOT NULL ORDER BY ask_at LIMIT $2",
        )
        .bind(now.unix_millis())
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok((read(row, now)?, row.text("authority")?))).collect()
    }

    /// Takes at most `limit` of these questions: nobody else is given them for `ttl`. Who asks must write the answer
    /// down by [`Self::put_renewal_windows`]; a question whose asker is gone is asked again when `ttl` is over.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn take_questions(
        &self,
        limit: u32,
        ttl: Duration,
    ) -> Result<Vec<(CertificateRecord, String)>> {
        let now = self.now();
        if self.certificates_to_ask(now, 1).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut turn = self.quiet_write().await?;
        // The condition stands twice: on Postgres another process may have come between.
        let rows = sqlx::query(
            "UPDATE certificates SET ask_at = $3 WHERE ask_at <= $1 AND id IN
             (SELECT id FROM certificates WHERE status = 'active' AND source = 'acme' AND ask_at <= $1
              AND not_after > $1 AND authority IS NOT NULL ORDER BY ask_at LIMIT $2) RETURNING *",
        )
        .bind(now.unix_millis())
        .bind(i64::from(limit))
        .bind(now.plus(ttl).unix_millis())
        .fetch_all(turn.connection())
        .await?;
        let taken = rows.iter().map(|row| Ok((read(row, now)?, row.text("authority")?))).collect();
        turn.commit().await?;
        taken
    }

    /// Keeps what authorities said, in one transaction: the windows (none: it has none), when each certificate is renewed
    /// by it, and when to ask again. The names' domains are looked at by then, and a renewal that somebody asked for stays.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_renewal_windows(&self, told: &[RenewalAdvice]) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        let (news, same): (Vec<_>, Vec<_>) = told.iter().partition(|advice| advice.is_news);
        for advice in news {
            put(turn.connection(), advice, self.now()).await?;
        }
        // Nearly all answers tell nothing new, and most of them the same time until the next question.
        let mut asked_in: BTreeMap<Duration, Vec<CertificateId>> = BTreeMap::new();
        for advice in same {
            asked_in.entry(advice.ask_in).or_default().push(advice.id);
        }
        for (ask_in, ids) in &asked_in {
            for ids in ids.chunks(TOGETHER) {
                ask_at(turn.connection(), ids, self.now().plus(*ask_in)).await?;
            }
        }
        turn.commit().await
    }

    /// Has some certificates of `authority` asked about sooner, as [`Hastened::sooner`] has it. Gives how many.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn hasten_questions(&self, authority: &str, which: Hastened) -> Result<u64> {
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        let by = which.instead_of.saturating_sub(which.after);
        let hastened = sqlx::query(
            "UPDATE certificates SET ask_at = CASE WHEN ask_at - $2 > $1 THEN ask_at - $2 ELSE $1 END WHERE id IN
             (SELECT id FROM certificates WHERE status = 'active' AND source = 'acme' AND ask_at > $3
              AND authority = $4 ORDER BY ask_at LIMIT $5)",
        )
        .bind(now.unix_millis())
        .bind(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
        .bind(now.plus(which.after).unix_millis())
        .bind(authority)
        .bind(i64::from(which.most))
        .execute(turn.connection())
        .await?;
        turn.commit().await?;
        Ok(hastened.rows_affected())
    }
}

/// Certificates of an authority that are asked about sooner than it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hastened {
    /// Most of them; those whose question is the nearest, but not so near that this would change nothing.
    pub most: u32,
    /// How long after its last question one is asked about: at once if that is over.
    pub after: Duration,
    /// How long after its last question it would have been.
    pub instead_of: Duration,
}

impl Hastened {
    /// When a certificate is asked about that would have been at `ask_at`; none: as it would have been.
    #[must_use]
    pub fn sooner(self, ask_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let sooner = ask_at.minus(self.instead_of).plus(self.after).max(now);
        (ask_at > now.plus(self.after) && sooner < ask_at).then_some(sooner)
    }
}

/// Writes down when some certificates are asked about next, at most [`TOGETHER`].
async fn ask_at(connection: &mut AnyConnection, ids: &[CertificateId], at: Timestamp) -> Result<()> {
    let query = sqlx::query(
        "UPDATE certificates SET ask_at = $17 WHERE id IN
         ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    );
    let places = ids.iter().map(ToString::to_string).chain(std::iter::repeat(String::new())).take(TOGETHER);
    places.fold(query, Query::bind).bind(at.unix_millis()).execute(connection).await?;
    Ok(())
}

async fn put(connection: &mut AnyConnection, advice: &RenewalAdvice, now: Timestamp) -> Result<()> {
    let id = advice.id.to_string();
    let (window, renew_at) = (advice.window, advice.renew_at);
    sqlx::query(
        "UPDATE certificates SET window_start = $2, window_end = $3, ask_at = $4,
             renew_at = CASE WHEN renew_at <= $5 THEN renew_at ELSE $6 END WHERE id = $1",
    )
    .bind(&id)
    .bind(window.map(|(start, _)| start.unix_millis()))
    .bind(window.map(|(_, end)| end.unix_millis()))
    .bind(now.plus(advice.ask_in).unix_millis())
    .bind(now.unix_millis())
    .bind(renew_at.unix_millis())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "UPDATE domains SET next_check_at = $2 WHERE next_check_at > $2
             AND host IN (SELECT name FROM certificate_names WHERE certificate_id = $1)",
    )
    .bind(&id)
    .bind(renew_at.max(now).unix_millis())
    .execute(connection)
    .await?;
    Ok(())
}
