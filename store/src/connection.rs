//! Records that are set at providers for creators: one wish for each domain, and what became of it.
//!
//! The API writes down what is wished, certd takes it in hand with a lease and writes down what it found. What takes
//! the records back is kept from before the first of them is set. A credential arrives sealed, and is forgotten when
//! its time is over, or at once where the creator wants that.

mod work;

use model::Timestamp;
use model::domain::connection::{ConnectionStatus, Door, Findings, PREVIEW_WINDOW, Step};
use model::id::{DomainId, TenantId};
use model::seal::Sealed;
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::Store;
use crate::caller::{Access, Actor};
use crate::domain::DomainRecord;
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_json, to_word};
use crate::write::{Event, Write};

pub use work::{ConnectionPatch, Keep};

/// A domain's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The domain.
    pub domain: DomainId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where its records are kept, and as whom they are set.
    pub door: Door,
    /// What was asked for last.
    pub step: Step,
    /// How far that is.
    pub status: ConnectionStatus,
    /// What was found.
    pub findings: Findings,
    /// What a preview has shown, as the adapter wrote it.
    pub plan: Option<String>,
    /// What was done to the zone, or is about to be, as the adapter wrote it; none: there is nothing to take back.
    pub applied: Option<String>,
    /// The credential, sealed in the context of the domain; none: it was forgotten.
    pub credential: Option<Sealed>,
    /// Whether the credential is kept until the records can no longer be taken back without it.
    pub kept: bool,
    /// When the credential is forgotten.
    pub forget_at: Timestamp,
    /// Attempts that nobody answered.
    pub attempts: u32,
    /// Number of the present lease.
    pub fence: i64,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What is wished for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What to do.
    pub step: Step,
    /// The provider and what opens it; none: those of before.
    pub opening: Option<(Door, Sealed)>,
    /// Whether the credential is kept for taking the records back; without, it is forgotten after each step.
    pub keep: bool,
}

impl Store {
    /// Writes down what is wished for a domain's records; certd hears of it at once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the domain; [`StoreError::Conflict`] `connection_working`, `connection_applied`
    /// (take it back first) or `nothing_to_undo`; [`StoreError::Invalid`] for a credential that is missing or opens
    /// another provider or server than the one whose records are to be taken back.
    pub async fn wish_connection(
        &self,
        actor: &Actor,
        access: Access,
        id: DomainId,
        wish: Wish,
    ) -> Result<Connection> {
        let mut write = self.write(actor).await?;
        let domain = self.load_domain(write.connection(), access, id).await?;
        let before = load(write.connection(), id).await?;
        if let Some(before) = &before {
            refuse(before, &wish, &domain)?;
        } else if wish.step == Step::Undo {
            return Err(conflict(&domain, "nothing_to_undo"));
        }
        let now = write.now();
        let mut connection = next(before, wish, &domain, now)?;
        connection.fence = save(write.connection(), &connection, now).await?;
        let details = json!({
            "hostname": domain.host, "step": connection.step, "provider": connection.door.provider,
            "zone": connection.door.zone, "keep": connection.kept,
        });
        write.audit(event(&connection, "domain.connect", details)).await?;
        write.advance();
        write.commit().await?;
        Ok(connection)
    }

