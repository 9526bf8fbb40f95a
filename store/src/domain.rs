//! Creators' own domains: what is known of each, and when it is looked at next.

mod check;
mod client_ca;
mod companion;
mod contest;
mod scribe;
mod transfer;

use std::time::Duration;

use model::change::ObjectId;
use model::client_ca::ClientCa;
use model::domain::{Claim, Contest, DomainStatus, Facts, Policy, Target, derive};
use model::host::MAX_LABEL_BYTES;
use model::host::likeness::imitates;
use model::id::{AppId, DomainId, TenantId};
use model::site::{HostOrigin, SiteHost};
use model::tenant::Standing;
use model::{Host, HostPattern, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::app::App;
use crate::caller::{Access, Actor, Version};
use crate::certificate::Whose;
use crate::error::{Result, StoreError};
use crate::page::{Page, Paged};
use crate::row::{Columns as _, to_json};
use crate::write::{Event, Shape, Write};
use crate::{Store, certificate, connection, consent, order, released};

pub(crate) use check::add_to_timeline;
pub use contest::{MAX_CONTESTS_OF_NAME, MAX_CONTESTS_OF_TENANT, MAX_TRIES};
pub(crate) use contest::{forget_tenant, proof};
pub(crate) use scribe::Scribe;
pub use transfer::{Decision, HOLD, SLACK, Shown, Sight};

/// How long a claim that was never proved keeps its name from other tenants: time enough to change records
/// at a slow provider, not enough to block a name that is somebody else's.
pub const UNPROVED_CLAIM: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most domains of one app.
pub const MAX_DOMAINS_PER_APP: usize = 100;

/// Top levels that never lead to anybody on the internet (RFC 6761, 6762, 7686, 3172). Names for development are
/// none of them: they are connected on purpose.
const RESERVED: [&str; 4] = ["invalid", "local", "onion", "arpa"];

/// A domain with the standing of its tenant, ready for a `WHERE`.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT domains.*, tenants.standing, (SELECT contests.hold_until FROM contests
             WHERE contests.host = domains.host AND contests.hold_until IS NOT NULL) AS challenged_until
             FROM domains JOIN tenants ON tenants.id = domains.tenant_id ",
            $rest
        )
    };
}
use select;

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRecord {
    /// Its id.
    pub id: DomainId,
    /// The app that answers at it.
    pub app: AppId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The name, or the names below one.
    pub host: HostPattern,
    /// What is known.
    pub facts: Facts,
    /// Where its records must point.
    pub target: Target,
    /// What the facts mean at the time of reading.
    pub status: DomainStatus,
    /// Whether it has ever been live.
    pub was_live: bool,
    /// Whose client certificates it asks visitors for; none: it asks nobody.
    pub client_ca: Option<ClientCa>,
    /// Version of the row; it moves with every check.
    pub version: Version,
    /// When it is looked at next.
    pub next_check_at: Timestamp,
    /// Until when somebody looks at its page.
    pub watched_until: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// The latest changes of its status, the oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// One change of a domain's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What it became, or was.
    pub status: DomainStatus,
    /// That its uploaded certificate ends in so many days: a warning, no change of the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_days: Option<u16>,
}

