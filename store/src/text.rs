//! Texts of ours in the DNS that prove names (dns-01). Each is written down before it is set, so that whatever becomes of
//! its order, and of the process that works on it, it is taken away sooner or later.

use std::time::Duration;

use model::Timestamp;

use crate::Store;
use crate::error::Result;
use crate::row::Columns as _;

/// How long it is tried to take a text away that nobody needs any more.
const TRIED: Duration = Duration::from_secs(7 * 24 * 3600);

/// A text in a zone of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneText {
    /// The name that it stands at.
    pub place: String,
    /// What it says.
    pub text: String,
    /// Until when an authority may look at it.
    pub expires_at: Timestamp,
}

impl ZoneText {
    /// Whether it was tried for so long to take it away that this is given up.
    #[must_use]
    pub fn is_given_up(&self, now: Timestamp) -> bool {
        self.expires_at.plus(TRIED) <= now
    }
}

impl Store {
    /// Writes down that a text is about to be set.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn keep_text(&self, text: &ZoneText) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query(
            "INSERT INTO texts (place, text, expires_at, next_at) VALUES ($1, $2, $3, $3)
             ON CONFLICT (place, text) DO UPDATE SET expires_at = excluded.expires_at, next_at = excluded.next_at",
        )
        .bind(&text.place)
        .bind(&text.text)
        .bind(text.expires_at.unix_millis())
        .execute(turn.connection())
        .await?;
        turn.commit().await
    }

    /// Forgets a text that was taken away.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn drop_text(&self, place: &str, text: &str) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query("DELETE FROM texts WHERE place = $1 AND text = $2")
            .bind(place)
            .bind(text)
            .execute(turn.connection())
            .await?;
        turn.commit().await
    }

    /// At most `limit` texts that nobody has taken away in their time, the oldest first: nobody else is given them for
    /// `ttl`. Who has taken one away says so by [`Self::drop_text`].
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn take_left_texts(&self, limit: u32, ttl: Duration) -> Result<Vec<ZoneText>> {
        let now = self.now();
        let due = sqlx::query("SELECT * FROM texts WHERE next_at <= $1 ORDER BY next_at LIMIT $2")
            .bind(now.unix_millis())
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        let mut taken = Vec::new();
        for row in &due {
            let (place, text) = (row.text("place")?, row.text("text")?);
            let mut turn = self.quiet_write().await?;
            let ours =
                sqlx::query("UPDATE texts SET next_at = $3 WHERE place = $1 AND text = $2 AND next_at <= $4")
                    .bind(&place)
                    .bind(&text)
                    .bind(now.plus(ttl).unix_millis())
                    .bind(now.unix_millis())
                    .execute(turn.connection())
                    .await?;
            turn.commit().await?;
            if ours.rows_affected() == 1 {
                taken.push(ZoneText { place, text, expires_at: row.moment("expires_at")? });
            }
        }
        Ok(taken)
    }
}
