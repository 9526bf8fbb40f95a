//! How the claim of a name ends that another account has: it moves, or it stays.
//!
//! A name moves only while its claimant's proof is seen, and, if its holder ever proved it, only after [`HOLD`], within
//! which the holder is told and keeps the name by one proof: a new one, since old records prove nothing about today.
//! A move is one change: the row of the name, what edges are told, both audit events, both notices.

mod moving;
mod step;

use std::time::Duration;

use model::Timestamp;
use model::domain::{Claim, Contest, Facts, NoticeKind, Refusal, derive};
use model::id::{DomainId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::contest::{self, State};
use super::{DomainRecord, TimelineEntry, by_host, check, event};
use crate::caller::{Access, Actor, Version};
use crate::certificate::{self, NewCertificate};
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_json, to_word};
use crate::tenant::{self, expect_version};
use crate::write::Write;
use crate::{Store, connection, notice, order, released};

pub use step::SLACK;
use step::{Known, Step, step};

/// How long a holder has to prove a name again that another account proved.
pub const HOLD: Duration = Duration::from_secs(24 * 3600);
/// The field of a certificate to be kept that is stored by itself.
const KEY: &str = "key";
/// How often a claim may fail to be confirmed until the end of its wait before it ends.
const MAX_HOLDS: i64 = 3;

/// Whether a proof is at the name's own servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// At each one that answers.
    Everywhere,
    /// At one of them it is not.
    Missing,
    /// They could not be asked.
    Untold,
}

/// What one look at a claimed name found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// What is known now; whose it is is the store's business.
    pub facts: Facts,
    /// Whether the claimant's proof is there.
    pub proof: Shown,
    /// The proof of the name's holder, if it is shown everywhere.
    pub holders_proof: Option<String>,
    /// When to look again.
    pub next_check_at: Timestamp,
}

/// What is decided about a name that is to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It moves now.
    Release,
    /// It stays.
    Keep,
}

/// Who has a name that is claimed.
enum Holder {
    Domain(Box<DomainRecord>),
    /// It was given up lately.
    Former(TenantId),
    Nobody,
}

