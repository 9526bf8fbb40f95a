//! A fresh store on one engine, with a clock that stands still and a look behind the store's back.

use std::io::Write as _;
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::backend::Backend;
use model::certificate::CertificateSource;
use model::change::{Lineage, Revision};
use model::clock::ManualClock;
use model::domain::{Certification, Claim, Facts, Presence, Routing};
use model::id::{AppId, CertificateId, TenantId};
use model::seal::{Sealed, SealingKey};
use model::site::{HeaderPolicy, Settings};
use model::tenant::Slug;
use model::{Clock, Host, HostPattern, Timestamp};
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, AssertSqlSafe, Row as _};
use store::{
    Access, Actor, App, CertificateRecord, DomainRecord, NewApp, NewCertificate, NewTenant, Options,
    RenewalAdvice, Store, TenantRecord, Version,
};
use tempfile::TempDir;
use testkit::postgres::Postgres;
use tokio::sync::Mutex;

/// 2026-11-22T18:00:00Z
const START: Timestamp = Timestamp::from_unix_millis(1_795_370_400_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// One server for the tests that run at the same time; it goes with the last of them.
static SERVER: Mutex<Weak<Postgres>> = Mutex::const_new(Weak::new());

pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) url: String,
    /// A look behind the store's back.
    pub(crate) pool: AnyPool,
    _files: Option<TempDir>,
    _server: Option<Arc<Postgres>>,
}

impl Bench {
    pub(crate) async fn sqlite() -> Self {
        let files = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", files.path().join("stoa.db").display());
        let mut bench = Self::at(url).await;
        bench._files = Some(files);
        bench
    }

    /// None, said aloud, where Postgres is not installed; where `CI` is set that is a failure.
    pub(crate) async fn postgres() -> Option<Self> {
        let server = server().await?;
        let mut bench = Self::at(server.database().await).await;
        bench._server = Some(server);
        Some(bench)
    }

