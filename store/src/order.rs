//! The journal of ACME orders: what must outlive a crash, and who works on it.
//!
//! At most one order of a name is open, be it alone or with another name. Whoever works on one holds a lease with a fencing number; each
//! write names the number, so that a holder that slept through its lease changes nothing any more.

mod beside;

use std::time::Duration;

use model::id::{AppId, CertificateId, DomainId, OrderId, TenantId};
use model::seal::Sealed;
use model::{HostPattern, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Store;
use crate::caller::Actor;
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_json, to_word};
use crate::write::{Event, Write};

pub(crate) use beside::{abandon, abandon_of, part};

/// How long an order that was done is kept: longer than any certificate is valid.
const KEPT_IF_DONE: Duration = Duration::from_secs(400 * 24 * 3600);
/// How long one that was given up is.
const KEPT_IF_FAILED: Duration = Duration::from_secs(90 * 24 * 3600);
/// When a domain whose order ended is looked at, if nobody did at once.
const SOON: Duration = Duration::from_secs(1);
/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 1000;

/// An order to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// The name that single flight is about: of one of our zones, whose wildcard it is too, the zone itself.
    pub host: HostPattern,
    /// The names of the certificate: that one, and at most one other exact name, for which no other order is begun meanwhile.
    pub names: Vec<HostPattern>,
    /// Whose it is; none: the marketplace's.
    pub tenant: Option<TenantId>,
    /// The app it is for.
    pub app: Option<AppId>,
    /// The domain it is for.
    pub domain: Option<DomainId>,
    /// How much it hurries.
    pub urgency: Urgency,
}

/// How much an order hurries, the most first. One that hurries less is not put off for ever: it is worked on before
/// those that hurry more and were begun later than its head start allows.
///
/// Somebody who waits goes before what an authority wants replaced: that may be all its certificates at once, which
/// are served meanwhile, and keep an authority busy for hours, while an authority's limits let few new names through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Without it, a name that is served has no valid certificate soon.
    Emergency,
    /// Somebody waits for the first certificate of a name.
    Waiting,
    /// A certificate that the authority wants replaced by now, e.g. because it is revoked.
    Overdue,
    /// A renewal in good time.
    Renewal,
}

impl Urgency {
    /// Where an order that is begun at `now` stands in line: those with an earlier one are worked on before it.
    #[must_use]
    pub fn rank(self, now: Timestamp) -> Timestamp {
        now.plus(self.head_start())
    }

    /// How much later than an emergency begun at the same time.
    const fn head_start(self) -> Duration {
        match self {
            Self::Emergency => Duration::ZERO,
            Self::Waiting => Duration::from_secs(60),
            Self::Overdue => Duration::from_secs(6 * 3600),
            Self::Renewal => Duration::from_secs(7 * 3600),
        }
    }
}

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Somebody works on it, or will at [`Order::next_at`].
    Open,
    /// The certificate is in the store.
    Done,
    /// Given up.
    Failed,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// The name that single flight is about.
    pub host: HostPattern,
    /// The names of the certificate.
    pub names: Vec<HostPattern>,
    /// Whose it is; none: the marketplace's.
    pub tenant: Option<TenantId>,
    /// The app it is for.
    pub app: Option<AppId>,
    /// The domain it is for.
    pub domain: Option<DomainId>,
    /// Id of the certificate to come: the same after a crash, so that it is kept once.
    pub certificate: CertificateId,
    /// How far it is.
    pub state: OrderState,
    /// Private key of the certificate to come, sealed in the context of `certificate`.
    pub key: Option<Sealed>,
    /// Directory of the authority that it is placed with, or was last.
    pub authority: Option<String>,
    /// When it may be sent to `authority`, by its limits; none: nothing is reserved, or it was sent.
    pub slot_at: Option<Timestamp>,
    /// Address of the order at the authority.
    pub order_url: Option<String>,
    /// When it was sent to the authority. Without an address no answer has come: it may count there.
    pub placed_at: Option<Timestamp>,
    /// Failures in a row.
    pub attempts: u32,
    /// Not before then.
    pub next_at: Timestamp,
    /// Number of the present lease.
    pub fence: i64,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Order {
    /// When it may be sent, if that is reserved still: what was sent and not answered is spent.
    #[must_use]
    pub fn turn(&self) -> Option<Timestamp> {
        let is_unanswered = self.placed_at.is_some() && self.order_url.is_none();
        self.slot_at.filter(|_| !is_unanswered)
    }
}

