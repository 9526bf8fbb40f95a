//! The log that edges follow: pointers by revision, each read together with the object it points at.
//!
//! A lineage is `<random>.<horizon>`. Up to the horizon, pointers of objects that are gone were purged: who
//! stands before it may have missed one and begins anew, unless it began its present reading with that very
//! horizon. So the pages of a reset may end before the horizon without beginning again for ever.

use std::collections::BTreeMap;

use model::change::{Batch, Change, Lineage, Object, ObjectId, Revision};
use model::id::AppId;
use model::site::SiteHost;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::caller::Actor;
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_integer};
use crate::write::Event;
use crate::{Store, certificate, challenge, domain, random, tenant, ticket};

/// Most changes of one batch.
pub const MAX_CHANGES: u32 = 5_000;

/// The row of the log.
struct Log {
    lineage: String,
    revision: i64,
    horizon: i64,
}

/// A stretch of revisions: after the first, up to the second.
#[derive(Clone, Copy)]
struct Span(i64, i64);

impl Store {
    /// The newest revision of the log.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn head(&self) -> Result<Revision> {
        let row = sqlx::query("SELECT revision FROM log WHERE id = 1").fetch_one(self.pool()).await?;
        Ok(Revision(row.natural("revision")?))
    }

    /// At most `limit` (1 to [`MAX_CHANGES`]) changes after `after`, oldest first, all as of one moment. Of
    /// another lineage, before the horizon or beyond the head: the first page of a reset, from revision 0.
    /// Pages after it are not marked; the last one has `more` false.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn changes(&self, lineage: &Lineage, after: Revision, limit: u32) -> Result<Batch> {
        let mut transaction = self.read().await?;
        let log = read_log(&mut transaction).await?;
        let reset = log.must_reset(lineage, after);
        let after = if reset { 0 } else { to_integer(after.0) };
        let limit = limit.clamp(1, MAX_CHANGES);
        let pointers = pointers(&mut transaction, after, limit).await?;
        let more = pointers.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        let span = match pointers.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).next_back() {
            Some((last, _)) if more => Span(after, *last),
            _ => Span(after, log.revision.max(after)),
        };
        let mut objects = self.objects(&mut transaction, span).await?;
        let changes = pointers
            .into_iter()
            .take_while(|(revision, _)| *revision <= span.1)
            .map(|(revision, id)| Change { revision: to_revision(revision), object: objects.remove(&id), id })
            .collect();
        let lineage = if reset { log.lineage() } else { lineage.clone() };
        Ok(Batch { lineage, reset, more, next: to_revision(span.1), changes })
    }

    /// Gives the log a new random lineage: every edge begins anew and fetches everything, and those that wait
    /// are woken. For after a restore from a backup, when edges may hold what the log knows nothing of.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn begin_new_lineage(&self, actor: &Actor) -> Result<()> {
        let mut write = self.write(actor).await?;
        let lineage = random::text();
        sqlx::query("UPDATE log SET lineage = $1 WHERE id = 1")
            .bind(&lineage)
            .execute(write.connection())
            .await?;
        write.advance();
        let details = serde_json::json!({});
        write.audit(Event { tenant: None, action: "platform.lineage", target: lineage, details }).await?;
        write.commit().await
    }

    /// The objects that the pointers of the span point at, as they are now.
    async fn objects(
        &self,
        connection: &mut AnyConnection,
        span: Span,
    ) -> Result<BTreeMap<ObjectId, Object>> {
        let mut objects = BTreeMap::new();
        let mut take = |object: Object| drop(objects.insert(object.id(), object));
        for row in &rows(connection, TENANTS, span).await? {
            take(Object::Tenant(tenant::read(row)?.to_object()));
        }
        let mut hosts = self.hosts(connection, span).await?;
        for row in &rows(connection, SITES, span).await? {
            let app = self.read_app(row)?;
            let domains = hosts.remove(&app.id).unwrap_or_default();
            take(Object::Site(Box::new(self.site(app, domains))));
        }
        let now = self.now();
        for row in &rows(connection, CERTIFICATES, span).await? {
            let certificate = certificate::read(row, now)?;
            if certificate.status == model::certificate::CertificateStatus::Active {
                take(Object::Certificate(certificate.into_object()));
            }
        }
        for row in &rows(connection, CHALLENGES, span).await? {
            let challenge = challenge::read(row)?;
            if challenge.expires_at > now {
                take(Object::Challenge(challenge));
            }
        }
        for row in &rows(connection, TICKET_KEYS, span).await? {
            take(Object::TicketKey(ticket::read(row)?));
        }
        Ok(objects)
    }

    async fn hosts(
        &self,
        connection: &mut AnyConnection,
        span: Span,
    ) -> Result<BTreeMap<AppId, Vec<SiteHost>>> {
        let mut hosts: BTreeMap<AppId, Vec<SiteHost>> = BTreeMap::new();
        for row in &rows(connection, DOMAINS, span).await? {
            hosts.entry(row.parsed("app_id")?).or_default().push(domain::site_host(row)?);
        }
        Ok(hosts)
    }
}