impl Store {
    /// Writes down what a look at a claimed name found, and what follows. Gives the claim, or the domain that it has
    /// become.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Stale`] if somebody else wrote since `version` was read.
    pub async fn settle_contest(&self, id: DomainId, version: Version, sight: Sight) -> Result<DomainRecord> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let claim = self.claim(write.connection(), Access::Platform, id).await?;
        expect_version(("domain", id), claim.version, Some(version))?;
        let holder = holder_of(&mut write, &claim).await?;
        let known = known(&mut write, &claim, &holder, &sight).await?;
        let until = write.now().plus(HOLD);
        match step(&claim, &holder, &sight, known) {
            Step::Stay => {
                save(&mut write, &claim, &sight, (claim_until(&claim), known.missing_since)).await?
            }
            Step::Hold => {
                save(&mut write, &claim, &sight, (Some(until), None)).await?;
                begin_hold(&mut write, &claim, &holder, until).await?;
            }
            Step::Lapse => {
                save(&mut write, &claim, &sight, (None, None)).await?;
                lapse(&mut write, &claim, &holder).await?;
            }
            Step::Refuse => refuse(&mut write, &claim, &holder, Refusal::Proved).await?,
            Step::Promote => moving::promote(&mut write, &claim, sight.facts).await?,
            Step::Move => moving::move_here(&mut write, &claim, holder, sight.facts).await?,
        }
        write.commit().await?;
        self.domain(Access::Platform, id).await
    }

    /// Keeps a name for its holder, who was seen to prove it again. No claim of it waits: nothing changes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Stale`] if the proof that was seen is not the holder's by now.
    pub async fn refute_contest(&self, id: DomainId, proof: &str) -> Result<DomainRecord> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let holder = self.load_domain(write.connection(), Access::Platform, id).await?;
        if holder.target.proof != proof {
            return Err(StoreError::Stale { what: "domain", id: id.to_string(), current: holder.version });
        }
        if let Some(claim) = waiting(&mut write, &holder).await? {
            refuse(&mut write, &claim, &Holder::Domain(Box::new(holder)), Refusal::Proved).await?;
            write.commit().await?;
        }
        self.domain(Access::Platform, id).await
    }

    /// Decides about a name that is to move: its holder may release it at once, an operator may do either. `id` is the
    /// holder's domain or, for an operator, the claim.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`] if the caller may not decide so, [`StoreError::Conflict`]
    /// `not_contested` if no proved claim waits.
    pub async fn decide_contest(
        &self,
        actor: &Actor,
        access: Access,
        id: DomainId,
        decision: Decision,
    ) -> Result<DomainRecord> {
        if decision == Decision::Keep && access != Access::Platform {
            let reason = "only an operator decides `keep`: show that the domain is yours by its TXT record";
            return Err(StoreError::invalid("decision", reason));
        }
        let mut write = self.write(actor).await?;
        let domain = self.load_any(write.connection(), access, id).await?;
        // A claimant decides nothing about the name.
        let may = domain.facts.claim != Claim::Contested || access == Access::Platform;
        let claim = waiting(&mut write, &domain).await?.filter(|_| may);
        let Some(claim) = claim else {
            let value = domain.host.to_string();
            return Err(StoreError::Conflict { field: "decision", value, code: "not_contested" });
        };
        let holder = holder_of(&mut write, &claim).await?;
        match decision {
            Decision::Keep => refuse(&mut write, &claim, &holder, Refusal::Decided).await?,
            Decision::Release => {
                hasten(&mut write, &claim).await?;
                let details = json!({ "hostname": claim.host });
                write.audit(event(&domain, "domain.release", details)).await?;
            }
        }
        write.commit().await?;
        self.domain(Access::Platform, id).await
    }

    /// Keeps a certificate for a claim, to be served from the moment on at which the name moves. False: there is no
    /// such claim.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn prepare_contest(&self, id: DomainId, new: &NewCertificate) -> Result<bool> {
        let mut turn = self.quiet_write().await?;
        let mut told = json!(new);
        // The key is where all sealed values are found.
        told.as_object_mut().map(|fields| fields.remove(KEY));
        let kept = sqlx::query(
            "UPDATE contests SET certificate = $2, certificate_id = $3, key_sealed = $4
             WHERE id = $1 AND state = 'open'",
        )
        .bind(id.to_string())
        .bind(to_json(&told)?)
        .bind(new.id.to_string())
        .bind(new.key.to_string())
        .execute(turn.connection())
        .await?;
        turn.commit().await?;
        Ok(kept.rows_affected() == 1)
    }

    /// Whether a certificate is kept for a claim that is valid still.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn is_prepared(&self, id: DomainId) -> Result<bool> {
        let mut connection = self.pool().acquire().await?;
        moving::is_prepared(&mut connection, id, self.now()).await
    }

    /// Ends the open order of a name's holder, its own or one that it stands beside another name in, for a claim whose time has come: there is one order a name at a time, and
    /// the next certificate is to be the claimant's. False: nothing was in its way.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn make_way(&self, id: DomainId) -> Result<bool> {
        let mut write = self.write(&Actor::system("certd")).await?;
        let claim = contest::find(self, write.connection(), id).await?;
        let is_due = |claim: &DomainRecord| claim_until(claim).is_some_and(|until| until <= self.now());
        let Some(claim) = claim.filter(is_due) else { return Ok(false) };
        let Some(holder) = by_host(&mut write, &claim.host).await? else { return Ok(false) };
        let reason = "the domain is about to move to another account";
        let beside = order::part(&mut write, &holder.host).await?;
        if beside + order::abandon_of(&mut write, holder.id, reason).await? == 0 {
            return Ok(false);
        }
        let details = json!({ "hostname": holder.host, "reason": reason });
        write.audit(event(&holder, "domain.order_end", details)).await?;
        write.commit().await?;
        Ok(true)
    }
}

const fn claim_until(claim: &DomainRecord) -> Option<Timestamp> {
    match claim.facts.contest {
        Some(Contest::Waiting { until }) => Some(until),
        _ => None,
    }
}

async fn holder_of(write: &mut Write, claim: &DomainRecord) -> Result<Holder> {
    if let Some(domain) = by_host(write, &claim.host).await? {
        return Ok(Holder::Domain(Box::new(domain)));
    }
    Ok(match released::keeper(write, &claim.host).await? {
        Some(tenant) if tenant != claim.tenant => Holder::Former(tenant),
        _ => Holder::Nobody,
    })
}