/// An order that somebody works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderInHand {
    /// Its id.
    pub id: OrderId,
    /// The name that it is about.
    pub host: HostPattern,
    /// Who works on it.
    pub owner: String,
}

/// What to change of an order; none leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderPatch {
    /// How far it is now. Anything but open ends the lease and forgets the key.
    pub state: Option<OrderState>,
    /// Whether it is being sent to the authority: until there is an address, or the authority has said no.
    pub is_sent: Option<bool>,
    /// Address at the authority, or that there is none any more. With an address, what was reserved is spent.
    pub order_url: Option<Option<String>>,
    /// The sealed key, or that there is none any more.
    pub key: Option<Option<Sealed>>,
    /// Failures in a row.
    pub attempts: Option<u32>,
    /// When to go on. Ends the lease: the order is due then.
    pub next_at: Option<Timestamp>,
    /// Why the attempt failed, or that it did not.
    pub error: Option<Option<String>>,
}

impl Store {
    /// Begins an order, due at once. None: one for the name is open already. Of two names the second is left out if it has
    /// an open order that failed. Orders of the name that ended long ago are forgotten on the same occasion.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin_order(&self, new: NewOrder) -> Result<Option<Order>> {
        self.begin(new, None).await
    }

    /// As [`Self::begin_order`], unless a certificate for its name was kept since the caller has seen `held`: an order may
    /// have come to its end while the name was looked at.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin_order_after(
        &self,
        new: NewOrder,
        held: Option<CertificateId>,
    ) -> Result<Option<Order>> {
        self.begin(new, Some(held)).await
    }

    async fn begin(&self, new: NewOrder, seen: Option<Option<CertificateId>>) -> Result<Option<Order>> {
        // Most who look while one is under way find it before they take a turn to write.
        if beside::is_under_way(&mut *self.pool().acquire().await?, &new.host).await? {
            return Ok(None);
        }
        let mut write = self.write(&Actor::system("certd")).await?;
        if beside::is_under_way(write.connection(), &new.host).await? {
            return Ok(None);
        }
        let now = write.now();
        // In the order in which certificates keep theirs, so that one finds the other.
        let mut names = new.names;
        names.sort();
        names.dedup();
        if let Some(beside) = beside::other(&new.host, &names).cloned()
            && beside::is_failing(&mut write, &beside).await?
        {
            names.retain(|name| *name != beside);
        }
        if let Some(held) = seen
            && is_certified_since(&mut write, (&new.host, new.tenant), held).await?
        {
            return Ok(None);
        }
        sqlx::query(
            "DELETE FROM orders WHERE host = $1
             AND ((state = 'done' AND updated_at <= $2) OR (state = 'failed' AND updated_at <= $3))",
        )
        .bind(new.host.to_string())
        .bind(now.minus(KEPT_IF_DONE).unix_millis())
        .bind(now.minus(KEPT_IF_FAILED).unix_millis())
        .execute(write.connection())
        .await?;
        let order = Order {
            id: OrderId::generate(now),
            host: new.host,
            names,
            tenant: new.tenant,
            app: new.app,
            domain: new.domain,
            certificate: CertificateId::generate(now),
            state: OrderState::Open,
            key: None,
            authority: None,
            slot_at: None,
            order_url: None,
            placed_at: None,
            attempts: 0,
            next_at: now,
            fence: 0,
            error: None,
            created_at: now,
            updated_at: now,
        };
        insert(write.connection(), &order, new.urgency.rank(now)).await?;
        let details = json!({ "names": order.names });
        write.audit(event(&order, "order.begin", details)).await?;
        write.commit().await?;
        Ok(Some(order))
    }

    /// Open orders that are due at `now` and in nobody's hands, those that hurry first (see [`Urgency`]).
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn due_orders(&self, now: Timestamp, limit: u32) -> Result<Vec<Order>> {
        let rows = sqlx::query(
            "SELECT * FROM orders WHERE state = 'open' AND next_at <= $1 AND lease_until <= $1
             ORDER BY rank, id LIMIT $2",
        )
        .bind(now.unix_millis())
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// As [`Self::due_orders`], with no more of each than whose it is.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn orders_in_line(&self, now: Timestamp, limit: u32) -> Result<Vec<(OrderId, HostPattern)>> {
        let rows = sqlx::query(
            "SELECT id, host FROM orders WHERE state = 'open' AND next_at <= $1 AND lease_until <= $1
             ORDER BY rank, id LIMIT $2",
        )
        .bind(now.unix_millis())
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok((row.parsed("id")?, row.parsed("host")?))).collect()
    }

    /// The orders that are in somebody's hands at `now`, of whichever process.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn orders_in_hand(&self, now: Timestamp) -> Result<Vec<OrderInHand>> {
        let rows = sqlx::query(
            "SELECT id, host, lease_owner FROM orders WHERE state = 'open' AND lease_until > $1
             AND lease_owner IS NOT NULL",
        )
        .bind(now.unix_millis())
        .fetch_all(self.pool())
        .await?;
        let read = |row: &AnyRow| {
            Ok(OrderInHand {
                id: row.parsed("id")?,
                host: row.parsed("host")?,
                owner: row.text("lease_owner")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Takes an open order in hand until `ttl` from now; the answer's `fence` is the number to write with.
    /// `owner` may take its own again, which ends what it held before.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if it is in other hands or not open, [`StoreError::NotFound`].
    pub async fn lease_order(&self, id: OrderId, owner: &str, ttl: Duration) -> Result<Order> {
        let mut turn = self.quiet_write().await?;
        let now = self.now();
        let row = sqlx::query(
            "UPDATE orders SET lease_owner = $2, lease_until = $3, fence = fence + 1, updated_at = $4
             WHERE id = $1 AND state = 'open' AND (lease_until <= $4 OR lease_owner = $2) RETURNING *",
        )
        .bind(id.to_string())
        .bind(owner)
        .bind(now.plus(ttl).unix_millis())
        .bind(now.unix_millis())
        .fetch_optional(turn.connection())
        .await?;
        let Some(row) = row else { return Err(refused(turn.connection(), id).await) };
        let order = read(&row)?;
        turn.commit().await?;
        Ok(order)
    }

    /// Tells that `owner` works on an order still: its lease holds for `ttl` from now. One that ran out counts as long
    /// as nobody else has taken the order: the store may have stood still for longer than a lease.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn extend_lease(&self, id: OrderId, owner: &str, ttl: Duration) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        sqlx::query(
            "UPDATE orders SET lease_until = $3 WHERE id = $1 AND lease_owner = $2 AND lease_until > 0
             AND state = 'open'",
        )
        .bind(id.to_string())
        .bind(owner)
        .bind(self.now().plus(ttl).unix_millis())
        .execute(turn.connection())
        .await?;
        turn.commit().await
    }

    /// Writes down how far an order is, as the holder of lease `fence`. The end of an order is an audit event.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] if the lease is somebody else's by now, [`StoreError::NotFound`].
    pub async fn update_order(&self, id: OrderId, fence: i64, patch: OrderPatch) -> Result<Order> {
        if patch.state.is_none_or(|state| state == OrderState::Open) {
            let mut turn = self.quiet_write().await?;
            let order = apply(turn.connection(), (id, fence), patch, self.now()).await?;
            turn.commit().await?;
            return Ok(order);
        }
        let mut write = self.write(&Actor::system("certd")).await?;
        let now = write.now();
        let order = apply(write.connection(), (id, fence), patch, now).await?;
        let action = if order.state == OrderState::Done { "order.done" } else { "order.fail" };
        let details = json!({ "names": order.names, "attempts": order.attempts, "error": order.error });
        write.audit(event(&order, action, details)).await?;
        look_soon(&mut write, &order).await?;
        write.commit().await?;
        Ok(order)
    }

    /// One order.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn order(&self, id: OrderId) -> Result<Order> {
        let row = sqlx::query("SELECT * FROM orders WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| read(&row)).transpose()?.ok_or_else(|| StoreError::not_found("order", id))
    }

    /// The newest order for a name, alone or with another one, open or ended.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn latest_order(&self, host: impl Into<HostPattern>) -> Result<Option<Order>> {
        let host = host.into();
        // Each half by an index of its own.
        let row = sqlx::query(
            "SELECT * FROM (SELECT * FROM orders WHERE host = $1 ORDER BY id DESC LIMIT 1) AS own
             UNION ALL SELECT * FROM (SELECT * FROM orders WHERE beside = $1 ORDER BY id DESC LIMIT 1) AS shared
             ORDER BY id DESC LIMIT 1",
        )
        .bind(host.to_string())
        .fetch_optional(self.pool())
        .await?;
        row.map(|row| read(&row)).transpose()
    }
}

