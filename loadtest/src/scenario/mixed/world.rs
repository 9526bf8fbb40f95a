//! Everything that runs: Stoa with the tenants in its replica, nginx and HAProxy with maps of them, a backend, and
//! a port on which nothing listens.

use std::time::Duration;

use anyhow::Context as _;
use model::certificate::Certificate;
use model::change::Object;
use model::clock::{Clock as _, SystemClock};
use model::id::{AppId, CertificateId, TenantId};
use model::limits::{self, Limits, Rate};
use model::site::{HeaderPolicy, HostOrigin, Settings, Site, SiteHost};
use model::tenant::{Slug, Standing, Tenant};
use model::{Host, HostPattern, Timestamp};
use tempfile::TempDir;

use super::traffic::Tenants;
use crate::edge::{self, Edge};
use crate::figure::Report;
use crate::machine;
use crate::peer::{Goes, Nginx, Pair, Peer, Plan, Route};
use crate::process;
use crate::scenario::market;
use crate::stoa::ZONE;

/// Which core the proxies have; backend and generator have the last one.
const PROXY_CORE: usize = 0;

/// Everything that runs.
pub(super) struct World {
    /// Which core generator and backend have.
    pub(super) core: usize,
    /// Those that are measured, Stoa first.
    pub(super) contenders: Vec<Contender>,
    /// What answers behind them.
    pub(super) backend: Nginx,
    _stoa: Edge,
    _peers: Vec<Peer>,
    _folder: TempDir,
}

/// One that is measured.
#[derive(Debug)]
pub(super) struct Contender {
    /// What the report calls it.
    pub(super) name: &'static str,
    /// Where it speaks TLS, on 127.0.0.1.
    pub(super) port: u16,
    /// It, or its master process.
    pub(super) pid: u32,
}

impl World {
    /// Starts all. None if what they all need is not there, which `report` then says.
    ///
    /// # Errors
    /// One of them does not start.
    pub(super) async fn open(tenants: &Tenants, report: &mut Report) -> anyhow::Result<Option<Self>> {
        if machine::program("nginx").is_none() {
            report.skip("all", "nginx, which is the backend too, is not installed (Debian: nginx-light)");
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let core = machine::cores().saturating_sub(1);
        machine::stay_on(core)?;
        let backend = Nginx::backend(folder.path(), core).await?;
        let closed = process::free_port()?;
        let pair = Pair::make_for(folder.path(), &format!("*.{ZONE}"))?;
        let objects = objects(tenants, &pair, [backend.port, closed])?;
        let replica = edge::replica(folder.path());
        market::replicate(&replica, &edge::sealing_key()?, &objects.iter().collect::<Vec<_>>())?;
        let stoa = Edge::start(folder.path(), PROXY_CORE).await?;
        let goes = |serves| if serves { Goes::ToBackend } else { Goes::ToPort(closed) };
        let routes: Vec<Route> =
            tenants.hosts().map(|(host, serves)| Route { host, goes: goes(serves) }).collect();
        let plan = Plan {
            folder: folder.path(),
            core: PROXY_CORE,
            backend: backend.port,
            pair: &pair,
            routes: &routes,
        };
        let peers = Peer::with_maps(&plan, report).await?;
        let ours = Contender { name: "stoa", port: stoa.https, pid: stoa.process.id() };
        let theirs =
            peers.iter().map(|peer| Contender { name: peer.name, port: peer.port, pid: peer.process.id() });
        let contenders = std::iter::once(ours).chain(theirs).collect();
        Ok(Some(Self { core, contenders, backend, _stoa: stoa, _peers: peers, _folder: folder }))
    }
}

/// Tenants with an app each and the certificate of all, as an edge's feed tells them. The ports are those of the
/// backend that serves and of the one that refuses.
fn objects(tenants: &Tenants, pair: &Pair, [serving, refusing]: [u16; 2]) -> anyhow::Result<Vec<Object>> {
    let now = SystemClock.now();
    let mut objects = vec![certificate(pair, now)?];
    for (number, (host, serves)) in tenants.hosts().enumerate() {
        let slug = Slug::parse(&format!("tenant-{number}")).context("a slug")?;
        let tenant = tenant(slug.clone(), now);
        let port = if serves { serving } else { refusing };
        let backend = model::backend::Backend { url: format!("http://127.0.0.1:{port}").parse()?, weight: 1 };
        let site = Site {
            app: AppId::generate(now),
            tenant: tenant.id,
            name: slug,
            hosts: vec![SiteHost { host: host.parse()?, origin: HostOrigin::Zone, client_ca: None }],
            backends: vec![backend],
            headers: HeaderPolicy::default(),
            settings: Settings::default(),
        };
        objects.extend([Object::Tenant(tenant), Object::Site(Box::new(site))]);
    }
    Ok(objects)
}

/// All visitors come from one address here, so that no limit may be in their way.
fn tenant(slug: Slug, now: Timestamp) -> Tenant {
    let wide = Rate { requests_per_minute: limits::MAX, burst: limits::MAX };
    let limits = Limits { tenant: wide, visitor: wide };
    Tenant { id: TenantId::generate(now), slug, standing: Standing::Active, limits }
}

fn certificate(pair: &Pair, now: Timestamp) -> anyhow::Result<Object> {
    let id = CertificateId::generate(now);
    Ok(Object::Certificate(Certificate {
        id,
        tenant: None,
        source: None,
        authority: None,
        names: vec![HostPattern::Wildcard(Host::parse(ZONE)?)],
        chain_pem: pair.chain_pem()?,
        key: edge::sealing_key()?.seal(&Certificate::key_context(id), pair.key_der()?.secret_pkcs8_der())?,
        not_before: now.minus(Duration::from_secs(3600)),
        not_after: now.plus(Duration::from_secs(90 * 86_400)),
    }))
}
