//! What every test here needs: an authority, a DNS server, an edge, and installations with their stores.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use certd::{Acme, Certd, Settings};
use model::clock::SystemClock;
use model::domain::DomainStatus;
use model::id::{AppId, TenantId};
use model::seal::SealingKey;
use model::site::HeaderPolicy;
use model::tenant::Slug;
use model::{Clock, Host, HostPattern};
use store::{Access, Actor, DomainRecord, NewApp, NewTenant, Options, Store};
use tempfile::TempDir;
use testkit::dns::ChallTestSrv;
use testkit::pebble::{self, Pebble};
use testkit::wait::until;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::edge::Edge;

pub(crate) const EDGE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Longer than anything here takes on a loaded machine.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// Whether Pebble is installed. In CI it must be.
#[expect(clippy::disallowed_methods, reason = "CI is told by its environment")]
pub(crate) fn pebble_is_there() -> bool {
    let missing = ["pebble", "pebble-challtestsrv"].into_iter().find(|name| {
        let started = Command::new(name).arg("-help").output();
        started.is_err_and(|error| error.kind() == ErrorKind::NotFound)
    });
    let Some(name) = missing else { return true };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "`{name}` is missing: apt-get install pebble");
    println!("SKIPPED: `{name}` is not installed (apt-get install pebble)");
    false
}

/// An authority with the DNS server and the edge that it validates through.
pub(crate) struct Rig {
    pub(crate) dns: ChallTestSrv,
    pub(crate) pebble: Pebble,
    pub(crate) edge: Edge,
    pub(crate) sealing: SealingKey,
}

impl Rig {
    /// None: Pebble is not installed.
    pub(crate) async fn start(validity_seconds: Option<u64>) -> Option<Self> {
        if !pebble_is_there() {
            return None;
        }
        testkit::tls::install_provider();
        let sealing = SealingKey::generate();
        let (dns, edge) = (ChallTestSrv::start().await.unwrap(), Edge::start(&sealing).await.unwrap());
        let options = pebble::Options {
            http_port: edge.http.port(),
            resolver: Some(dns.resolver()),
            validity_seconds,
            ..pebble::Options::default()
        };
        Some(Self { pebble: Pebble::start(options).await.unwrap(), dns, edge, sealing })
    }

    pub(crate) fn acme(&self) -> Acme {
        Acme {
            ca_file: Some(self.pebble.ca_file.clone()),
            contact: Some("mailto:ops@example.com".to_owned()),
            ..Acme::at(&self.pebble.directory_url)
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            acme: Some(self.acme()),
            resolvers: vec![self.dns.resolver()],
            probe: Some(self.edge.https),
            ..Settings::default()
        }
    }

    /// An installation whose zone is for development, followed by the edge.
    pub(crate) async fn installation(&self) -> Installation {
        self.installation_of("apps.localhost").await
    }

    pub(crate) async fn installation_of(&self, zone: &str) -> Installation {
        self.installation_by(zone, Arc::new(SystemClock)).await
    }

    /// One that goes by another clock; certificates are checked by it, so it must not be far from the machine's.
    pub(crate) async fn installation_by(&self, zone: &str, clock: Arc<dyn Clock>) -> Installation {
        let installation = Installation::at(zone, &self.sealing, clock).await;
        self.edge.follow(&installation.store);
        installation
    }

    /// Makes the record that connects a domain.
    pub(crate) async fn connect(&self, domain: &DomainRecord) {
        let target = domain.target.cname.as_str();
        self.dns.add_a(target, EDGE).await.unwrap();
        self.dns.set_cname(&domain.host.to_string(), target).await.unwrap();
    }
}

/// A store with one tenant and one app.
pub(crate) struct Installation {
    pub(crate) store: Store,
    pub(crate) tenant: TenantId,
    pub(crate) app: AppId,
    pub(crate) sealing: SealingKey,
    _dir: TempDir,
}

impl Installation {
    pub(crate) async fn new(zone: &str, sealing: &SealingKey) -> Self {
        Self::at(zone, sealing, Arc::new(SystemClock)).await
    }

    /// One whose present comes from `clock`.
    pub(crate) async fn at(zone: &str, sealing: &SealingKey, clock: Arc<dyn Clock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            url: format!("sqlite:{}", dir.path().join("stoa.db").display()),
            zones: vec![Host::parse(zone).unwrap()],
            edge_addresses: vec![EDGE],
        };
        let store = Store::open(options, clock).await.unwrap();
        let tenant = create_tenant(&store, "acme").await;
        let app = create_app(&store, tenant, "hello").await;
        Self { store, tenant, app, sealing: sealing.clone(), _dir: dir }
    }

    pub(crate) async fn add_domain(&self, host: &str) -> DomainRecord {
        let host: HostPattern = host.parse().unwrap();
        self.store.add_domain(&Actor::system("test"), Access::Platform, self.app, host).await.unwrap()
    }

    pub(crate) async fn start(&self, settings: Settings) -> Running {
        let certd = Certd::start(settings, self.store.clone(), self.sealing.clone()).await.unwrap();
        Running::new(certd)
    }

    pub(crate) async fn domain(&self, domain: &DomainRecord) -> DomainRecord {
        self.store.domain(Access::Platform, domain.id).await.unwrap()
    }

    pub(crate) async fn until_status(&self, domain: &DomainRecord, status: DomainStatus) -> DomainRecord {
        let reached = until("the status", BOUND, async || {
            let domain = self.domain(domain).await;
            ensure!(domain.status == status, "{:?} {:?}", domain.status, domain.facts);
            Ok(domain)
        });
        reached.await.unwrap()
    }

    /// Serial of the certificate that counts for a host, once it is another one than `before`.
    pub(crate) async fn until_serial(&self, host: &str, before: Option<&str>) -> String {
        let host = Host::parse(host).unwrap();
        let serial = until("a new certificate", BOUND, async || {
            let held = self.store.active_certificate_for(&host).await?;
            let serial = held.map(|held| held.serial);
            ensure!(serial.is_some() && serial.as_deref() != before, "{serial:?}");
            Ok(serial.unwrap())
        });
        serial.await.unwrap()
    }
}

pub(crate) async fn create_tenant(store: &Store, name: &str) -> TenantId {
    let new = NewTenant { name: name.to_owned(), slug: Slug::parse(name).unwrap() };
    store.create_tenant(&Actor::system("test"), new).await.unwrap().id
}

pub(crate) async fn create_app(store: &Store, tenant: TenantId, name: &str) -> AppId {
    let new = NewApp {
        name: Slug::parse(name).unwrap(),
        backends: Vec::new(),
        headers: HeaderPolicy::default(),
        settings: model::site::Settings::default(),
    };
    store.create_app(&Actor::system("test"), Access::Platform, tenant, new).await.unwrap().id
}

/// Certd at work.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<()>,
    shutdown: watch::Sender<bool>,
}

impl Running {
    pub(crate) fn new(certd: Certd) -> Self {
        let (shutdown, told) = watch::channel(false);
        Self { task: tokio::spawn(certd.run(told)), shutdown }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.send(true)?;
        Ok(self.task.await?)
    }
}

/// A PEM file that lives as long as its folder.
pub(crate) fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}
