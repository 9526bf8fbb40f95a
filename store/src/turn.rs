//! Whose turn is when, among those that wait for room at an authority: each tenant that waits has as many turns in a
//! given time as any other, however many names somebody brings at once and however early.
//!
//! A turn is reserved at the end of the line. From time to time all turns that are still to come are dealt out anew;
//! their moments stay, so that no limit is touched, and only who has which changes.

use std::collections::HashMap;
use std::time::Duration;

use model::Timestamp;
use model::id::{OrderId, TenantId};
use sqlx::any::AnyRow;

use crate::Store;
use crate::error::{Result, StoreError};
use crate::row::Columns as _;

/// Turns that come so soon stay where they are: who has one may be about to take it.
const SOON: Duration = Duration::from_secs(60);

/// The new turn of each of these, given with whose they are and their turns: round by round, each tenant in turn. Who has
/// the earlier turn in a round keeps it; so has a tenant among its own.
#[must_use]
pub fn deal(waiting: &[(Option<TenantId>, Timestamp)]) -> Vec<Timestamp> {
    let mut by_turn: Vec<usize> = (0..waiting.len()).collect();
    let turn = |place: &usize| waiting.get(*place).map(|(_, turn)| *turn).unwrap_or_default();
    by_turn.sort_by_key(|place| (turn(place), *place));
    let turns: Vec<Timestamp> = by_turn.iter().map(turn).collect();
    let mut rounds: HashMap<Option<TenantId>, u32> = HashMap::new();
    let round_of = |place: usize| {
        let round = rounds.entry(waiting.get(place).and_then(|(tenant, _)| *tenant)).or_default();
        *round += 1;
        (*round, place)
    };
    let mut dealt: Vec<(u32, usize)> = by_turn.into_iter().map(round_of).collect();
    dealt.sort_by_key(|(round, _)| *round);
    let mut new = vec![Timestamp::default(); waiting.len()];
    for ((_, place), turn) in dealt.into_iter().zip(turns) {
        if let Some(slot) = new.get_mut(place) {
            *slot = turn;
        }
    }
    new
}

/// An order that waits for its turn in nobody's hands.
#[derive(Debug)]
struct Waiting {
    id: OrderId,
    tenant: Option<TenantId>,
    turn: Timestamp,
}

impl Store {
    /// Deals the turns with `authority` out anew that are still to come (see [`deal`]). Gives how many have changed
    /// hands. A domain that was told something else is looked at again. Costs a walk over all that wait, if more than one tenant does.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn deal_turns(&self, authority: &str) -> Result<usize> {
        let soon = self.now().plus(SOON);
        let tenants = sqlx::query(
            "SELECT COUNT(DISTINCT COALESCE(tenant_id, '')) AS tenants FROM orders
             WHERE state = 'open' AND turn_shared = 1 AND authority = $1 AND slot_at > $2",
        )
        .bind(authority)
        .bind(soon.unix_millis())
        .fetch_one(self.pool())
        .await?;
        if tenants.integer("tenants")? < 2 {
            return Ok(0);
        }
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        let rows = sqlx::query(
            "SELECT id, tenant_id, slot_at FROM orders
             WHERE state = 'open' AND turn_shared = 1 AND authority = $1 AND slot_at > $2 AND lease_until <= $3
             ORDER BY slot_at, id",
        )
        .bind(authority)
        .bind(soon.unix_millis())
        .bind(now.unix_millis())
        .fetch_all(turn.connection())
        .await?;
        let waiting = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        let held: Vec<_> = waiting.iter().map(|order| (order.tenant, order.turn)).collect();
        let dealt = waiting.iter().zip(deal(&held)).filter(|(order, new)| order.turn != *new);
        let mut moved = 0;
        for (order, new) in dealt {
            if is_told_anew(order.turn, new, now) {
                sqlx::query(
                    "UPDATE domains SET next_check_at = $2 WHERE next_check_at > $2
                     AND id = (SELECT domain_id FROM orders WHERE id = $1)",
                )
                .bind(order.id.to_string())
                .bind(now.unix_millis())
                .execute(turn.connection())
                .await?;
            }
            let saved = sqlx::query(
                "UPDATE orders SET slot_at = $2, next_at = $2, updated_at = $3
                 WHERE id = $1 AND slot_at = $4 AND state = 'open' AND lease_until <= $3",
            )
            .bind(order.id.to_string())
            .bind(new.unix_millis())
            .bind(now.unix_millis())
            .bind(order.turn.unix_millis())
            .execute(turn.connection())
            .await?;
            // On Postgres somebody may have taken it in hand meanwhile: then all stay as they are.
            if saved.rows_affected() != 1 {
                return Err(StoreError::Fenced { what: "order", id: order.id.to_string() });
            }
            moved += 1;
        }
        turn.commit().await?;
        Ok(moved)
    }
}

