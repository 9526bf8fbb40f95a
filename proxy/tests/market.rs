//! A small marketplace: one tenant, one app at `hello.apps.localhost`, one edge.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use feed::Sink as _;
use model::backend::Backend;
use model::certificate::Certificate;
use model::change::{Change, Object, ObjectId, Revision};
use model::clock::{Clock as _, SystemClock};
use model::id::{AppId, CertificateId, TenantId, TicketKeyId};
use model::limits::{Limits, Rate};
use model::seal::SealingKey;
use model::site::{HeaderPolicy, HostOrigin, Site, SiteHost};
use model::tenant::{Slug, Standing, Tenant};
use model::ticket::TicketKey;
use model::usage::UsageRow;
use model::{Host, Timestamp};
use proxy::{AccessLog, Deadlines, Edge, Parts, Running, Settings, State, SystemResolver, UsageSink};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use testkit::edge::Edge as Visitors;
use testkit::tls::install_provider;

/// The app's name.
pub(crate) const HOST: &str = "hello.apps.localhost";

/// A rate that no test reaches.
const ENOUGH: Rate = Rate { requests_per_minute: 60_000_000, burst: 1_000_000 };

/// Rows that the edge handed over.
#[derive(Default)]
pub(crate) struct Rows(Mutex<Vec<UsageRow>>);

impl UsageSink for Rows {
    fn push(&self, rows: Vec<UsageRow>) -> Result<(), String> {
        self.0.lock().unwrap().extend(rows);
        Ok(())
    }
}

impl Rows {
    pub(crate) fn all(&self) -> Vec<UsageRow> {
        self.0.lock().unwrap().clone()
    }
}

/// The system's clock, as far away from it as somebody has set it.
#[derive(Debug, Default)]
pub(crate) struct WallClock(AtomicI64);

impl WallClock {
    /// Sets it to so many seconds from the present.
    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds * 1000, Relaxed);
    }
}

impl model::Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(now().unix_millis() + self.0.load(Relaxed))
    }
}

pub(crate) struct Market {
    pub(crate) visitors: Visitors,
    pub(crate) state: Arc<State>,
    pub(crate) running: Option<Running>,
    pub(crate) rows: Arc<Rows>,
    pub(crate) clock: Arc<WallClock>,
    pub(crate) tenant: Tenant,
    pub(crate) site: Site,
    authority: CertifiedIssuer<'static, KeyPair>,
    key: SealingKey,
    folder: tempfile::TempDir,
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

impl Market {
    /// An edge whose app has the origins at `urls` as backends.
    pub(crate) fn open(urls: &[String]) -> Self {
        Self::open_with(urls, |_| ())
    }

    /// The same with other settings.
    pub(crate) fn open_with(urls: &[String], change: impl FnOnce(&mut Settings)) -> Self {
        Self::open_on(urls, &mut Vec::new(), change)
    }

    /// The same on sockets that were given.
    pub(crate) fn open_on(
        urls: &[String],
        given: &mut Vec<std::net::TcpListener>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        install_provider();
        let folder = tempfile::tempdir().unwrap();
        let authority = authority();
        let roots = folder.path().join("ca.pem");
        std::fs::write(&roots, authority.pem()).unwrap();
        let key = SealingKey::generate();
        let mut settings = settings(folder.path().join("access.log"));
        change(&mut settings);
        let clock = Arc::<WallClock>::default();
        let state = State::new(&settings, key.clone(), Arc::<WallClock>::clone(&clock)).unwrap();
        let rows = Arc::new(Rows::default());
        let parts = Parts {
            state: Arc::clone(&state),
            usage: Arc::<Rows>::clone(&rows),
            resolver: Arc::new(SystemResolver),
            firewall: Arc::new(waf::NoRules),
        };
        let running = Edge::start_on(&settings, parts, given).unwrap();
        let visitors =
            Visitors { https: running.https_addresses()[0], http: running.http_addresses()[0], roots };
        let tenant = tenant();
        let site = site(tenant.id, HOST, urls);
        let market = Self {
            visitors,
            state,
            running: Some(running),
            rows,
            clock,
            tenant,
            site,
            authority,
            key,
            folder,
        };
        market.put(Object::Tenant(market.tenant.clone()));
        market.put(Object::Site(Box::new(market.site.clone())));
        market.certify(&["*.apps.localhost"], 1);
        market.state.set_ready();
        market
    }

