//! Checks of domains: which are due, and what one has found.

use model::Timestamp;
use model::change::ObjectId;
use model::domain::{Claim, DomainStatus, Facts, derive};
use model::id::{DomainId, TenantId};
use serde_json::json;
use sqlx::AnyConnection;

use super::scribe::Written;
use super::{DomainRecord, TimelineEntry, event, select};
use crate::Store;
use crate::caller::{Access, Actor, Version};
use crate::error::{Result, StoreError};
use crate::row::to_json;
use crate::write::Shape;

/// Entries of a timeline that are kept.
const TIMELINE: usize = 50;

impl Store {
    /// Puts a domain first in line to be checked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn request_domain_check(
        &self,
        actor: &Actor,
        access: Access,
        id: DomainId,
    ) -> Result<DomainRecord> {
        let mut write = self.write(actor).await?;
        let mut domain = self.load_any(write.connection(), access, id).await?;
        domain.next_check_at = write.now();
        for sql in [
            "UPDATE domains SET next_check_at = $2 WHERE id = $1",
            "UPDATE contests SET next_check_at = $2 WHERE id = $1",
        ] {
            sqlx::query(sql)
                .bind(id.to_string())
                .bind(write.now_millis())
                .execute(write.connection())
                .await?;
        }
        write.audit(event(&domain, "domain.check", json!({ "hostname": domain.host }))).await?;
        write.commit().await?;
        Ok(domain)
    }

    /// Says that somebody looks at a domain until then, and that it is to be looked up by `next` at the latest. Moves
    /// neither its version nor any log.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn watch_domain(&self, id: DomainId, until: Timestamp, next: Timestamp) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        for sql in [
            "UPDATE domains SET watched_until = $2,
             next_check_at = CASE WHEN next_check_at > $3 THEN $3 ELSE next_check_at END WHERE id = $1",
            "UPDATE contests SET watched_until = $2,
             next_check_at = CASE WHEN next_check_at > $3 THEN $3 ELSE next_check_at END WHERE id = $1",
        ] {
            sqlx::query(sql)
                .bind(id.to_string())
                .bind(until.unix_millis())
                .bind(next.unix_millis())
                .execute(turn.connection())
                .await?;
        }
        turn.commit().await
    }

    /// Domains, and claims of names that others have, whose check is due at `now`, the longest waiting first.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn due_domains(&self, now: Timestamp, limit: u32) -> Result<Vec<DomainRecord>> {
        self.due_domains_besides(&[], now, limit).await
    }

    /// The same without those of some tenants.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn due_domains_besides(
        &self,
        tenants: &[TenantId],
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<DomainRecord>> {
        // Ids are of one length: none is a part of another one, nor of two.
        let besides: String = tenants.iter().map(ToString::to_string).collect();
        let rows = sqlx::query(select!(
            "WHERE next_check_at <= $1 AND $3 NOT LIKE '%' || tenant_id || '%' ORDER BY next_check_at LIMIT $2"
        ))
        .bind(now.unix_millis())
        .bind(i64::from(limit))
        .bind(&besides)
        .fetch_all(self.pool())
        .await?;
        let mut due = rows.iter().map(|row| self.read_domain(row)).collect::<Result<Vec<_>>>()?;
        due.extend(self.due_claims(&besides, now, limit).await?);
        due.sort_by_key(|domain| domain.next_check_at);
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(due)
    }

    /// Puts a check that is due off until `at`, of a domain or a claim, unless somebody wrote since it was read.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn put_domain_check_off(&self, domain: &DomainRecord, at: Timestamp) -> Result<()> {
        let mut turn = self.quiet_write().await?;
        for sql in [
            "UPDATE domains SET next_check_at = $3 WHERE id = $1 AND version = $2 AND next_check_at = $4",
            "UPDATE contests SET next_check_at = $3 WHERE id = $1 AND version = $2 AND next_check_at = $4",
        ] {
            sqlx::query(sql)
                .bind(domain.id.to_string())
                .bind(domain.version.0)
                .bind(at.unix_millis())
                .bind(domain.next_check_at.unix_millis())
                .execute(turn.connection())
                .await?;
        }
        turn.commit().await
    }

    /// Writes down what a check found. Audit log and edges hear of it only if the status or what edges
    /// serve changed; everything else costs one row, in a transaction with what others found meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Stale`] if somebody else wrote since `version` was read.
    pub async fn record_domain_check(
        &self,
        id: DomainId,
        version: Version,
        facts: Facts,
        next_check_at: Timestamp,
    ) -> Result<DomainRecord> {
        let checked = match self.keep_look((id, version), facts, next_check_at).await? {
            Written::Kept(domain) => return Ok(domain),
            Written::IsNews(checked) => checked,
        };
        let mut write = self.write(&Actor::system("certd")).await?;
        if !checked.save(write.connection()).await? {
            return Err(self.overtaken(write.connection(), id).await);
        }
        let domain = &checked.domain;
        if checked.is_seen_by_edges {
            write.point(&ObjectId::Site(domain.app), Shape::Present).await?;
        }
        let details = json!({
            "hostname": domain.host, "from": checked.before, "to": domain.status, "claim": domain.facts.claim,
        });
        write.audit(event(domain, "domain.status", details)).await?;
        write.commit().await?;
        Ok(checked.domain)
    }

    pub(super) async fn overtaken(&self, connection: &mut AnyConnection, id: DomainId) -> StoreError {
        match self.load_domain(connection, Access::Platform, id).await {
            Ok(domain) => StoreError::Stale { what: "domain", id: id.to_string(), current: domain.version },
            Err(error) => error,
        }
    }
}