/// Whoever ends an order looks at its domains at once; if he breaks off before he does, somebody else looks soon.
async fn look_soon(write: &mut Write, order: &Order) -> Result<()> {
    let Some(domain) = order.domain else { return Ok(()) };
    let soon = write.now().plus(SOON).unix_millis();
    sqlx::query("UPDATE domains SET next_check_at = $2 WHERE (id = $1 OR host = $3) AND next_check_at > $2")
        .bind(domain.to_string())
        .bind(soon)
        .bind(order.beside().map(ToString::to_string).unwrap_or_default())
        .execute(write.connection())
        .await?;
    Ok(())
}

/// Whether there is a certificate of ours for the tenant's name that was begun after `held`; another tenant's that has it
/// still is none.
async fn is_certified_since(
    write: &mut Write,
    (host, tenant): (&HostPattern, Option<TenantId>),
    held: Option<CertificateId>,
) -> Result<bool> {
    let now = write.now_millis();
    let newer = sqlx::query(
        "SELECT id FROM certificates WHERE status = 'active' AND not_after > $1 AND id > $3
         AND id IN (SELECT certificate_id FROM certificate_names WHERE name = $2) AND source = 'acme' AND COALESCE(tenant_id, '') = $4 LIMIT 1",
    )
    .bind(now)
    .bind(host.to_string())
    .bind(held.map(|held| held.to_string()).unwrap_or_default())
    .bind(tenant.map(|tenant| tenant.to_string()).unwrap_or_default())
    .fetch_optional(write.connection())
    .await?;
    Ok(newer.is_some())
}