    pub(crate) fn put(&self, object: Object) {
        self.state.apply(&Change { revision: Revision(1), id: object.id(), object: Some(object) }).unwrap();
    }

    pub(crate) fn remove(&self, id: ObjectId) {
        self.state.apply(&Change { revision: Revision(2), id, object: None }).unwrap();
    }

    /// Serves a certificate that began `age` days ago, made after all others of this process; returns its id and its
    /// leaf.
    pub(crate) fn certify(&self, names: &[&str], age: u32) -> (CertificateId, Vec<u8>) {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = CertificateParams::new(names.clone()).unwrap().signed_by(&key, &self.authority).unwrap();
        // Ids of one millisecond have no order.
        let order = Duration::from_secs(MADE.fetch_add(1, Relaxed));
        let id = CertificateId::generate(now().plus(order));
        let not_before = now().minus(Duration::from_secs(86_400) * age);
        self.put(Object::Certificate(Certificate {
            id,
            tenant: None,
            source: None,
            authority: None,
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            chain_pem: leaf.pem(),
            key: self.key.seal(&Certificate::key_context(id), &key.serialize_der()).unwrap(),
            not_before,
            not_after: not_before.plus(Duration::from_secs(86_400) * 90),
        }));
        (id, leaf.der().to_vec())
    }

    /// Shares tickets under `secret`, as the feed tells it to each edge in its own seal.
    pub(crate) fn share_tickets(&self, id: TicketKeyId, secret: &[u8]) {
        let key = self.key.seal(&TicketKey::key_context(id), secret).unwrap();
        self.put(Object::TicketKey(TicketKey { id, key, made_at: now() }));
    }

    /// Changes the tenant.
    pub(crate) fn set_tenant(&self, change: impl FnOnce(&mut Tenant)) {
        let mut tenant = self.tenant.clone();
        change(&mut tenant);
        self.put(Object::Tenant(tenant));
    }

    /// Changes the site.
    pub(crate) fn set_site(&self, change: impl FnOnce(&mut Site)) {
        let mut site = self.site.clone();
        change(&mut site);
        self.put(Object::Site(Box::new(site)));
    }

    /// The text at the path of the operators' listener.
    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        let address = self.running.as_ref().unwrap().metrics_address().unwrap();
        let answer = testkit::curl::Curl::get(format!("http://{address}{path}")).send().await.unwrap();
        (answer.status, answer.body)
    }

    /// The lines of the access log so far.
    pub(crate) fn log(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.folder.path().join("access.log"))?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// The last line of the access log that `wanted` takes.
    pub(crate) async fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        testkit::wait::until("the line in the access log", testkit::wait::LONG, async || {
            let lines = self.log()?;
            let found = lines.iter().rfind(|line| wanted(line)).cloned();
            found.ok_or_else(|| anyhow::anyhow!("not there: {lines:?}"))
        })
        .await
        .unwrap()
    }
}

fn settings(log: PathBuf) -> Settings {
    Settings {
        http: vec!["127.0.0.1:0".parse().unwrap()],
        https: vec!["127.0.0.1:0".parse().unwrap()],
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        zones: vec![Host::parse("apps.localhost").unwrap()],
        workers: 2,
        access_log: AccessLog::File(log),
        deadlines: Deadlines { header: Duration::from_secs(1), ..Deadlines::default() },
        visitor_table_bytes: 1 << 16,
        ..Settings::default()
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "a test's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId::generate(now()),
        slug: Slug::parse("acme-inc").unwrap(),
        standing: Standing::Active,
        limits: Limits { tenant: ENOUGH, visitor: ENOUGH },
    }
}

pub(crate) fn site(tenant: TenantId, host: &str, urls: &[String]) -> Site {
    let backend = |url: &String| Backend { url: url.parse().unwrap(), weight: 1 };
    Site {
        app: AppId::generate(now()),
        tenant,
        name: Slug::parse("hello").unwrap(),
        hosts: vec![SiteHost { host: host.parse().unwrap(), origin: HostOrigin::Zone, client_ca: None }],
        backends: urls.iter().map(backend).collect(),
        headers: HeaderPolicy::default(),
        settings: model::site::Settings::default(),
    }
}
