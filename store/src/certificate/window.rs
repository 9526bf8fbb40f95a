//! When the authority of a certificate would like it to be renewed (RFC 9773).

use std::time::Duration;

use model::Timestamp;
use model::id::CertificateId;
use sqlx::AnyConnection;

use super::{CertificateRecord, read};
use crate::Store;
use crate::error::Result;
use crate::order::{self, Order};
use crate::row::Columns as _;

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
            "SELECT certificates.*, orders.authority FROM certificates
             JOIN orders ON orders.certificate_id = certificates.id
             WHERE certificates.status = 'active' AND certificates.source = 'acme'
             AND certificates.ask_at <= $1 AND certificates.not_after > $1 AND orders.authority IS NOT NULL
             ORDER BY certificates.ask_at LIMIT $2",
        )
        .bind(now.unix_millis())
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok((read(row, now)?, row.text("authority")?))).collect()
    }

    /// Takes at most `limit` of these questions: nobody else is given them for `ttl`. Who asks must write the answer
    /// down by [`Self::put_renewal_window`]; a question whose asker is gone is asked again when `ttl` is over.
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
             (SELECT certificates.id FROM certificates JOIN orders ON orders.certificate_id = certificates.id
              WHERE certificates.status = 'active' AND certificates.source = 'acme'
              AND certificates.ask_at <= $1 AND certificates.not_after > $1 AND orders.authority IS NOT NULL
              ORDER BY certificates.ask_at LIMIT $2)
             RETURNING *, (SELECT MAX(orders.authority) FROM orders
                           WHERE orders.certificate_id = certificates.id) AS authority",
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

    /// The order that a certificate came by, if it came by one: which authority made it, and for which names.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn order_of(&self, id: CertificateId) -> Result<Option<Order>> {
        let row = sqlx::query("SELECT * FROM orders WHERE certificate_id = $1 LIMIT 1")
            .bind(id.to_string())
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| order::read(&row)).transpose()
    }

    /// Keeps what an authority said: its window (none: it has none), when the certificate is renewed by it, and when
    /// to ask again. The names' domains are looked at by then, and a renewal that somebody asked for stays.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_renewal_window(
        &self,
        certificate: &CertificateRecord,
        window: Option<(Timestamp, Timestamp)>,
        renew_at: Timestamp,
        ask_in: Duration,
    ) -> Result<()> {
        let is_news = true;
        self.put_renewal_windows(&[RenewalAdvice { id: certificate.id, window, renew_at, ask_in, is_news }])
            .await
    }

    /// As [`Self::put_renewal_window`], for several certificates in one transaction.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_renewal_windows(&self, told: &[RenewalAdvice]) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        for advice in told {
            put(turn.connection(), advice, self.now()).await?;
        }
        turn.commit().await
    }
}

async fn put(connection: &mut AnyConnection, advice: &RenewalAdvice, now: Timestamp) -> Result<()> {
    let id = advice.id.to_string();
    if !advice.is_news {
        sqlx::query("UPDATE certificates SET ask_at = $2 WHERE id = $1")
            .bind(&id)
            .bind(now.plus(advice.ask_in).unix_millis())
            .execute(connection)
            .await?;
        return Ok(());
    }
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
