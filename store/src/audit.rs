//! The audit log: who changed what, each event chained to the one before by its hash.
//!
//! An event's hash is SHA-256 over its fields, each with its length before it, and the hash of the event
//! before. The log's row keeps count and hash of the newest, so a cut-off end is found as well.

use std::net::IpAddr;

use model::Timestamp;
use model::id::{EventId, KeyId, RequestId, TenantId};
use serde_json::Value;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Store;
use crate::caller::{Access, Actor};
use crate::error::Result;
use crate::page::{Page, Paged};
use crate::row::{Columns as _, to_integer, to_json};
use crate::write::{Event, sha256_hex};

/// What stands before the first event.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Events read at once while the chain is verified.
const STRIDE: i64 = 1000;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Its id.
    pub id: EventId,
    /// 1, 2, 3 … without gaps.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Who may read it beside the operators.
    pub tenant: Option<TenantId>,
    /// `<noun>.<verb>`, e.g. `app.create`.
    pub action: String,
    /// Id or name of what was changed.
    pub target: String,
    /// What became of it; never a secret.
    pub details: Value,
    /// Hash of the event before, hexadecimal.
    pub prev_hash: String,
    /// Hash of this event, hexadecimal.
    pub hash: String,
}

/// Which events; what is none is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this action.
    pub action: Option<String>,
    /// About this object.
    pub target: Option<String>,
    /// Done with this key.
    pub key: Option<KeyId>,
}

/// What became of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every event is as it was written.
    Intact {
        /// How many there are.
        events: u64,
    },
    /// Something was changed, removed or put in between.
    Broken {
        /// The first event that is wrong or missing.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl Store {
    /// Events, the newest first.
    ///
    /// # Errors
    /// [`crate::StoreError::Invalid`] for a bad page.
    pub async fn audit_events(
        &self,
        access: Access,
        filter: &AuditFilter,
        page: &Page,
    ) -> Result<Paged<AuditEvent>> {
        let before = page.after::<u64>()?.map_or(i64::MAX, to_integer);
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (action, target) = (text(&filter.action), text(&filter.target));
        let key = filter.key.map(|key| key.to_string()).unwrap_or_default();
        let query = match access {
            Access::Platform => sqlx::query(
                "SELECT * FROM audit WHERE sequence < $1 AND ($2 = '' OR action = $2)
                 AND ($3 = '' OR target = $3) AND ($4 = '' OR actor_key = $4)
                 ORDER BY sequence DESC LIMIT $5",
            ),
            Access::Tenant(_) => sqlx::query(
                "SELECT * FROM audit WHERE sequence < $1 AND ($2 = '' OR action = $2)
                 AND ($3 = '' OR target = $3) AND ($4 = '' OR actor_key = $4) AND tenant_id = $6
                 ORDER BY sequence DESC LIMIT $5",
            ),
        };
        let query = query.bind(before).bind(action).bind(target).bind(key).bind(page.rows()?);
        let query = match access {
            Access::Platform => query,
            Access::Tenant(tenant) => query.bind(tenant.to_string()),
        };
        let rows = query.fetch_all(self.pool()).await?;
        let events = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(Paged::cut(events, page, |event| event.sequence))
    }

    /// Reads the whole chain and compares every hash. Cost: one pass over all events.
    ///
    /// # Errors
    /// If the database does not answer; a broken chain is a verdict.
    pub async fn verify_audit(&self) -> Result<AuditVerdict> {
        let mut transaction = self.read().await?;
        let log = sqlx::query("SELECT audit_count, audit_hash FROM log WHERE id = 1")
            .fetch_one(&mut *transaction)
            .await?;
        let (count, hash) = (log.natural("audit_count")?, log.text("audit_hash")?);
        let mut chain = Chain { events: 0, hash: GENESIS.to_owned() };
        loop {
            let rows = sqlx::query("SELECT * FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2")
                .bind(to_integer(chain.events))
                .bind(STRIDE)
                .fetch_all(&mut *transaction)
                .await?;
            if rows.is_empty() {
                return Ok(chain.end(count, &hash));
            }
            for row in &rows {
                if let Err(broken) = chain.take(read(row)) {
                    return Ok(broken);
                }
            }
        }
    }
}

struct Chain {
    events: u64,
    hash: String,
}

impl Chain {
    fn take(&mut self, event: Result<AuditEvent>) -> Result<(), AuditVerdict> {
        let sequence = self.events.saturating_add(1);
        let broken = |reason: &str| AuditVerdict::Broken { sequence, reason: reason.to_owned() };
        let event = event.map_err(|error| broken(&error.to_string()))?;
        if event.sequence != sequence {
            return Err(broken("the event is missing"));
        }
        if event.prev_hash != self.hash {
            return Err(broken("it does not follow the event before"));
        }
        if hash(&event) != event.hash {
            return Err(broken("it was changed after it was written"));
        }
        self.events = sequence;
        self.hash = event.hash;
        Ok(())
    }