impl Store {
    /// Connects a domain to an app. It is served once its claim is proved. A claim of another tenant that was
    /// not proved within [`UNPROVED_CLAIM`] gives way: it is taken away in the same transaction. Where another tenant
    /// has the name otherwise, what is made is a claim with a proof of its own ([`Store::settle_contest`]).
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the app, [`StoreError::Conflict`] `domain_taken` (the tenant has it already) or
    /// `domain_quarantined`, [`StoreError::Invalid`] for a name that cannot be a creator's own,
    /// [`StoreError::TooMany`].
    pub async fn add_domain(
        &self,
        actor: &Actor,
        access: Access,
        app: AppId,
        host: impl Into<HostPattern>,
    ) -> Result<DomainRecord> {
        let host = host.into();
        self.check_own(&host)?;
        self.check_new(&host)?;
        let mut write = self.write(actor).await?;
        let app = self.load_app(write.connection(), access, app).await?;
        if free_host(&mut write, &host, &app).await? == Free::No {
            let claim = contest::open(&mut write, &app, host).await?;
            write.commit().await?;
            return Ok(claim);
        }
        released::claim(&mut write, &host, app.tenant, ("hostname", "domain_quarantined")).await?;
        let now = write.now();
        let id = DomainId::generate(now);
        let facts = Facts::unknown();
        let target = self.target(id, host.clone(), proof())?;
        let (status, _) = derive(&facts, &target, now);
        let domain = DomainRecord {
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
        insert(write.connection(), &domain).await?;
        write.point(&ObjectId::Site(app.id), Shape::Present).await?;
        let details = json!({ "hostname": domain.host, "app": app.id });
        write.audit(event(&domain, "domain.add", details)).await?;
        write.commit().await?;
        Ok(domain)
    }

    /// One domain, or a claim of a name that another tenant has.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn domain(&self, access: Access, id: DomainId) -> Result<DomainRecord> {
        let mut connection = self.pool().acquire().await?;
        self.load_any(&mut connection, access, id).await
    }

    /// An app's domains and its claims of names that others have, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the app, [`StoreError::Invalid`] for a bad page.
    pub async fn domains(&self, access: Access, app: AppId, page: &Page) -> Result<Paged<DomainRecord>> {
        let (after, limit) = (page.after_text::<DomainId>()?, page.rows()?);
        self.app(access, app).await?;
        let rows = sqlx::query(select!(
            "WHERE domains.app_id = $1 AND domains.id > $2 ORDER BY domains.id LIMIT $3"
        ))
        .bind(app.to_string())
        .bind(&after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        let mut domains = rows.iter().map(|row| self.read_domain(row)).collect::<Result<Vec<_>>>()?;
        domains.extend(self.claims_of(app, (after, limit)).await?);
        domains.sort_by_key(|domain| domain.id);
        Ok(Paged::cut(domains, page, |domain| domain.id))
    }

    /// The domain with this name, if there is one.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn domain_by_host(&self, host: impl Into<HostPattern>) -> Result<Option<DomainRecord>> {
        let host = host.into();
        let row = sqlx::query(select!("WHERE domains.host = $1"))
            .bind(host.to_string())
            .fetch_optional(self.pool())
            .await?;
        row.map(|row| self.read_domain(&row)).transpose()
    }