/// Whether who waits for a turn was told a time that is wrong by more than a tenth of the wait.
#[must_use]
pub fn is_told_anew(told: Timestamp, turn: Timestamp, now: Timestamp) -> bool {
    told.since(turn).max(turn.since(told)) > turn.since(now) / 10
}

fn read(row: &AnyRow) -> Result<Waiting> {
    Ok(Waiting {
        id: row.parsed("id")?,
        tenant: row.parsed_or_none("tenant_id")?,
        turn: row.moment("slot_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000).plus(Duration::from_secs(60 * minutes))
    }

    fn tenants() -> [Option<TenantId>; 3] {
        [(); 3].map(|()| Some(TenantId::generate(at(0))))
    }

    #[test]
    fn who_brings_many_names_does_not_have_all_turns() {
        let [many, few, one] = tenants();
        let held = [(many, 1), (many, 2), (many, 3), (few, 4), (few, 5), (one, 6)];
        let held = held.map(|(tenant, minutes)| (tenant, at(minutes)));
        let minutes = [1, 4, 6, 2, 5, 3];
        assert_eq!(deal(&held), minutes.map(at));
    }

    #[test]
    fn what_is_dealt_stays_as_it_is() {
        let [many, few, one] = tenants();
        let mut held = vec![(one, at(90)), (None, at(91))];
        held.extend((1..20).map(|minutes| (many, at(minutes))));
        held.extend((20..24).map(|minutes| (few, at(minutes))));
        let dealt: Vec<_> = held.iter().zip(deal(&held)).map(|((tenant, _), turn)| (*tenant, turn)).collect();
        assert_eq!(deal(&dealt), dealt.iter().map(|(_, turn)| *turn).collect::<Vec<_>>());
        // The first turn is taken.
        let rest: Vec<_> = dealt.into_iter().filter(|(_, turn)| *turn != at(1)).collect();
        assert_eq!(deal(&rest).iter().zip(&rest).filter(|(new, (_, old))| *new != old).count(), 0);
    }

    #[test]
    fn a_shift_by_a_tenth_of_the_wait_is_not_worth_a_look() {
        assert!(!is_told_anew(at(100), at(110), at(0)));
        assert!(!is_told_anew(at(100), at(91), at(0)));
        assert!(is_told_anew(at(100), at(112), at(0)));
        assert!(is_told_anew(at(100), at(3), at(0)));
    }

    #[test]
    fn turns_change_hands_and_never_their_time() {
        let [many, few, _] = tenants();
        let held: Vec<_> = (0..50).map(|n| (if n % 7 == 0 { few } else { many }, at(n * n % 61))).collect();
        let (mut old, mut new): (Vec<_>, Vec<_>) =
            (held.iter().map(|(_, turn)| *turn).collect(), deal(&held));
        old.sort();
        new.sort();
        assert_eq!(old, new);
        assert_eq!(deal(&[]), []);
    }
}