/// The claim of the name that waits for its time.
async fn waiting(write: &mut Write, domain: &DomainRecord) -> Result<Option<DomainRecord>> {
    let store = write.store().clone();
    let row = sqlx::query(contest::select!("WHERE contests.host = $1 AND contests.hold_until IS NOT NULL"))
        .bind(domain.host.to_string())
        .fetch_optional(write.connection())
        .await?;
    row.map(|row| contest::read(&store, &row)).transpose()
}

async fn known(write: &mut Write, claim: &DomainRecord, holder: &Holder, sight: &Sight) -> Result<Known> {
    let row = sqlx::query("SELECT missing_since FROM contests WHERE id = $1")
        .bind(claim.id.to_string())
        .fetch_one(write.connection())
        .await?;
    let (now, before) = (write.now(), row.moment_or_none("missing_since")?);
    let (mut holder_is_secure, mut holder_is_busy) = (false, false);
    if let Holder::Domain(holder) = holder {
        holder_is_secure = certificate::is_secure(write, &holder.host, holder.tenant).await?;
        holder_is_busy = connection::working(write.connection(), &holder.id).await?.is_some();
    }
    Ok(Known {
        now,
        missing_since: match sight.proof {
            Shown::Everywhere => None,
            Shown::Missing => before.or(Some(now)),
            Shown::Untold => before,
        },
        is_prepared: moving::is_prepared(write.connection(), claim.id, now).await?,
        is_behind: waiting(write, claim).await?.is_some_and(|first| first.id != claim.id),
        holder_is_secure,
        holder_is_busy,
    })
}

async fn save(
    write: &mut Write,
    claim: &DomainRecord,
    sight: &Sight,
    (hold_until, missing_since): (Option<Timestamp>, Option<Timestamp>),
) -> Result<()> {
    let now = write.now();
    // An end that is past is no reason to look at once: what stays open after it keeps to its rhythm.
    let end = hold_until.filter(|until| *until > now);
    let next = end.map_or(sight.next_check_at, |until| sight.next_check_at.min(until));
    let seen_at = (sight.proof == Shown::Everywhere).then(|| now.unix_millis());
    sqlx::query(
        "UPDATE contests SET facts = $2, hold_until = $3, next_check_at = $4, missing_since = $5,
         proof_seen_at = COALESCE($6, proof_seen_at), version = version + 1 WHERE id = $1",
    )
    .bind(claim.id.to_string())
    .bind(to_json(&sight.facts)?)
    .bind(hold_until.map(Timestamp::unix_millis))
    .bind(next.unix_millis())
    .bind(missing_since.map(Timestamp::unix_millis))
    .bind(seen_at)
    .execute(write.connection())
    .await?;
    Ok(())
}

async fn begin_hold(
    write: &mut Write,
    claim: &DomainRecord,
    holder: &Holder,
    until: Timestamp,
) -> Result<()> {
    sqlx::query("UPDATE contests SET holds = holds + 1 WHERE id = $1")
        .bind(claim.id.to_string())
        .execute(write.connection())
        .await?;
    let details = json!({ "hostname": claim.host, "until": until });
    write.audit(event(claim, "domain.contest.proved", details.clone())).await?;
    let (own, until) = ((Some(claim.id), &claim.host), Some(until));
    notice::tell(write, claim.tenant, NoticeKind::ProofSeen, own, until).await?;
    match holder {
        Holder::Domain(domain) => {
            write.audit(event(domain, "domain.challenge", details)).await?;
            notice::tell(
                write,
                domain.tenant,
                NoticeKind::Challenged,
                (Some(domain.id), &domain.host),
                until,
            )
            .await?;
            let contest = until.map(|until| Contest::Challenged { until });
            tell_holder(write, domain, contest, contest::proof()).await
        }
        // The name is kept for a tenant that may be gone.
        Holder::Former(tenant) if tenant::is_there(write.connection(), *tenant).await? => {
            notice::tell(write, *tenant, NoticeKind::Challenged, (None, &claim.host), until).await
        }
        Holder::Former(_) | Holder::Nobody => Ok(()),
    }
}