    /// A domain's connection; none: nothing was ever wished for it, or it was forgotten.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the domain.
    pub async fn connection(&self, access: Access, id: DomainId) -> Result<Option<Connection>> {
        self.domain(access, id).await?;
        let row = sqlx::query("SELECT * FROM connections WHERE domain_id = $1")
            .bind(id.to_string())
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Forgets a domain's connection with its credential, and how its records are taken back; the records stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the domain; [`StoreError::Conflict`] `connection_working`.
    pub async fn forget_connection(&self, actor: &Actor, access: Access, id: DomainId) -> Result<()> {
        let mut write = self.write(actor).await?;
        let domain = self.load_domain(write.connection(), access, id).await?;
        let Some(connection) = load(write.connection(), id).await? else { return Ok(()) };
        if connection.status == ConnectionStatus::Working && connection.step != Step::Preview {
            return Err(conflict(&domain, "connection_working"));
        }
        remove(&mut write, id).await?;
        write.audit(event(&connection, "domain.connect_forget", json!({ "hostname": domain.host }))).await?;
        write.commit().await
    }
}

fn refuse(before: &Connection, wish: &Wish, domain: &DomainRecord) -> Result<()> {
    if before.status == ConnectionStatus::Working && before.step != Step::Preview {
        return Err(conflict(domain, "connection_working"));
    }
    match wish.step {
        Step::Apply if before.applied.is_some() => return Err(conflict(domain, "connection_applied")),
        // That records are left behind is told until they are taken back.
        Step::Preview if before.status == ConnectionStatus::Incomplete => {
            return Err(conflict(domain, "connection_applied"));
        }
        Step::Undo if before.applied.is_none() => return Err(conflict(domain, "nothing_to_undo")),
        _ => {}
    }
    match &wish.opening {
        Some((door, _)) if before.applied.is_some() => leads_back(door, &before.door),
        _ => Ok(()),
    }
}

/// Records are taken back where they were set; only the key may be another one.
fn leads_back(given: &Door, set: &Door) -> Result<()> {
    if given.provider != set.provider {
        let (given, set) = (given.provider.as_str(), set.provider.as_str());
        let reason = format!("`{given}` is another provider than `{set}`, where the records were set");
        return Err(StoreError::invalid("provider", reason));
    }
    let place = |text: &Option<String>| text.as_deref().unwrap_or_default().trim_end_matches('/').to_owned();
    let places = [("url", &given.url, &set.url), ("server", &given.server, &set.server)];
    match places
        .map(|(field, given, set)| (field, place(given), place(set)))
        .iter()
        .find(|(_, given, set)| given != set)
    {
        // What was given is not repeated: people paste addresses with passwords in them.
        Some((field, _, set)) => {
            let reason =
                format!("the records were set at `{set}` and are taken back there: give that address");
            Err(StoreError::invalid(field, reason))
        }
        None => Ok(()),
    }
}

/// Refuses while a provider is asked to change records of `what`, a domain or an app: what takes them back must not go
/// in the middle of that.
pub(crate) async fn refuse_working(connection: &mut AnyConnection, what: &impl ToString) -> Result<()> {
    match working(connection, what).await? {
        None => Ok(()),
        Some(value) => Err(StoreError::Conflict { field: "hostname", value, code: "connection_working" }),
    }
}

/// The name whose records a provider is asked to change now, of `what`, a domain or an app.
pub(crate) async fn working(connection: &mut AnyConnection, what: &impl ToString) -> Result<Option<String>> {
    let row = sqlx::query(
        "SELECT domains.host FROM connections JOIN domains ON domains.id = connections.domain_id
         WHERE (domains.id = $1 OR domains.app_id = $1)
         AND connections.status = 'working' AND connections.step <> 'preview' LIMIT 1",
    )
    .bind(what.to_string())
    .fetch_optional(connection)
    .await?;
    row.map(|row| row.text("host")).transpose()
}

/// The provider at which records of ours stay when the domain goes now.
pub(crate) async fn left_at(connection: &mut AnyConnection, id: DomainId) -> Result<Option<&'static str>> {
    let held = load(connection, id).await?.filter(|held| held.applied.is_some());
    Ok(held.map(|held| held.door.provider.as_str()))
}

