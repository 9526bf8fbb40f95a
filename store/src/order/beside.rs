//! Orders for two names of one app: a domain and its `www`. No other order of either is begun meanwhile, and neither waits
//! for the other: the order of a name that is taken away ends, and the other name is looked at again at once.

use model::HostPattern;
use model::id::{DomainId, OrderId};
use sqlx::AnyConnection;

use super::{Order, read, refused};
use crate::Store;
use crate::error::Result;
use crate::row::to_json;
use crate::write::Write;

impl Order {
    /// The name that stands beside its own, if it is for two.
    #[must_use]
    pub fn beside(&self) -> Option<&HostPattern> {
        other(&self.host, &self.names)
    }
}

impl Store {
    /// Makes an order for two names one for its own name alone, as the holder of its lease. Address and key are
    /// forgotten: they were for both. A turn that is not taken yet stays: who waited for hours does not wait again because
    /// of the other name. What was sent and not answered is spent.
    ///
    /// # Errors
    /// [`crate::StoreError::Fenced`] if the lease is somebody else's by now, [`crate::StoreError::NotFound`].
    pub async fn part_order(&self, order: &Order) -> Result<Order> {
        let mut turn = self.quiet_write().await?;
        let (id, fence): (OrderId, i64) = (order.id, order.fence);
        let row = sqlx::query(
            "UPDATE orders SET names = $3, beside = NULL, slot_at = CASE WHEN placed_at IS NULL THEN slot_at END,
             order_url = NULL, placed_at = NULL,
             key_sealed = NULL, updated_at = $4 WHERE id = $1 AND fence = $2 AND state = 'open' RETURNING *",
        )
        .bind(id.to_string())
        .bind(fence)
        .bind(to_json(&[&order.host])?)
        .bind(self.now().unix_millis())
        .fetch_optional(turn.connection())
        .await?;
        let Some(row) = row else { return Err(refused(turn.connection(), id).await) };
        let order = read(&row)?;
        turn.commit().await?;
        Ok(order)
    }
}

/// The exact name among `names` that is not `host`.
pub(super) fn other<'n>(host: &HostPattern, names: &'n [HostPattern]) -> Option<&'n HostPattern> {
    names.iter().find(|name| !name.is_wildcard() && *name != host)
}

/// Whether an order that is open is for `host`, alone or with another name.
pub(super) async fn is_under_way(connection: &mut AnyConnection, host: &HostPattern) -> Result<bool> {
    let open =
        sqlx::query("SELECT id FROM orders WHERE state = 'open' AND (host = $1 OR beside = $1) LIMIT 1")
            .bind(host.to_string())
            .fetch_optional(connection)
            .await?;
    Ok(open.is_some())
}

/// Whether `host` has an order of its own that is open and had a failure.
pub(super) async fn is_failing(write: &mut Write, host: &HostPattern) -> Result<bool> {
    let failing = sqlx::query(
        "SELECT id FROM orders WHERE state = 'open' AND host = $1 AND (attempts > 0 OR error IS NOT NULL)",
    )
    .bind(host.to_string())
    .fetch_optional(write.connection())
    .await?;
    Ok(failing.is_some())
}

/// Ends open orders; their holders are fenced.
macro_rules! end_where {
    ($column:literal) => {
        concat!(
            "UPDATE orders SET state = 'failed', error = $3, key_sealed = NULL, lease_until = 0, fence = fence + 1,
             updated_at = $2 WHERE state = 'open' AND ",
            $column,
            " = $1"
        )
    };
}

/// Ends the open orders for a name that was taken away, its own and the one that it stands beside in; holders are fenced.
pub(crate) async fn abandon(write: &mut Write, host: &HostPattern) -> Result<()> {
    part(write, host).await?;
    end(write, (end_where!("host"), &host.to_string()), "the domain was removed").await?;
    Ok(())
}

/// Ends the open order of a domain, but not another one's for the same name; its holder is fenced. Gives how many that
/// were.
pub(crate) async fn abandon_of(write: &mut Write, domain: DomainId, reason: &'static str) -> Result<u64> {
    end(write, (end_where!("domain_id"), &domain.to_string()), reason).await
}

/// Ends the open order in which `host`, which goes, stands beside another name. Whichever of two it was, the other one's
/// domain is due at once: it has an order of its own as soon as it is looked at. Gives how many orders ended.
pub(crate) async fn part(write: &mut Write, host: &HostPattern) -> Result<u64> {
    let now = write.now_millis();
    sqlx::query(
        "UPDATE domains SET next_check_at = $2 WHERE next_check_at > $2 AND host IN
         (SELECT beside FROM orders WHERE host = $1 AND state = 'open' AND beside IS NOT NULL
          UNION ALL SELECT host FROM orders WHERE beside = $1 AND state = 'open')",
    )
    .bind(host.to_string())
    .bind(now)
    .execute(write.connection())
    .await?;
    end(write, (end_where!("beside"), &host.to_string()), "the domain beside it was removed").await
}

/// Ends those orders, made by [`end_where`], that have the value in its column. Gives how many.
async fn end(write: &mut Write, (sql, value): (&'static str, &str), reason: &'static str) -> Result<u64> {
    let now = write.now_millis();
    let ended = sqlx::query(sql).bind(value).bind(now).bind(reason).execute(write.connection()).await?;
    Ok(ended.rows_affected())
}