async fn lapse(write: &mut Write, claim: &DomainRecord, holder: &Holder) -> Result<()> {
    let row = sqlx::query("SELECT holds FROM contests WHERE id = $1")
        .bind(claim.id.to_string())
        .fetch_one(write.connection())
        .await?;
    if row.integer("holds")? >= MAX_HOLDS {
        return refuse(write, claim, holder, Refusal::Lapsed).await;
    }
    order::abandon_of(write, claim.id, "the claim was not confirmed until its end").await?;
    sqlx::query("UPDATE contests SET certificate = NULL, key_sealed = NULL WHERE id = $1")
        .bind(claim.id.to_string())
        .execute(write.connection())
        .await?;
    let details = json!({ "hostname": claim.host });
    write.audit(event(claim, "domain.contest.lapse", details)).await?;
    notice::tell(write, claim.tenant, NoticeKind::ProofGone, (Some(claim.id), &claim.host), None).await?;
    relieve(write, claim, holder).await
}

/// The holder keeps the name.
async fn refuse(write: &mut Write, claim: &DomainRecord, holder: &Holder, cause: Refusal) -> Result<()> {
    contest::end(write, claim, State::Refused).await?;
    sqlx::query("UPDATE contests SET cause = $2 WHERE id = $1")
        .bind(claim.id.to_string())
        .bind(to_word(&cause)?)
        .execute(write.connection())
        .await?;
    let details = json!({ "hostname": claim.host, "cause": cause });
    write.audit(event(claim, "domain.contest.refuse", details)).await?;
    notice::tell(write, claim.tenant, NoticeKind::ClaimRefused, (Some(claim.id), &claim.host), None).await?;
    relieve(write, claim, holder).await
}

/// Ends a claim that its owner takes away.
pub(super) async fn withdraw(write: &mut Write, claim: &DomainRecord) -> Result<()> {
    let holder = holder_of(write, claim).await?;
    contest::end(write, claim, State::Gone).await?;
    let details = json!({ "hostname": claim.host });
    write.audit(event(claim, "domain.contest.withdraw", details)).await?;
    if claim_until(claim).is_some() { relieve(write, claim, &holder).await } else { Ok(()) }
}

/// Tells a holder who was told of a claim that it is over.
async fn relieve(write: &mut Write, claim: &DomainRecord, holder: &Holder) -> Result<()> {
    let Holder::Domain(domain) = holder else { return Ok(()) };
    let details = json!({ "hostname": claim.host });
    write.audit(event(domain, "domain.challenge.end", details)).await?;
    notice::tell(write, domain.tenant, NoticeKind::ClaimEnded, (Some(domain.id), &domain.host), None).await?;
    tell_holder(write, domain, None, domain.target.proof.clone()).await
}

/// Writes the holder's row anew, with the proof that is asked for from now on.
async fn tell_holder(
    write: &mut Write,
    holder: &DomainRecord,
    contest: Option<Contest>,
    proof: String,
) -> Result<()> {
    let now = write.now();
    let facts = Facts { contest, ..holder.facts.clone() };
    let (status, _) = derive(&facts, &holder.target, now);
    let mut timeline = holder.timeline.clone();
    check::note(&mut timeline, TimelineEntry { at: now, status, ends_in_days: None });
    sqlx::query(
        "UPDATE domains SET proof = $2, status = $3, timeline = $4, version = version + 1, next_check_at = $5
         WHERE id = $1",
    )
    .bind(holder.id.to_string())
    .bind(proof)
    .bind(status.as_str())
    .bind(to_json(&timeline)?)
    .bind(now.unix_millis())
    .execute(write.connection())
    .await?;
    Ok(())
}

/// Lets the claim that waits have the name as soon as its proof is seen once more.
async fn hasten(write: &mut Write, claim: &DomainRecord) -> Result<()> {
    sqlx::query(
        "UPDATE contests SET hold_until = $2, next_check_at = $2, version = version + 1 WHERE id = $1",
    )
    .bind(claim.id.to_string())
    .bind(write.now_millis())
    .execute(write.connection())
    .await?;
    Ok(())
}

/// The holder gave the name up: whoever proved that it is theirs need not wait, and the others look again.
pub(super) async fn give_way(write: &mut Write, holder: &DomainRecord) -> Result<()> {
    if let Some(claim) = waiting(write, holder).await? {
        hasten(write, &claim).await?;
    }
    sqlx::query("UPDATE contests SET next_check_at = $2 WHERE host = $1 AND state = 'open'")
        .bind(holder.host.to_string())
        .bind(write.now_millis())
        .execute(write.connection())
        .await?;
    Ok(())
}