    async fn at(url: String) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let store = Store::open(options(&url, &["apps.test", "alt.test"]), clock.clone()).await.unwrap();
        let pool = AnyPoolOptions::new().max_connections(2).connect(&url).await.unwrap();
        Self { store, clock, url, pool, _files: None, _server: None }
    }

    /// Another process on the same database.
    pub(crate) async fn reopened(&self, zones: &[&str]) -> Store {
        Store::open(options(&self.url, zones), self.clock.clone()).await.unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A tick later, so that the next id sorts after the last one.
    pub(crate) fn tick(&self) {
        self.clock.advance(Duration::from_millis(1));
    }

    pub(crate) async fn tenant(&self, slug: &str) -> TenantRecord {
        self.tick();
        let new = NewTenant { name: format!("The {slug}"), slug: Slug::parse(slug).unwrap() };
        self.store.create_tenant(&actor(), new).await.unwrap()
    }

    pub(crate) async fn app(&self, tenant: TenantId, name: &str) -> App {
        self.tick();
        self.store.create_app(&actor(), Access::Platform, tenant, new_app(name)).await.unwrap()
    }

    pub(crate) async fn domain(&self, app: AppId, host: &str) -> DomainRecord {
        self.tick();
        let host: HostPattern = host.parse().unwrap();
        self.store.add_domain(&actor(), Access::Platform, app, host).await.unwrap()
    }

    pub(crate) async fn check(&self, domain: &DomainRecord, facts: Facts) -> DomainRecord {
        let next = self.now().plus(HOUR);
        self.store.record_domain_check(domain.id, domain.version, facts, next).await.unwrap()
    }

    pub(crate) async fn proved_domain(&self, app: AppId, host: &str) -> DomainRecord {
        let domain = self.domain(app, host).await;
        self.check(&domain, proved()).await
    }

    /// A certificate of an app for these names, good for 90 days from now.
    pub(crate) fn new_certificate(&self, app: &App, names: &[&str]) -> NewCertificate {
        self.tick();
        let id = CertificateId::generate(self.now());
        NewCertificate {
            id,
            tenant: Some(app.tenant),
            app: Some(app.id),
            source: CertificateSource::Acme,
            authority: None,
            issuer: "Test CA".to_owned(),
            serial: "01ab".to_owned(),
            names: names.iter().map(|name| name.parse::<HostPattern>().unwrap()).collect(),
            chain_pem: format!("-----BEGIN CERTIFICATE-----\n{id}\n-----END CERTIFICATE-----\n"),
            key: sealed(),
            not_before: self.now(),
            not_after: self.now().plus(DAY * 90),
        }
    }

    /// Proves those of the names that are no domains yet.
    pub(crate) async fn certificate(&self, app: &App, names: &[&str]) -> CertificateRecord {
        for name in names {
            if self.store.domain_by_host(name.parse::<HostPattern>().unwrap()).await.unwrap().is_none() {
                self.proved_domain(app.id, name).await;
            }
        }
        self.store.insert_certificate(&actor(), self.new_certificate(app, names)).await.unwrap()
    }

    /// What an authority said about a certificate, as news.
    pub(crate) async fn advise(
        &self,
        held: &CertificateRecord,
        window: Option<(Timestamp, Timestamp)>,
        renew_at: Timestamp,
        ask_in: Duration,
    ) {
        let (id, is_news, is_recalled) = (held.id, true, false);
        let told = RenewalAdvice { id, window, renew_at, ask_in, is_news, is_recalled };
        self.store.put_renewal_windows(&[told]).await.unwrap();
    }

    pub(crate) async fn head(&self) -> Revision {
        self.store.head().await.unwrap()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query(sql).fetch_one(&self.pool).await.unwrap().try_get(0).unwrap()
    }

    pub(crate) async fn text(&self, sql: &'static str) -> String {
        sqlx::query(sql).fetch_one(&self.pool).await.unwrap().try_get(0).unwrap()
    }

    pub(crate) async fn execute(&self, sql: impl Into<String>) {
        sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&self.pool).await.unwrap();
    }

    pub(crate) async fn audited(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM audit").await
    }
}

async fn server() -> Option<Arc<Postgres>> {
    let mut shared = SERVER.lock().await;
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    match Postgres::start().await {
        Ok(server) => {
            let server = Arc::new(server);
            *shared = Arc::downgrade(&server);
            Some(server)
        }
        Err(error) if in_ci() => panic!("Postgres is needed in CI: {error:#}"),
        Err(error) => {
            // Past the harness's capture: a test that passes by being skipped must still say so.
            let line = format!("SKIPPED on Postgres: {error:#}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "only a test asks whether it runs in CI")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

pub(crate) fn options(url: &str, zones: &[&str]) -> Options {
    Options {
        url: url.to_owned(),
        zones: zones.iter().map(|zone| host(zone)).collect(),
        edge_addresses: vec!["192.0.2.1".parse().unwrap()],
    }
}

pub(crate) fn actor() -> Actor {
    Actor::system("test")
}

pub(crate) fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

pub(crate) fn new_app(name: &str) -> NewApp {
    NewApp {
        name: Slug::parse(name).unwrap(),
        backends: vec![Backend { url: "http://127.0.0.1:3000".parse().unwrap(), weight: 1 }],
        headers: HeaderPolicy::default(),
        settings: Settings::default(),
    }
}

pub(crate) fn proved() -> Facts {
    Facts { claim: Claim::Proved, routing: Routing::Here, ..Facts::unknown() }
}

pub(crate) fn live(not_after: Timestamp) -> Facts {
    Facts { certification: Certification::Ready { not_after }, presence: Presence::Verified, ..proved() }
}

pub(crate) fn sealed() -> Sealed {
    SealingKey::generate().seal("test", b"secret").unwrap()
}

pub(crate) const NO_LINEAGE: Lineage = Lineage(String::new());
pub(crate) const FIRST: Version = Version(1);