    /// The domain with this name and the claims of it, as far as `access` sees them.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn domains_of_name(&self, access: Access, host: &HostPattern) -> Result<Vec<DomainRecord>> {
        let mut found: Vec<DomainRecord> = self.domain_by_host(host).await?.into_iter().collect();
        found.extend(self.claims_of_name(host).await?);
        found.retain(|domain| access.allows(Some(domain.tenant)));
        Ok(found)
    }

    /// What stands in the way of a claim of `host` by whoever has `access`, or is known of it: nobody's own name, a
    /// claim of another tenant, one's own domain, a name that was given up. None: it is free.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn standing_of(&self, access: Access, host: &HostPattern) -> Result<Option<Facts>> {
        if self.check_own(host).is_err() || self.check_new(host).is_err() {
            return Ok(Some(Facts { policy: Policy::Refused, ..Facts::unknown() }));
        }
        if let Some(domain) = self.domain_by_host(host).await? {
            return Ok(match access {
                _ if access.allows(Some(domain.tenant)) => Some(domain.facts),
                Access::Tenant(tenant) if gives_way(&domain, tenant, self.now()) => None,
                _ => Some(Facts { claim: Claim::Contested, ..Facts::unknown() }),
            });
        }
        let Some((tenant, until)) = released::last_owner(self, host).await? else { return Ok(None) };
        let claim = if access.allows(Some(tenant)) { Claim::Released } else { Claim::Contested };
        Ok(Some(Facts { claim, kept_until: Some(until), ..Facts::unknown() }))
    }

    /// Takes a domain away, with the certificates that then serve nothing. If it was proved, its name is
    /// kept for the tenant for [`crate::QUARANTINE`], unless it is to move to another tenant, who then has it at once.
    /// Records that were set at its provider stay, and what takes them back is forgotten: the audit log names the
    /// provider.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] `connection_working` while such records are being set or taken
    /// back.
    pub async fn delete_domain(&self, actor: &Actor, access: Access, id: DomainId) -> Result<()> {
        let mut write = self.write(actor).await?;
        let domain = self.load_any(write.connection(), access, id).await?;
        if domain.facts.claim == Claim::Contested {
            transfer::withdraw(&mut write, &domain).await?;
            return write.commit().await;
        }
        connection::refuse_working(write.connection(), &id).await?;
        let left = connection::left_at(write.connection(), id).await?;
        remove(&mut write, &domain).await?;
        let app = self.load_app(write.connection(), Access::Platform, domain.app).await?;
        certificate::remove_useless(&mut write, &app, &domain.host).await?;
        certificate::strip(&mut write, &app, &domain.host, Whose::Ours).await?;
        write.point(&ObjectId::Site(domain.app), Shape::Present).await?;
        write.audit(event(&domain, "domain.delete", left_behind(&domain, left))).await?;
        write.commit().await
    }

    fn check_own(&self, host: &HostPattern) -> Result<()> {
        let refuse = |reason: String| Err(StoreError::invalid("hostname", reason));
        if host.base().parent().is_none() {
            let base = host.base();
            return refuse(format!("hostname `{base}` has one label only: a domain has at least two"));
        }
        if host.sample(&"x".repeat(MAX_LABEL_BYTES)).is_err() {
            return refuse(format!("hostname `{host}` is too long for names below it"));
        }
        match self.zones().iter().find(|zone| host.base().is_within(zone) || host.covers(zone)) {
            Some(zone) => refuse(format!("hostname `{host}` belongs to the marketplace's own zone `{zone}`")),
            None => Ok(()),
        }
    }

    /// What is refused to new domains only: one that is there already stays as it is.
    fn check_new(&self, host: &HostPattern) -> Result<()> {
        let refuse = |reason: String| Err(StoreError::invalid("hostname", reason));
        let base = host.base();
        let last = base.as_str().rsplit('.').next().unwrap_or_default();
        if RESERVED.contains(&last) {
            return refuse(format!("hostname `{host}` ends with `{last}`, which is never on the internet"));
        }
        let is_suffix = |name: &Host| psl::suffix_str(name.as_str()) == Some(name.as_str());
        if is_suffix(base) || (host.is_wildcard() && host.sample("any").is_ok_and(|name| is_suffix(&name))) {
            return refuse(format!("hostname `{base}` is a public suffix: domains are registered below it"));
        }
        let own = self.zones().iter().flat_map(|zone| [Some(zone.clone()), registered(zone)]).flatten();
        match own.into_iter().find(|own| imitates(base, own)) {
            Some(own) => refuse(format!("hostname `{host}` looks like `{own}`, which is the marketplace's")),
            None => Ok(()),
        }
    }

    fn target(&self, id: DomainId, host: HostPattern, proof: String) -> Result<Target> {
        let text = id.to_string().to_ascii_lowercase();
        let label = text.split_once('_').map_or(text.as_str(), |(_, ulid)| ulid);
        let zone = self.zones().first().ok_or_else(|| StoreError::invalid("zones", "there is no zone"))?;
        let cname = zone
            .with_label("cname")
            .and_then(|zone| zone.with_label(label))
            .map_err(|error| StoreError::invalid("zones", error))?;
        Ok(Target { host, cname, proof, addresses: self.inner.edge_addresses.clone() })
    }

    /// What facts of a domain mean now.
    pub(crate) fn status_of(
        &self,
        id: DomainId,
        host: HostPattern,
        proof: &str,
        facts: &Facts,
    ) -> Result<DomainStatus> {
        Ok(derive(facts, &self.target(id, host, proof.to_owned())?, self.now()).0)
    }

    fn read_domain(&self, row: &AnyRow) -> Result<DomainRecord> {
        let id = row.parsed("id")?;
        let target = self.target(id, row.parsed("host")?, row.text("proof")?)?;
        let policy = self.policy(&target.host, row.word("standing")?);
        let until = row.moment_or_none("challenged_until")?;
        let contest = until.map(|until| Contest::Challenged { until });
        let facts = Facts { policy, contest, ..row.json::<Facts>("facts")? };
        let (status, _) = derive(&facts, &target, self.now());
        Ok(DomainRecord {
            id,
            app: row.parsed("app_id")?,
            tenant: row.parsed("tenant_id")?,
            host: target.host.clone(),
            facts,
            target,
            status,
            was_live: row.flag("was_live")?,
            client_ca: read_client_ca(row)?,
            version: Version(row.integer("version")?),
            next_check_at: row.moment("next_check_at")?,
            watched_until: row.moment_or_none("watched_until")?,
            created_at: row.moment("created_at")?,
            timeline: row.json("timeline")?,
        })
    }

    /// A name may have become ours after it was added: an operator gave the marketplace another zone.
    fn policy(&self, host: &HostPattern, standing: Standing) -> Policy {
        match standing {
            _ if self.check_own(host).is_err() => Policy::Refused,
            Standing::Suspended => Policy::Suspended,
            Standing::Active => Policy::Allowed,
        }
    }

    fn allowed_domain(&self, access: Access, id: DomainId, row: Option<&AnyRow>) -> Result<DomainRecord> {
        match row.map(|row| self.read_domain(row)).transpose()? {
            Some(domain) if access.allows(Some(domain.tenant)) => Ok(domain),
            _ => Err(StoreError::not_found("domain", id)),
        }
    }

    /// A domain, or a claim of a name that another tenant has.
    async fn load_any(
        &self,
        connection: &mut AnyConnection,
        access: Access,
        id: DomainId,
    ) -> Result<DomainRecord> {
        match self.load_domain(connection, access, id).await {
            Err(StoreError::NotFound { .. }) => self.claim(connection, access, id).await,
            found => found,
        }
    }

    pub(crate) async fn load_domain(
        &self,
        connection: &mut AnyConnection,
        access: Access,
        id: DomainId,
    ) -> Result<DomainRecord> {
        let row = sqlx::query(select!("WHERE domains.id = $1"))
            .bind(id.to_string())
            .fetch_optional(connection)
            .await?;
        self.allowed_domain(access, id, row.as_ref())
    }
}

