//! The move itself: the claim becomes the domain, the domain a claim that is over, in one change.

use model::Timestamp;
use model::change::ObjectId;
use model::domain::{Certification, Claim, Contest, Facts, NoticeKind, Presence, derive};
use model::id::DomainId;
use serde_json::{Value, json};
use sqlx::AnyConnection;

use super::{Holder, KEY};
use crate::caller::Access;
use crate::certificate::{self, NewCertificate, Whose};
use crate::domain::contest::{self, State};
use crate::domain::{DomainRecord, TimelineEntry, check, event, insert, left_behind};
use crate::error::{Result, StoreError};
use crate::row::Columns as _;
use crate::write::{Shape, Write};
use crate::{connection, consent, notice, order, released};

/// Makes a claim of a name that nobody has a domain like any other.
pub(super) async fn promote(write: &mut Write, claim: &DomainRecord, facts: Facts) -> Result<()> {
    let domain = become_domain(write, claim, Facts { claim: Claim::Unproved, ..facts }).await?;
    write.point(&ObjectId::Site(domain.app), Shape::Present).await?;
    let details = json!({ "hostname": domain.host, "app": domain.app, "origin": "claim" });
    write.audit(event(&domain, "domain.add", details)).await
}

/// Makes a claim the domain of its name, which nobody has.
async fn become_domain(write: &mut Write, claim: &DomainRecord, facts: Facts) -> Result<DomainRecord> {
    released::forget(write, &claim.host).await?;
    sqlx::query("DELETE FROM contests WHERE id = $1")
        .bind(claim.id.to_string())
        .execute(write.connection())
        .await?;
    let now = write.now();
    let facts = Facts {
        certification: Certification::None,
        presence: Presence::Absent,
        away_since: None,
        contest: None,
        ..facts
    };
    let (status, _) = derive(&facts, &claim.target, now);
    let mut timeline = claim.timeline.clone();
    check::note(&mut timeline, TimelineEntry { at: now, status, ends_in_days: None });
    let domain = DomainRecord {
        facts,
        status,
        timeline,
        version: claim.version.next(),
        next_check_at: now,
        ..claim.clone()
    };
    insert(write.connection(), &domain).await?;
    Ok(domain)
}

/// Moves the name. Edges hear of the new certificate first, then of the new site, which takes the name over in one
/// step, then that the old one is without it.
pub(super) async fn move_here(
    write: &mut Write,
    claim: &DomainRecord,
    holder: Holder,
    facts: Facts,
) -> Result<()> {
    let prepared = prepared(write.connection(), claim.id).await?;
    let mut left = None;
    if let Holder::Domain(old) = &holder {
        left = connection::left_at(write.connection(), old.id).await?;
        lose(write, old).await?;
    }
    let domain = become_domain(write, claim, Facts { claim: Claim::Proved, ..facts }).await?;
    if let Some(new) = prepared.and_then(|new| write.store().checked(new).ok()) {
        certificate::keep(write, new).await?;
    }
    write.point(&ObjectId::Site(domain.app), Shape::Present).await?;
    if let Holder::Domain(old) = &holder {
        if old.app != domain.app {
            write.point(&ObjectId::Site(old.app), Shape::Present).await?;
        }
        let app = write.store().clone().load_app(write.connection(), Access::Platform, old.app).await?;
        certificate::remove_useless(write, &app, &old.host).await?;
        certificate::strip(write, &app, &old.host, Whose::Any).await?;
        write.audit(event(old, "domain.move_away", left_behind(old, left))).await?;
        notice::tell(write, old.tenant, NoticeKind::MovedAway, (Some(old.id), &old.host), None).await?;
    }
    let details = json!({ "hostname": domain.host, "app": domain.app });
    write.audit(event(&domain, "domain.move_here", details)).await?;
    notice::tell(write, domain.tenant, NoticeKind::MovedHere, (Some(domain.id), &domain.host), None).await
}

/// The domain becomes a claim that is over: its owner sees what has become of it.
async fn lose(write: &mut Write, old: &DomainRecord) -> Result<()> {
    order::part(write, &old.host).await?;
    order::abandon_of(write, old.id, "the domain moved to another account").await?;
    connection::remove(write, old.id).await?;
    consent::remove(write, old.id).await?;
    sqlx::query("DELETE FROM domains WHERE id = $1")
        .bind(old.id.to_string())
        .execute(write.connection())
        .await?;
    let now = write.now();
    let facts = Facts { claim: Claim::Contested, contest: Some(Contest::Lost), ..Facts::unknown() };
    let (status, _) = derive(&facts, &old.target, now);
    let mut timeline = old.timeline.clone();
    check::note(&mut timeline, TimelineEntry { at: now, status, ends_in_days: None });
    let lost = DomainRecord { facts, status, timeline, version: old.version.next(), ..old.clone() };
    contest::insert(write, &lost, State::Lost).await
}

/// Whether a certificate is kept for a claim that is valid at `now`.
pub(super) async fn is_prepared(
    connection: &mut AnyConnection,
    id: DomainId,
    now: Timestamp,
) -> Result<bool> {
    Ok(prepared(connection, id).await?.is_some_and(|new| new.not_after > now))
}

async fn prepared(connection: &mut AnyConnection, id: DomainId) -> Result<Option<NewCertificate>> {
    let row = sqlx::query("SELECT certificate, key_sealed FROM contests WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let told = row.json_or_none::<Value>("certificate")?.zip(row.text_or_none("key_sealed")?);
    let Some((mut told, key)) = told else { return Ok(None) };
    told.as_object_mut().map(|fields| fields.insert(KEY.to_owned(), key.into()));
    serde_json::from_value(told)
        .map(Some)
        .map_err(|error| StoreError::corrupt(format!("contests.certificate: {error}")))
}