    fn end(self, count: u64, hash: &str) -> AuditVerdict {
        if self.events == count && self.hash == hash {
            return AuditVerdict::Intact { events: count };
        }
        let sequence = self.events.min(count).saturating_add(1);
        AuditVerdict::Broken {
            sequence,
            reason: format!("{count} events were written, {} are there", self.events),
        }
    }
}

/// The event with its place in the chain.
pub(crate) fn sealed(event: Event, actor: &Actor, place: (i64, Timestamp), prev_hash: String) -> AuditEvent {
    let (sequence, now) = place;
    let mut sealed = AuditEvent {
        id: EventId::generate(now),
        sequence: u64::try_from(sequence).unwrap_or(0),
        at: now,
        actor: actor.clone(),
        tenant: event.tenant,
        action: event.action.to_owned(),
        target: event.target,
        details: event.details,
        prev_hash,
        hash: String::new(),
    };
    sealed.hash = hash(&sealed);
    sealed
}

pub(crate) async fn insert(connection: &mut AnyConnection, event: &AuditEvent) -> Result<()> {
    sqlx::query(
        "INSERT INTO audit (sequence, id, happened_at, actor_key, actor_name, request_id, ip, tenant_id,
         action, target, details, prev_hash, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(to_integer(event.sequence))
    .bind(event.id.to_string())
    .bind(event.at.unix_millis())
    .bind(event.actor.key.map(|key| key.to_string()))
    .bind(&event.actor.name)
    .bind(event.actor.request.map(|request| request.to_string()))
    .bind(event.actor.ip.map(|ip| ip.to_string()))
    .bind(event.tenant.map(|tenant| tenant.to_string()))
    .bind(&event.action)
    .bind(&event.target)
    .bind(to_json(&event.details)?)
    .bind(&event.prev_hash)
    .bind(&event.hash)
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<AuditEvent> {
    let actor = Actor {
        key: row.parsed_or_none::<KeyId>("actor_key")?,
        name: row.text("actor_name")?,
        request: row.parsed_or_none::<RequestId>("request_id")?,
        ip: row.parsed_or_none::<IpAddr>("ip")?,
    };
    Ok(AuditEvent {
        id: row.parsed("id")?,
        sequence: row.natural("sequence")?,
        at: row.moment("happened_at")?,
        actor,
        tenant: row.parsed_or_none("tenant_id")?,
        action: row.text("action")?,
        target: row.text("target")?,
        details: row.json("details")?,
        prev_hash: row.text("prev_hash")?,
        hash: row.text("hash")?,
    })
}

/// The hash over everything but the hash itself. An absent field differs from an empty one.
fn hash(event: &AuditEvent) -> String {
    let fields = [
        Some(event.prev_hash.clone()),
        Some(event.sequence.to_string()),
        Some(event.id.to_string()),
        Some(event.at.unix_millis().to_string()),
        event.actor.key.map(|key| key.to_string()),
        Some(event.actor.name.clone()),
        event.actor.request.map(|request| request.to_string()),
        event.actor.ip.map(|ip| ip.to_string()),
        event.tenant.map(|tenant| tenant.to_string()),
        Some(event.action.clone()),
        Some(event.target.clone()),
        Some(event.details.to_string()),
    ];
    let text: String = fields
        .iter()
        .map(|field| match field {
            Some(text) => format!("{}:{text}\n", text.len()),
            None => "-\n".to_owned(),
        })
        .collect();
    sha256_hex(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(target: &str) -> AuditEvent {
        let event =
            Event { tenant: None, action: "app.create", target: target.to_owned(), details: Value::Null };
        sealed(event, &Actor::system("test"), (1, Timestamp::from_unix_millis(5)), GENESIS.to_owned())
    }

    #[test]
    fn a_changed_field_breaks_the_chain_at_that_event() {
        let mut chain = Chain { events: 0, hash: GENESIS.to_owned() };
        let changed = AuditEvent { target: "a_2".to_owned(), ..event("a_1") };
        let reason = "it was changed after it was written".to_owned();
        assert_eq!(chain.take(Ok(changed)).err(), Some(AuditVerdict::Broken { sequence: 1, reason }));
    }

    #[test]
    fn a_cut_off_end_is_found() {
        let mut chain = Chain { events: 0, hash: GENESIS.to_owned() };
        assert!(chain.take(Ok(event("a_1"))).is_ok());
        assert!(matches!(chain.end(2, "later"), AuditVerdict::Broken { sequence: 2, .. }));
    }
}