/// The name that the marketplace registered for its zone.
fn registered(zone: &Host) -> Option<Host> {
    psl::domain_str(zone.as_str()).and_then(|name| Host::parse(name).ok())
}

fn read_client_ca(row: &AnyRow) -> Result<Option<ClientCa>> {
    Ok(row.text_or_none("client_ca")?.map(|pem| ClientCa::stored(&pem)))
}

/// A proved domain as a name of its site; reads `id`, `host`, `was_live` and `client_ca`.
pub(crate) fn site_host(row: &AnyRow) -> Result<SiteHost> {
    let origin = HostOrigin::Domain { id: row.parsed("id")?, live: row.flag("was_live")? };
    Ok(SiteHost { host: row.parsed("host")?, origin, client_ca: read_client_ca(row)? })
}

/// Takes every domain of an app away; its certificates are the caller's business.
pub(crate) async fn remove_all_of_app(write: &mut Write, app: AppId) -> Result<()> {
    let rows = sqlx::query(select!("WHERE domains.app_id = $1"))
        .bind(app.to_string())
        .fetch_all(write.connection())
        .await?;
    for row in &rows {
        let domain = write.store().read_domain(row)?;
        remove(write, &domain).await?;
    }
    for claim in contest::all_of_app(write, app).await? {
        transfer::withdraw(write, &claim).await?;
    }
    Ok(())
}

async fn remove(write: &mut Write, domain: &DomainRecord) -> Result<()> {
    order::abandon(write, &domain.host).await?;
    connection::remove(write, domain.id).await?;
    transfer::give_way(write, domain).await?;
    consent::remove(write, domain.id).await?;
    sqlx::query("DELETE FROM domains WHERE id = $1")
        .bind(domain.id.to_string())
        .execute(write.connection())
        .await?;
    match domain.facts.claim {
        Claim::Proved => released::keep(write, &domain.host, domain.tenant).await,
        Claim::Unproved | Claim::Contested | Claim::Released => Ok(()),
    }
}

