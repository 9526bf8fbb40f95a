//! What an authority still allows us, shared by all processes, so that an order that it would refuse is not sent.
//!
//! Each limit is a bucket that refills steadily, as Let's Encrypt's are. What is kept of one is the moment at which it
//! would be full again if nothing more were drawn (the generic cell rate algorithm). A draw may lie in the future: it
//! is reserved, those who come later wait behind it, and each can be told at once when its turn is. A crash between a
//! reservation and the request loses one draw, never adds one.

use std::time::Duration;

use model::Timestamp;
use model::id::OrderId;
use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Store;
use crate::error::Result;
use crate::order::{self, Order};
use crate::row::{Columns as _, to_word};

/// Most lines of [`Store::ca_budget`] for one authority.
const LINES: i64 = 100;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    /// New orders of our account.
    Orders,
    /// Certificates for names under one registered domain.
    RegisteredDomain,
    /// Certificates for exactly the same names.
    ExactSet,
    /// Failed validations of a name within an hour.
    FailuresPerHour,
    /// Failed validations of a name within a day.
    FailuresPerDay,
    /// What the authority itself has said is used up, whichever limit that is; the subject names it.
    Stopped,
}

/// A limit: `burst` at once, refilled steadily over `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many at once when the bucket is full; at least 1.
    pub burst: u32,
    /// How long an empty bucket takes to be full.
    pub period: Duration,
    /// How many of the burst this draw leaves for those that hurry more.
    pub spare: u32,
}

/// One draw from one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// Which kind.
    pub bucket: Bucket,
    /// Of what, e.g. the registered domain; empty: of the account.
    pub subject: String,
    /// How much it holds.
    pub limit: Limit,
}

/// A bucket that is not full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetLine {
    /// Which kind.
    pub bucket: Bucket,
    /// Of what.
    pub subject: String,
    /// How much it holds.
    pub limit: Limit,
    /// When it is full again if nothing more is drawn.
    pub full_at: Timestamp,
}

impl Limit {
    fn interval(self) -> Duration {
        self.period / self.burst.max(1)
    }

    /// When one more may be drawn from a bucket that is full at `full_at`.
    #[must_use]
    pub fn free_at(self, full_at: Timestamp, now: Timestamp) -> Timestamp {
        let room = self.burst.saturating_sub(self.spare).saturating_sub(1);
        full_at.minus(self.interval().saturating_mul(room)).max(now)
    }

    /// When the bucket is full if one may be drawn at `free_at`.
    #[must_use]
    pub fn full_at(self, free_at: Timestamp) -> Timestamp {
        free_at.plus(self.interval().saturating_mul(self.burst.saturating_sub(self.spare).saturating_sub(1)))
    }

    /// How many may be drawn at `now` from a bucket that is full at `full_at`.
    #[must_use]
    pub fn left(self, full_at: Timestamp, now: Timestamp) -> u32 {
        let interval = self.interval().as_millis().max(1);
        let drawn = full_at.since(now).as_millis().div_ceil(interval);
        self.burst.saturating_sub(self.spare).saturating_sub(u32::try_from(drawn).unwrap_or(u32::MAX))
    }
}

/// Draws once from each of some buckets, given with when they are full: the first moment at which all have room, and
/// when each is full now.
#[must_use]
pub fn draw_all(buckets: &[(Limit, Timestamp)], now: Timestamp) -> (Timestamp, Vec<Timestamp>) {
    let free = buckets.iter().map(|(limit, full_at)| limit.free_at(*full_at, now));
    let turn = free.max().unwrap_or(now);
    // A bucket that has room is drawn from as of now: a name that waits for a limit of its own must not take the
    // room of all others with it.
    let drawn = |(limit, full_at): &(Limit, Timestamp)| {
        let own = limit.free_at(*full_at, now);
        (*full_at).max(own).plus(limit.interval())
    };
    (turn, buckets.iter().map(drawn).collect())
}

impl Store {
    /// Reserves the order's turn with `authority`: its `slot_at` is when it may be sent. What is reserved already
    /// stays, unless it was spent on what was sent and never answered; an address with another authority is forgotten.
    ///
    /// # Errors
    /// [`crate::StoreError::Fenced`] if the lease is somebody else's by now, [`crate::StoreError::NotFound`].
    pub async fn reserve_order(
        &self,
        id: OrderId,
        fence: i64,
        authority: &str,
        draws: &[Draw],
    ) -> Result<Order> {
        let mut turn = self.quiet_write().await?;
        let held = order::held(turn.connection(), (id, fence)).await?;
        let stays = held.authority.as_deref() == Some(authority);
        if stays && held.turn().is_some() {
            return Ok(held);
        }
        let now = self.now();
        let (slot, is_shared) = draw(turn.connection(), authority, draws, now).await?;
        let row = sqlx::query(
            "UPDATE orders SET authority = $3, slot_at = $4, order_url = CASE WHEN $5 = 1 THEN order_url END,
             placed_at = CASE WHEN $5 = 1 AND order_url IS NOT NULL THEN placed_at END, updated_at = $6, turn_shared = $7
             WHERE id = $1 AND fence = $2 AND state = 'open' RETURNING *",
        )
        .bind(id.to_string())
        .bind(fence)
        .bind(authority)
        .bind(slot.unix_millis())
        .bind(i64::from(stays))
        .bind(now.unix_millis())
        .bind(i64::from(is_shared))
        .fetch_optional(turn.connection())
        .await?;
        let Some(row) = row else { return Err(order::refused(turn.connection(), id).await) };
        let order = order::read(&row)?;
        turn.commit().await?;
        Ok(order)
    }

