//! Claims of names that another account has. Each has a proof of its own; how it ends is in [`super::transfer`].
//!
//! They are kept apart from the domains, of which there is one a name: whatever becomes of a claim, edges serve the
//! name for one account. A claim that was taken away or refused is counted for a while, so that nobody can bother the
//! holder without end.

use std::time::Duration;

use model::HostPattern;
use model::domain::{Claim, Contest, Facts, PROOF_PREFIX, Refusal, derive};
use model::id::{AppId, DomainId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::{DomainRecord, TimelineEntry, UNPROVED_CLAIM, event};
use crate::app::App;
use crate::caller::{Access, Version};
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_json, to_word};
use crate::write::Write;
use crate::{Store, order, random};

/// Most open claims of one name that another account has.
pub const MAX_CONTESTS_OF_NAME: usize = 5;
/// Most open claims of one account of names that others have.
pub const MAX_CONTESTS_OF_TENANT: usize = 20;
/// Most claims of one name that one account makes within [`MEMORY`], however they end.
pub const MAX_TRIES: usize = 3;
/// How long a claim has to show its proof before it gives way to another one where there is no room.
const UNSEEN: Duration = Duration::from_secs(3600);
/// For how long a claim is counted.
const MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Counts the claims of a name by other tenants.
const OTHERS: &str =
    "SELECT COUNT(*) AS claims FROM contests WHERE host = $1 AND tenant_id <> $2 AND state = 'open'";

/// A claim with the standing of its tenant, ready for a `WHERE`.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT contests.*, tenants.standing FROM contests JOIN tenants ON tenants.id = contests.tenant_id ",
            $rest
        )
    };
}
pub(super) use select;

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Its proof is looked for.
    Open,
    /// The holder keeps the name.
    Refused,
    /// It was the holder's, and the name moved away.
    Lost,
    /// Taken away.
    Gone,
}

pub(super) fn read(store: &Store, row: &AnyRow) -> Result<DomainRecord> {
    let id = row.parsed("id")?;
    let target = store.target(id, row.parsed("host")?, row.text("proof")?)?;
    let policy = store.policy(&target.host, row.word("standing")?);
    let contest = match (row.word("state")?, row.moment_or_none("hold_until")?) {
        (State::Open, Some(until)) => Contest::Waiting { until },
        (State::Open, None) => Contest::Asked,
        (State::Refused, _) => {
            // What was refused before causes were written down was refused by a proof.
            let cause =
                if row.text_or_none("cause")?.is_some() { row.word("cause")? } else { Refusal::Proved };
            Contest::Refused { cause }
        }
        (State::Lost | State::Gone, _) => Contest::Lost,
    };
    let facts =
        Facts { policy, claim: Claim::Contested, contest: Some(contest), ..row.json::<Facts>("facts")? };
    let (status, _) = derive(&facts, &target, store.now());
    Ok(DomainRecord {
        id,
        app: row.parsed("app_id")?,
        tenant: row.parsed("tenant_id")?,
        host: target.host.clone(),
        facts,
        target,
        status,
        was_live: false,
        client_ca: None,
        version: Version(row.integer("version")?),
        next_check_at: row.moment("next_check_at")?,
        watched_until: row.moment_or_none("watched_until")?,
        created_at: row.moment("created_at")?,
        timeline: row.json("timeline")?,
    })
}

pub(super) async fn find(
    store: &Store,
    connection: &mut AnyConnection,
    id: DomainId,
) -> Result<Option<DomainRecord>> {
    let row = sqlx::query(select!("WHERE contests.id = $1 AND contests.state <> 'gone'"))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| read(store, &row)).transpose()
}

/// Begins a claim of a name that another account has.
pub(super) async fn open(write: &mut Write, app: &App, host: HostPattern) -> Result<DomainRecord> {
    make_room(write, app, &host).await?;
    let now = write.now();
    let id = DomainId::generate(now);
    let target = write.store().target(id, host.clone(), proof())?;
    let facts = Facts { claim: Claim::Contested, contest: Some(Contest::Asked), ..Facts::unknown() };
    let (status, _) = derive(&facts, &target, now);
    let claim = DomainRecord {
        id,
        app: app.id,
        tenant: app.tenant,
        host,
        facts,
        target,
        status,
        was_live: false,
        client_ca: None,
        version: Version::FIRST,
        next_check_at: now,
        watched_until: None,
        created_at: now,
        timeline: vec![TimelineEntry { at: now, status, ends_in_days: None }],
    };
    insert(write, &claim, State::Open).await?;
    let details = json!({ "hostname": claim.host, "app": claim.app });
    write.audit(event(&claim, "domain.contest", details)).await?;
    Ok(claim)
}