/// What the audit log tells of a domain that goes: also the provider at which records of ours stay.
fn left_behind(domain: &DomainRecord, provider: Option<&'static str>) -> serde_json::Value {
    let mut details = json!({ "hostname": domain.host, "app": domain.app });
    if let (Some(provider), Some(details)) = (provider, details.as_object_mut()) {
        details.insert("records_stay_at".to_owned(), provider.into());
    }
    details
}

fn event(domain: &DomainRecord, action: &'static str, details: serde_json::Value) -> Event {
    Event { tenant: Some(domain.tenant), action, target: domain.id.to_string(), details }
}

/// Whether a name can be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Free {
    Yes,
    /// Another tenant has it.
    No,
}

/// The domain of a name, within a change.
async fn by_host(write: &mut Write, host: &HostPattern) -> Result<Option<DomainRecord>> {
    let row = sqlx::query(select!("WHERE domains.host = $1"))
        .bind(host.to_string())
        .fetch_optional(write.connection())
        .await?;
    row.map(|row| write.store().read_domain(&row)).transpose()
}

async fn free_host(write: &mut Write, host: &HostPattern, app: &App) -> Result<Free> {
    let mut free = Free::Yes;
    if let Some(domain) = by_host(write, host).await? {
        if domain.tenant == app.tenant {
            return Err(StoreError::Conflict {
                field: "hostname",
                value: host.to_string(),
                code: "domain_taken",
            });
        }
        if gives_way(&domain, app.tenant, write.now()) {
            displace(write, &domain).await?;
        } else {
            free = Free::No;
        }
    }
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM domains WHERE app_id = $1)
         + (SELECT COUNT(*) FROM contests WHERE app_id = $1 AND state <> 'gone') AS domains",
    )
    .bind(app.id.to_string())
    .fetch_one(write.connection())
    .await?;
    if usize::try_from(row.integer("domains")?).is_ok_and(|domains| domains >= MAX_DOMAINS_PER_APP) {
        return Err(StoreError::TooMany { what: "domains of this app", limit: MAX_DOMAINS_PER_APP });
    }
    Ok(free)
}

/// Whether a claim has had its time and was never proved; one's own is there for its owner to take away.
fn gives_way(domain: &DomainRecord, claimant: TenantId, now: Timestamp) -> bool {
    let never_proved = domain.facts.claim == Claim::Unproved && !domain.was_live;
    never_proved && domain.tenant != claimant && now.since(domain.created_at) > UNPROVED_CLAIM
}

/// Takes an unproved claim away for another one. No edge knew of it; its owner sees it in the audit log.
async fn displace(write: &mut Write, domain: &DomainRecord) -> Result<()> {
    let app = write.store().clone().load_app(write.connection(), Access::Platform, domain.app).await?;
    remove(write, domain).await?;
    certificate::remove_useless(write, &app, &domain.host).await?;
    let details = json!({
        "hostname": domain.host, "app": domain.app, "reason": "claimed by another tenant and not proved in time",
    });
    write.audit(event(domain, "domain.displace", details)).await
}

async fn insert(connection: &mut AnyConnection, domain: &DomainRecord) -> Result<()> {
    sqlx::query(
        "INSERT INTO domains (id, app_id, tenant_id, host, proof, facts, proved, was_live, status, timeline,
         version, next_check_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, $11, $12)",
    )
    .bind(domain.id.to_string())
    .bind(domain.app.to_string())
    .bind(domain.tenant.to_string())
    .bind(domain.host.to_string())
    .bind(&domain.target.proof)
    .bind(to_json(&domain.facts)?)
    .bind(i64::from(domain.facts.claim == Claim::Proved))
    .bind(domain.status.as_str())
    .bind(to_json(&domain.timeline)?)
    .bind(domain.version.0)
    .bind(domain.next_check_at.unix_millis())
    .bind(domain.created_at.unix_millis())
    .execute(connection)
    .await?;
    Ok(())
}