/// Adds a status to a timeline, unless it is the last one already.
pub(super) fn note(timeline: &mut Vec<TimelineEntry>, entry: TimelineEntry) {
    if timeline.last().map(|last| last.status) != Some(entry.status) {
        add_to_timeline(timeline, entry);
    }
}

/// Adds an entry to a timeline, of which the newest are kept.
pub(crate) fn add_to_timeline(timeline: &mut Vec<TimelineEntry>, entry: TimelineEntry) {
    timeline.push(entry);
    let surplus = timeline.len().saturating_sub(TIMELINE);
    timeline.drain(..surplus);
}

/// A domain with what a check found.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) domain: DomainRecord,
    /// The version that was read.
    read: Version,
    /// The last status that was written.
    before: Option<DomainStatus>,
    is_seen_by_edges: bool,
}

impl Checked {
    pub(super) fn of(
        mut domain: DomainRecord,
        facts: Facts,
        next_check_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        let seen = (domain.facts.claim, domain.was_live);
        let before = domain.timeline.last().map(|entry| entry.status);
        let read = domain.version;
        domain.facts = Facts { policy: domain.facts.policy, contest: domain.facts.contest, ..facts };
        domain.status = derive(&domain.facts, &domain.target, now).0;
        domain.was_live |= domain.status == DomainStatus::Live;
        domain.version = read.next();
        domain.next_check_at = next_check_at;
        note(&mut domain.timeline, TimelineEntry { at: now, status: domain.status, ends_in_days: None });
        let is_seen_by_edges = seen != (domain.facts.claim, domain.was_live);
        Self { domain, read, before, is_seen_by_edges }
    }

    pub(super) fn is_news(&self) -> bool {
        self.is_seen_by_edges || self.before != Some(self.domain.status)
    }

    /// Whether the row still was as it was read.
    pub(super) async fn save(&self, connection: &mut AnyConnection) -> Result<bool> {
        let domain = &self.domain;
        let saved = sqlx::query(
            "UPDATE domains SET facts = $3, proved = $4, was_live = $5, status = $6, timeline = $7,
             version = $8, next_check_at = $9 WHERE id = $1 AND version = $2",
        )
        .bind(domain.id.to_string())
        .bind(self.read.0)
        .bind(to_json(&domain.facts)?)
        .bind(i64::from(domain.facts.claim == Claim::Proved))
        .bind(i64::from(domain.was_live))
        .bind(domain.status.as_str())
        .bind(to_json(&domain.timeline)?)
        .bind(domain.version.0)
        .bind(domain.next_check_at.unix_millis())
        .execute(connection)
        .await?;
        Ok(saved.rows_affected() == 1)
    }
}