fn next(before: Option<Connection>, wish: Wish, domain: &DomainRecord, now: Timestamp) -> Result<Connection> {
    let missing = || {
        let reason = "no key is kept for this domain (any more): give provider and token again";
        StoreError::invalid("token", reason)
    };
    let (opening, new) = match (wish.opening, &before) {
        (Some((door, credential)), _) => ((door, credential), true),
        (None, Some(Connection { door, credential: Some(credential), .. })) => {
            ((door.clone(), credential.clone()), false)
        }
        (None, _) => return Err(missing()),
    };
    let kept_until = before.as_ref().filter(|_| !new).map_or(now, |before| before.forget_at);
    let partial = before.as_ref().is_some_and(|before| before.status == ConnectionStatus::Incomplete);
    let (plan, applied, fence) =
        before.map_or((None, None, now.unix_millis()), |before| (before.plan, before.applied, before.fence));
    Ok(Connection {
        domain: domain.id,
        tenant: domain.tenant,
        door: opening.0,
        step: wish.step,
        status: ConnectionStatus::Working,
        findings: Findings { partial, ..Findings::default() },
        // What was shown is what is done, unless somebody begins anew.
        plan: plan.filter(|_| !new && wish.step == Step::Apply),
        applied,
        credential: Some(opening.1),
        kept: wish.keep,
        forget_at: now.plus(PREVIEW_WINDOW).max(kept_until),
        attempts: 0,
        fence: fence.saturating_add(1),
        updated_at: now,
    })
}

fn conflict(domain: &DomainRecord, code: &'static str) -> StoreError {
    StoreError::Conflict { field: "hostname", value: domain.host.to_string(), code }
}

fn event(connection: &Connection, action: &'static str, details: serde_json::Value) -> Event {
    Event { tenant: Some(connection.tenant), action, target: connection.domain.to_string(), details }
}

/// Forgets the connection of a domain that is taken away.
pub(crate) async fn remove(write: &mut Write, id: DomainId) -> Result<()> {
    sqlx::query("DELETE FROM connections WHERE domain_id = $1")
        .bind(id.to_string())
        .execute(write.connection())
        .await?;
    Ok(())
}

async fn load(connection: &mut AnyConnection, id: DomainId) -> Result<Option<Connection>> {
    let row = sqlx::query("SELECT * FROM connections WHERE domain_id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Gives the fence: on Postgres a lease may have been taken since the row was read, and no number is given twice.
async fn save(connection: &mut AnyConnection, wished: &Connection, now: Timestamp) -> Result<i64> {
    let row = sqlx::query(
        "INSERT INTO connections (domain_id, tenant_id, door, step, status, findings, plan, applied,
         credential_sealed, kept, forget_at, attempts, next_at, lease_until, fence, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, 0, $13, $12, $12)
         ON CONFLICT (domain_id) DO UPDATE SET door = excluded.door, step = excluded.step,
         status = excluded.status, findings = excluded.findings, plan = excluded.plan,
         credential_sealed = excluded.credential_sealed, kept = excluded.kept, forget_at = excluded.forget_at,
         attempts = 0, next_at = excluded.next_at, lease_until = 0, fence = connections.fence + 1,
         updated_at = excluded.updated_at RETURNING fence",
    )
    .bind(wished.domain.to_string())
    .bind(wished.tenant.to_string())
    .bind(to_json(&wished.door)?)
    .bind(to_word(&wished.step)?)
    .bind(to_word(&wished.status)?)
    .bind(to_json(&wished.findings)?)
    .bind(&wished.plan)
    .bind(&wished.applied)
    .bind(wished.credential.as_ref().map(ToString::to_string))
    .bind(i64::from(wished.kept))
    .bind(wished.forget_at.unix_millis())
    .bind(now.unix_millis())
    .bind(wished.fence)
    .fetch_one(connection)
    .await?;
    row.integer("fence")
}

fn read(row: &AnyRow) -> Result<Connection> {
    Ok(Connection {
        domain: row.parsed("domain_id")?,
        tenant: row.parsed("tenant_id")?,
        door: row.json("door")?,
        step: row.word("step")?,
        status: row.word("status")?,
        findings: row.json("findings")?,
        plan: row.text_or_none("plan")?,
        applied: row.text_or_none("applied")?,
        credential: row.parsed_or_none("credential_sealed")?,
        kept: row.flag("kept")?,
        forget_at: row.moment("forget_at")?,
        attempts: u32::try_from(row.integer("attempts")?).unwrap_or(u32::MAX),
        fence: row.integer("fence")?,
        updated_at: row.moment("updated_at")?,
    })
}