fn event(order: &Order, action: &'static str, details: serde_json::Value) -> Event {
    Event { tenant: order.tenant, action, target: order.id.to_string(), details }
}

pub(crate) async fn refused(connection: &mut AnyConnection, id: OrderId) -> StoreError {
    let found = sqlx::query("SELECT id FROM orders WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await;
    match found {
        Ok(Some(_)) => StoreError::Fenced { what: "order", id: id.to_string() },
        Ok(None) => StoreError::not_found("order", id),
        Err(error) => error.into(),
    }
}

/// The open order whose lease has that number.
pub(crate) async fn held(connection: &mut AnyConnection, (id, fence): (OrderId, i64)) -> Result<Order> {
    let row = sqlx::query("SELECT * FROM orders WHERE id = $1 AND fence = $2 AND state = 'open'")
        .bind(id.to_string())
        .bind(fence)
        .fetch_optional(&mut *connection)
        .await?;
    match row {
        Some(row) => read(&row),
        None => Err(refused(connection, id).await),
    }
}

async fn apply(
    connection: &mut AnyConnection,
    (id, fence): (OrderId, i64),
    patch: OrderPatch,
    now: Timestamp,
) -> Result<Order> {
    let mut order = held(connection, (id, fence)).await?;
    order.state = patch.state.unwrap_or(order.state);
    if let Some(is_sent) = patch.is_sent {
        order.placed_at = is_sent.then_some(now);
    }
    match &patch.order_url {
        Some(Some(_)) => (order.slot_at, order.placed_at) = (None, Some(now)),
        Some(None) => order.placed_at = None,
        None => {}
    }
    order.order_url = patch.order_url.unwrap_or(order.order_url);
    order.key = patch.key.unwrap_or(order.key);
    order.attempts = patch.attempts.unwrap_or(order.attempts);
    order.next_at = patch.next_at.unwrap_or(order.next_at);
    order.error = patch.error.unwrap_or(order.error).map(|reason| reason.chars().take(MAX_REASON).collect());
    order.updated_at = now;
    let has_ended = order.state != OrderState::Open;
    if has_ended {
        order.key = None;
    }
    save(connection, &order, has_ended || patch.next_at.is_some()).await?;
    Ok(order)
}

/// Writes the row if the fence still holds: on Postgres another transaction may have come between.
async fn save(connection: &mut AnyConnection, order: &Order, is_over: bool) -> Result<()> {
    let saved = sqlx::query(
        "UPDATE orders SET state = $3, order_url = $4, key_sealed = $5, attempts = $6, next_at = $7, error = $8,
         lease_until = CASE WHEN $9 = 1 THEN 0 ELSE lease_until END, updated_at = $10, slot_at = $11, placed_at = $12
         WHERE id = $1 AND fence = $2 AND state = 'open'",
    )
    .bind(order.id.to_string())
    .bind(order.fence)
    .bind(to_word(&order.state)?)
    .bind(&order.order_url)
    .bind(order.key.as_ref().map(ToString::to_string))
    .bind(i64::from(order.attempts))
    .bind(order.next_at.unix_millis())
    .bind(&order.error)
    .bind(i64::from(is_over))
    .bind(order.updated_at.unix_millis())
    .bind(order.slot_at.map(Timestamp::unix_millis))
    .bind(order.placed_at.map(Timestamp::unix_millis))
    .execute(&mut *connection)
    .await?;
    if saved.rows_affected() == 1 { Ok(()) } else { Err(refused(connection, order.id).await) }
}

async fn insert(connection: &mut AnyConnection, order: &Order, rank: Timestamp) -> Result<()> {
    sqlx::query(
        "INSERT INTO orders (id, host, names, tenant_id, app_id, domain_id, certificate_id, state, attempts,
         next_at, lease_until, fence, created_at, updated_at, rank, beside)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, 0, 0, $9, $9, $10, $11)",
    )
    .bind(order.id.to_string())
    .bind(order.host.to_string())
    .bind(to_json(&order.names)?)
    .bind(order.tenant.map(|tenant| tenant.to_string()))
    .bind(order.app.map(|app| app.to_string()))
    .bind(order.domain.map(|domain| domain.to_string()))
    .bind(order.certificate.to_string())
    .bind(to_word(&order.state)?)
    .bind(order.created_at.unix_millis())
    .bind(rank.unix_millis())
    .bind(order.beside().map(ToString::to_string))
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) fn read(row: &AnyRow) -> Result<Order> {
    Ok(Order {
        id: row.parsed("id")?,
        host: row.parsed("host")?,
        names: row.json("names")?,
        tenant: row.parsed_or_none("tenant_id")?,
        app: row.parsed_or_none("app_id")?,
        domain: row.parsed_or_none("domain_id")?,
        certificate: row.parsed("certificate_id")?,
        state: row.word("state")?,
        key: row.parsed_or_none("key_sealed")?,
        authority: row.text_or_none("authority")?,
        slot_at: row.moment_or_none("slot_at")?,
        order_url: row.text_or_none("order_url")?,
        placed_at: row.moment_or_none("placed_at")?,
        attempts: u32::try_from(row.integer("attempts")?).unwrap_or(u32::MAX),
        next_at: row.moment("next_at")?,
        fence: row.integer("fence")?,
        error: row.text_or_none("error")?,
        created_at: row.moment("created_at")?,
        updated_at: row.moment("updated_at")?,
    })
}