    /// Draws whether there is room or not: for what has happened already.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn draw_budget(&self, authority: &str, draws: &[Draw]) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        draw(turn.connection(), authority, draws, self.now()).await?;
        turn.commit().await
    }

    /// Sees to it that nothing may be drawn before `until`, as the authority has said; what was drawn stays drawn.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn stop_budget(&self, authority: &str, draws: &[Draw], until: Timestamp) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        for draw in sorted(draws) {
            let full_at = lock(turn.connection(), authority, draw).await?;
            write(turn.connection(), authority, draw, full_at.max(draw.limit.full_at(until))).await?;
        }
        turn.commit().await
    }

    /// Takes the order away from the authority that it was with: address and key are forgotten, and `draws` are given
    /// back if its turn was still to come, so that it cannot have been sent.
    ///
    /// # Errors
    /// As [`Self::reserve_order`].
    pub async fn leave_authority(&self, id: OrderId, fence: i64, draws: &[Draw]) -> Result<Order> {
        let mut turn = self.quiet_write().await?;
        let held = order::held(turn.connection(), (id, fence)).await?;
        let now = self.now();
        if let (Some(authority), Some(_)) = (&held.authority, held.slot_at.filter(|turn| *turn > now)) {
            for draw in sorted(draws) {
                let full_at = lock(turn.connection(), authority, draw).await?;
                write(turn.connection(), authority, draw, full_at.minus(draw.limit.interval())).await?;
            }
        }
        let row = sqlx::query(
            "UPDATE orders SET authority = NULL, slot_at = NULL, order_url = NULL, placed_at = NULL,
             key_sealed = NULL, updated_at = $3
             WHERE id = $1 AND fence = $2 AND state = 'open' RETURNING *",
        )
        .bind(id.to_string())
        .bind(fence)
        .bind(now.unix_millis())
        .fetch_optional(turn.connection())
        .await?;
        let Some(row) = row else { return Err(order::refused(turn.connection(), id).await) };
        let order = order::read(&row)?;
        turn.commit().await?;
        Ok(order)
    }

    /// When `draws` would be possible; draws nothing.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn budget_free_at(&self, authority: &str, draws: &[Draw]) -> Result<Timestamp> {
        let now = self.now();
        let mut free_at = now;
        for draw in draws {
            let row = sqlx::query(
                "SELECT full_at FROM ca_budget WHERE authority = $1 AND bucket = $2 AND subject = $3",
            )
            .bind(authority)
            .bind(to_word(&draw.bucket)?)
            .bind(&draw.subject)
            .fetch_optional(self.pool())
            .await?;
            if let Some(row) = row {
                free_at = free_at.max(draw.limit.free_at(row.moment("full_at")?, now));
            }
        }
        Ok(free_at)
    }

    /// Forgets the buckets that are full.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn purge_budget(&self) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query("DELETE FROM ca_budget WHERE full_at <= $1")
            .bind(self.now().unix_millis())
            .execute(turn.connection())
            .await?;
        turn.commit().await
    }

    /// The buckets of an authority that are not full, at most 100, those that take longest first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn ca_budget(&self, authority: &str) -> Result<Vec<BudgetLine>> {
        let rows = sqlx::query(
            "SELECT * FROM ca_budget WHERE authority = $1 AND full_at > $2 ORDER BY full_at DESC LIMIT $3",
        )
        .bind(authority)
        .bind(self.now().unix_millis())
        .bind(LINES)
        .fetch_all(self.pool())
        .await?;
        let line = |row: &AnyRow| {
            Ok(BudgetLine {
                bucket: row.word("bucket")?,
                subject: row.text("subject")?,
                limit: Limit {
                    burst: u32::try_from(row.integer("burst")?).unwrap_or(u32::MAX),
                    period: Duration::from_millis(row.natural("period")?),
                    spare: 0,
                },
                full_at: row.moment("full_at")?,
            })
        };
        rows.iter().map(line).collect()
    }
}