/// A text that only this claim has.
pub(crate) fn proof() -> String {
    format!("{PROOF_PREFIX}{}", random::text())
}

/// Ends what was never proved in its time, forgets what is counted no more, and refuses what is too much.
async fn make_room(write: &mut Write, app: &App, host: &HostPattern) -> Result<()> {
    let now = write.now();
    sqlx::query(
        "UPDATE contests SET state = 'gone', ended_at = $2, version = version + 1 WHERE host = $1
         AND ((state = 'open' AND hold_until IS NULL AND created_at <= $3
                 AND COALESCE(proof_seen_at, created_at) <= $5)
             OR (tenant_id = $4 AND state IN ('refused', 'lost')))",
    )
    .bind(host.to_string())
    .bind(now.unix_millis())
    .bind(now.minus(UNPROVED_CLAIM).unix_millis())
    .bind(app.tenant.to_string())
    .bind(now.minus(UNSEEN).unix_millis())
    .execute(write.connection())
    .await?;
    sqlx::query("DELETE FROM contests WHERE state = 'gone' AND created_at <= $1 AND ended_at <= $1")
        .bind(now.minus(MEMORY).unix_millis())
        .execute(write.connection())
        .await?;
    let own = count(
        write,
        "SELECT COUNT(*) AS claims FROM contests WHERE host = $1 AND tenant_id = $2 AND state = 'open'",
        [&host.to_string(), &app.tenant.to_string()],
    )
    .await?;
    if own > 0 {
        return Err(StoreError::Conflict {
            field: "hostname",
            value: host.to_string(),
            code: "domain_taken",
        });
    }
    displace(write, app.tenant, host).await?;
    let bounds = [
        ("claims of this name by others", MAX_CONTESTS_OF_NAME, OTHERS),
        (
            "claims by this account of names that others have",
            MAX_CONTESTS_OF_TENANT,
            "SELECT COUNT(*) AS claims FROM contests WHERE host <> $1 AND tenant_id = $2 AND state = 'open'",
        ),
        (
            "claims of this name by this account within 30 days",
            MAX_TRIES,
            "SELECT COUNT(*) AS claims FROM contests WHERE host = $1 AND tenant_id = $2",
        ),
    ];
    for (what, limit, sql) in bounds {
        if count(write, sql, [&host.to_string(), &app.tenant.to_string()]).await? >= limit {
            return Err(StoreError::TooMany { what, limit });
        }
    }
    Ok(())
}

/// Where there is no room for one more claim of a name, the one goes whose proof was not seen for the longest time, an
/// hour at least: who owns the name shows it sooner. One that is to get the name is never displaced, and one that
/// bothered nobody is not counted.
async fn displace(write: &mut Write, tenant: TenantId, host: &HostPattern) -> Result<()> {
    let others = count(write, OTHERS, [&host.to_string(), &tenant.to_string()]).await?;
    if others < MAX_CONTESTS_OF_NAME {
        return Ok(());
    }
    let (store, unseen_since) = (write.store().clone(), write.now().minus(UNSEEN));
    let row = sqlx::query(select!(
        "WHERE contests.host = $1 AND contests.tenant_id <> $2 AND contests.state = 'open'
         AND contests.hold_until IS NULL AND COALESCE(contests.proof_seen_at, contests.created_at) <= $3
         ORDER BY COALESCE(contests.proof_seen_at, contests.created_at), contests.id LIMIT 1"
    ))
    .bind(host.to_string())
    .bind(tenant.to_string())
    .bind(unseen_since.unix_millis())
    .fetch_optional(write.connection())
    .await?;
    let Some(row) = row else { return Ok(()) };
    let claim = read(&store, &row)?;
    end(write, &claim, State::Gone).await?;
    sqlx::query("DELETE FROM contests WHERE id = $1 AND holds = 0")
        .bind(claim.id.to_string())
        .execute(write.connection())
        .await?;
    let details =
        json!({ "hostname": claim.host, "reason": "claimed by another tenant, and its proof was not seen" });
    write.audit(event(&claim, "domain.contest.displace", details)).await
}

async fn count(write: &mut Write, sql: &'static str, [one, other]: [&str; 2]) -> Result<usize> {
    let row =
        sqlx::query(sql).bind(one.to_owned()).bind(other.to_owned()).fetch_one(write.connection()).await?;
    Ok(usize::try_from(row.integer("claims")?).unwrap_or(usize::MAX))
}