impl Log {
    fn lineage(&self) -> Lineage {
        Lineage(format!("{}.{}", self.lineage, self.horizon))
    }

    fn must_reset(&self, asked: &Lineage, after: Revision) -> bool {
        let Some((lineage, horizon)) = asked.0.rsplit_once('.') else { return true };
        let after = to_integer(after.0);
        let began_here = horizon.parse() == Ok(self.horizon);
        lineage != self.lineage || after > self.revision || (after < self.horizon && !began_here)
    }
}

async fn read_log(connection: &mut AnyConnection) -> Result<Log> {
    let row =
        sqlx::query("SELECT lineage, revision, horizon FROM log WHERE id = 1").fetch_one(connection).await?;
    Ok(Log {
        lineage: row.text("lineage")?,
        revision: row.integer("revision")?,
        horizon: row.integer("horizon")?,
    })
}

/// One pointer more than the limit, to tell whether there is more.
async fn pointers(connection: &mut AnyConnection, after: i64, limit: u32) -> Result<Vec<(i64, ObjectId)>> {
    let rows = sqlx::query(
        "SELECT kind, object_id, revision FROM feed WHERE revision > $1 ORDER BY revision LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit) + 1)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row.integer("revision")?, object_id(row)?))).collect()
}

const TENANTS: &str = "SELECT tenants.* FROM feed JOIN tenants ON tenants.id = feed.object_id
    WHERE feed.kind = 'tenant' AND feed.revision > $1 AND feed.revision <= $2";
const SITES: &str = "SELECT apps.* FROM feed JOIN apps ON apps.id = feed.object_id
    WHERE feed.kind = 'site' AND feed.revision > $1 AND feed.revision <= $2";
const DOMAINS: &str =
    "SELECT domains.id, domains.app_id, domains.host, domains.was_live, domains.client_ca FROM feed
    JOIN domains ON domains.app_id = feed.object_id
    WHERE feed.kind = 'site' AND feed.revision > $1 AND feed.revision <= $2 AND domains.proved = 1
    ORDER BY domains.id";
const CERTIFICATES: &str =
    "SELECT certificates.* FROM feed JOIN certificates ON certificates.id = feed.object_id
    WHERE feed.kind = 'certificate' AND feed.revision > $1 AND feed.revision <= $2
    AND certificates.status = 'active'";
const CHALLENGES: &str = "SELECT challenges.* FROM feed JOIN challenges ON challenges.token = feed.object_id
    WHERE feed.kind = 'challenge' AND feed.revision > $1 AND feed.revision <= $2";
const TICKET_KEYS: &str = "SELECT ticket_keys.* FROM feed JOIN ticket_keys ON ticket_keys.id = feed.object_id
    WHERE feed.kind = 'ticket_key' AND feed.revision > $1 AND feed.revision <= $2";

async fn rows(connection: &mut AnyConnection, statement: &'static str, span: Span) -> Result<Vec<AnyRow>> {
    Ok(sqlx::query(statement).bind(span.0).bind(span.1).fetch_all(connection).await?)
}

fn to_revision(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0))
}

/// An object's name as the columns `kind` and `object_id`.
pub(crate) fn columns(id: &ObjectId) -> (&'static str, String) {
    match id {
        ObjectId::Tenant(id) => ("tenant", id.to_string()),
        ObjectId::Site(id) => ("site", id.to_string()),
        ObjectId::Certificate(id) => ("certificate", id.to_string()),
        ObjectId::Challenge(token) => ("challenge", token.to_string()),
        ObjectId::TicketKey(id) => ("ticket_key", id.to_string()),
    }
}

fn object_id(row: &AnyRow) -> Result<ObjectId> {
    match row.text("kind")?.as_str() {
        "tenant" => Ok(ObjectId::Tenant(row.parsed("object_id")?)),
        "site" => Ok(ObjectId::Site(row.parsed("object_id")?)),
        "certificate" => Ok(ObjectId::Certificate(row.parsed("object_id")?)),
        "ticket_key" => Ok(ObjectId::TicketKey(row.parsed("object_id")?)),
        "challenge" => model::acme::Token::parse(&row.text("object_id")?)
            .map(ObjectId::Challenge)
            .map_err(|error| StoreError::corrupt(error.to_string())),
        kind => Err(StoreError::corrupt(format!("the log has an object of kind `{kind}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Log {
        Log { lineage: "abc".to_owned(), revision: 20, horizon: 10 }
    }

    fn must_reset(lineage: &str, after: u64) -> bool {
        log().must_reset(&Lineage(lineage.to_owned()), Revision(after))
    }

    #[test]
    fn who_may_have_missed_a_deletion_begins_anew() {
        assert!(must_reset("", 0) && must_reset("xyz.10", 15) && must_reset("abc", 15));
        assert!(must_reset("abc.10", 21), "beyond the head");
        assert!(must_reset("abc.4", 9), "before a horizon that it did not begin with");
    }

    #[test]
    fn who_missed_nothing_goes_on() {
        assert!(!must_reset("abc.4", 10) && !must_reset("abc.10", 20));
        assert!(!must_reset("abc.10", 3), "in the middle of a reset that began with this horizon");
    }
}