/// Draws from each bucket, and gives the first moment at which all have room, and whether any other order of the account
/// could have that turn as well.
async fn draw(
    connection: &mut AnyConnection,
    authority: &str,
    draws: &[Draw],
    now: Timestamp,
) -> Result<(Timestamp, bool)> {
    let draws = sorted(draws);
    let mut found = Vec::with_capacity(draws.len());
    for draw in &draws {
        found.push((draw.limit, lock(connection, authority, draw).await?));
    }
    let (turn, full_at) = draw_all(&found, now);
    let is_shared = draws.iter().zip(&found).all(|(draw, found)| is_shared(draw, *found, now));
    for (draw, full_at) in draws.into_iter().zip(full_at) {
        write(connection, authority, draw, full_at).await?;
    }
    Ok((turn, is_shared))
}

/// Whether a draw ties an order to no other turn than all ordinary orders of the account.
#[must_use]
pub fn is_shared(draw: &Draw, (limit, full_at): (Limit, Timestamp), now: Timestamp) -> bool {
    match draw.bucket {
        Bucket::Orders => limit.spare > 0,
        _ => limit.free_at(full_at, now) <= now,
    }
}

/// In one order everywhere: two transactions that draw from the same buckets must not wait for each other.
fn sorted(draws: &[Draw]) -> Vec<&Draw> {
    let mut sorted: Vec<&Draw> = draws.iter().collect();
    sorted.sort_by(|a, b| (a.bucket, &a.subject).cmp(&(b.bucket, &b.subject)));
    sorted
}

/// Keeps others from the bucket until the transaction ends; gives when it is full.
async fn lock(connection: &mut AnyConnection, authority: &str, draw: &Draw) -> Result<Timestamp> {
    let row = sqlx::query(
        "INSERT INTO ca_budget (authority, bucket, subject, full_at, burst, period) VALUES ($1, $2, $3, 0, $4, $5)
         ON CONFLICT (authority, bucket, subject) DO UPDATE SET burst = excluded.burst, period = excluded.period
         RETURNING full_at",
    )
    .bind(authority)
    .bind(to_word(&draw.bucket)?)
    .bind(&draw.subject)
    .bind(i64::from(draw.limit.burst))
    .bind(i64::try_from(draw.limit.period.as_millis()).unwrap_or(i64::MAX))
    .fetch_one(connection)
    .await?;
    row.moment("full_at")
}

async fn write(
    connection: &mut AnyConnection,
    authority: &str,
    draw: &Draw,
    full_at: Timestamp,
) -> Result<()> {
    sqlx::query("UPDATE ca_budget SET full_at = $4 WHERE authority = $1 AND bucket = $2 AND subject = $3")
        .bind(authority)
        .bind(to_word(&draw.bucket)?)
        .bind(&draw.subject)
        .bind(full_at.unix_millis())
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const LIMIT: Limit = Limit { burst: 300, period: HOUR.saturating_mul(3), spare: 30 };

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    /// The slots that so many draws at once are given.
    fn slots(limit: Limit, count: u32) -> Vec<Timestamp> {
        let mut full_at = Timestamp::default();
        (0..count)
            .map(|_| {
                let (slot, drawn) = draw_all(&[(limit, full_at)], now());
                full_at = drawn[0];
                slot
            })
            .collect()
    }

    #[test]
    fn the_burst_but_for_what_is_spared_goes_at_once_and_the_rest_at_the_refills_pace() {
        let slots = slots(LIMIT, 272);
        assert!(slots.iter().take(270).all(|slot| *slot == now()));
        assert_eq!(slots[270].since(now()), Duration::from_secs(36));
        assert_eq!(slots[271].since(now()), Duration::from_secs(72));
    }

    #[test]
    fn whoever_hurries_may_draw_what_is_spared() {
        let full_at = now().plus(LIMIT.interval() * 270);
        assert!(LIMIT.free_at(full_at, now()) > now());
        let hurried = Limit { spare: 0, ..LIMIT };
        assert_eq!(hurried.free_at(full_at, now()), now());
        assert_eq!((LIMIT.left(full_at, now()), hurried.left(full_at, now())), (0, 30));
    }

    #[test]
    fn no_period_sees_more_than_burst_and_refill() {
        let limit = Limit { burst: 5, period: HOUR, spare: 0 };
        let slots = slots(limit, 40);
        for from in &slots {
            let within = slots.iter().filter(|slot| *slot >= from && slot.since(*from) < HOUR).count();
            assert!(within <= 10, "{within}");
        }
    }

    #[test]
    fn a_full_bucket_has_all_of_it_and_a_limit_of_nothing_does_not_panic() {
        assert_eq!(LIMIT.left(Timestamp::default(), now()), 270);
        let nothing = Limit { burst: 0, period: HOUR, spare: 9 };
        assert_eq!((nothing.left(now(), now()), nothing.free_at(now(), now())), (0, now()));
    }
}