pub(super) async fn insert(write: &mut Write, claim: &DomainRecord, state: State) -> Result<()> {
    let ended_at = (state != State::Open).then(|| write.now_millis());
    sqlx::query(
        "INSERT INTO contests (id, app_id, tenant_id, host, proof, facts, state, holds, timeline, version,
         next_check_at, created_at, ended_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, $11, $12)",
    )
    .bind(claim.id.to_string())
    .bind(claim.app.to_string())
    .bind(claim.tenant.to_string())
    .bind(claim.host.to_string())
    .bind(&claim.target.proof)
    .bind(to_json(&claim.facts)?)
    .bind(to_word(&state)?)
    .bind(to_json(&claim.timeline)?)
    .bind(claim.version.0)
    .bind(claim.next_check_at.unix_millis())
    .bind(claim.created_at.unix_millis())
    .bind(ended_at)
    .execute(write.connection())
    .await?;
    Ok(())
}

/// Ends a claim; what was prepared for it is forgotten.
pub(super) async fn end(write: &mut Write, claim: &DomainRecord, state: State) -> Result<()> {
    order::abandon_of(write, claim.id, "the claim has ended").await?;
    let now = write.now_millis();
    sqlx::query(
        "UPDATE contests SET state = $2, hold_until = NULL, certificate = NULL, key_sealed = NULL, ended_at = $3,
         version = version + 1 WHERE id = $1",
    )
    .bind(claim.id.to_string())
    .bind(to_word(&state)?)
    .bind(now)
    .execute(write.connection())
    .await?;
    Ok(())
}

/// The claims of an app that its owner sees.
pub(super) async fn all_of_app(write: &mut Write, app: AppId) -> Result<Vec<DomainRecord>> {
    let store = write.store().clone();
    let rows = sqlx::query(select!("WHERE contests.app_id = $1 AND contests.state <> 'gone'"))
        .bind(app.to_string())
        .fetch_all(write.connection())
        .await?;
    rows.iter().map(|row| read(&store, row)).collect()
}

/// Takes everything away that names the tenant, whose apps are gone already.
pub(crate) async fn forget_tenant(write: &mut Write, tenant: TenantId) -> Result<()> {
    for sql in ["DELETE FROM contests WHERE tenant_id = $1", "DELETE FROM notices WHERE tenant_id = $1"] {
        sqlx::query(sql).bind(tenant.to_string()).execute(write.connection()).await?;
    }
    Ok(())
}

impl Store {
    /// The claims of names that others have, which are due at `now`.
    pub(super) async fn due_claims(
        &self,
        besides: &str,
        now: model::Timestamp,
        limit: u32,
    ) -> Result<Vec<DomainRecord>> {
        let rows = sqlx::query(select!(
            "WHERE contests.state = 'open' AND contests.next_check_at <= $1
             AND $3 NOT LIKE '%' || contests.tenant_id || '%' ORDER BY contests.next_check_at LIMIT $2"
        ))
        .bind(now.unix_millis())
        .bind(i64::from(limit))
        .bind(besides)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read(self, row)).collect()
    }

    /// The claims of an app after an id, in order.
    pub(super) async fn claims_of(
        &self,
        app: AppId,
        (after, limit): (String, i64),
    ) -> Result<Vec<DomainRecord>> {
        let rows = sqlx::query(select!(
            "WHERE contests.app_id = $1 AND contests.id > $2 AND contests.state <> 'gone'
             ORDER BY contests.id LIMIT $3"
        ))
        .bind(app.to_string())
        .bind(after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read(self, row)).collect()
    }

    /// The claims of a name.
    pub(super) async fn claims_of_name(&self, host: &HostPattern) -> Result<Vec<DomainRecord>> {
        let rows = sqlx::query(select!(
            "WHERE contests.host = $1 AND contests.state <> 'gone' ORDER BY contests.id"
        ))
        .bind(host.to_string())
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| read(self, row)).collect()
    }

    /// A claim that `access` sees.
    pub(super) async fn claim(
        &self,
        connection: &mut AnyConnection,
        access: Access,
        id: DomainId,
    ) -> Result<DomainRecord> {
        match find(self, connection, id).await? {
            Some(claim) if access.allows(Some(claim.tenant)) => Ok(claim),
            _ => Err(StoreError::not_found("domain", id)),
        }
    }
}
