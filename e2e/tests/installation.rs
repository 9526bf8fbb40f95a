//! Installations that several stories begin with.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use testkit::api::text;
use testkit::dns::ChallTestSrv;
use testkit::edge::Edge;
use testkit::marketplace::{App, Domain, Tenant};
use testkit::origin::Origin;
use testkit::pebble::{Options, Pebble};
use testkit::ports::Port;
use testkit::stoa::{Builder, Ports, Role, Stoa};
use testkit::wait;

/// `stoa up` with one tenant that has one app before one origin, and that no limit hinders.
pub(crate) struct WithApp {
    pub(crate) stoa: Stoa,
    pub(crate) tenant: Tenant,
    pub(crate) app: App,
    pub(crate) origin: Origin,
}

impl WithApp {
    /// Starts it; the app is live.
    pub(crate) async fn start() -> Result<Self> {
        Self::over(Stoa::start().await?).await
    }

    /// Makes the tenant and its app in an installation that runs.
    pub(crate) async fn over(stoa: Stoa) -> Result<Self> {
        let edge = stoa.edge().clone();
        Self::visited(stoa, edge).await
    }

    /// As [`Self::over`], for visitors who reach it so.
    pub(crate) async fn visited(stoa: Stoa, edge: Edge) -> Result<Self> {
        let origin = Origin::start("one").await?;
        let tenant = Tenant::create(stoa.api()?, edge, "ann").await?;
        tenant.unlimited().await?;
        let app = tenant.app("shop", &[&origin]).await?;
        app.live().await?;
        Ok(Self { stoa, tenant, app, origin })
    }
}

/// A control plane and an edge, each a process of its own.
pub(crate) struct Apart {
    pub(crate) control: Stoa,
    pub(crate) edge: Stoa,
    /// The edge for visitors who trust the control plane's local authority.
    pub(crate) visited: Edge,
    /// The secret of the edge's key.
    pub(crate) secret: String,
}

impl Apart {
    /// Starts both, each with this configuration beside its own.
    pub(crate) async fn start(of_control: &str, of_edge: &str) -> Result<Self> {
        let control = Stoa::builder().role(Role::Control).config(of_control).start().await?;
        let key = control.api()?.post("/keys", json!({ "scope": "edge", "name": "test" })).await?.ok()?;
        let (url, secret) = (control.ports().api.address(), text(&key, "secret")?);
        let config =
            format!("{of_edge}[control]\nurl = \"http://{url}\"\nkey = {{ env = \"STOA_EDGE_KEY\" }}\n");
        let edge = Stoa::builder().role(Role::Edge).config(&config).environment("STOA_EDGE_KEY", &secret);
        let edge = edge.start().await?;
        let visited = edge.edge().trusting(control.data().join("ca.pem"));
        Ok(Self { control, edge, visited, secret })
    }

    pub(crate) async fn tenant(&self, name: &str) -> Result<Tenant> {
        Tenant::create(self.control.api()?, self.visited.clone(), name).await
    }
}

/// What surrounds an installation that gets its certificates by ACME.
pub(crate) struct Acme {
    pub(crate) dns: ChallTestSrv,
    pebble: Pebble,
    dir: TempDir,
}

impl Acme {
    /// Starts everything. Certificates are valid for so many seconds; none: for years.
    pub(crate) async fn start(validity_seconds: Option<u64>) -> Result<(Self, WithApp)> {
        Self::proved_by("http-01", validity_seconds).await
    }

    /// The same; names are proved by this kind of challenge, and the other way is closed.
    pub(crate) async fn proved_by(kind: &str, validity_seconds: Option<u64>) -> Result<(Self, WithApp)> {
        Self::configured(kind, validity_seconds, Stoa::builder(), "").await
    }

    /// The same, with this configuration at the end of its own.
    pub(crate) async fn configured(
        kind: &str,
        validity_seconds: Option<u64>,
        builder: Builder,
        rest: &str,
    ) -> Result<(Self, WithApp)> {
        let (dns, ports) = (ChallTestSrv::start().await?, Ports::lease()?);
        let (http_port, resolver) = (ports.http.number(), Some(dns.resolver()));
        let closed = Port::lease()?.number();
        let (http_port, tls_port) = match kind {
            "tls-alpn-01" => (closed, Some(ports.https.number())),
            _ => (http_port, None),
        };
        let options = Options { http_port, tls_port, resolver, validity_seconds, ..Options::default() };
        let pebble = Pebble::start(options).await?;
        let config = acme_config(&pebble.directory_url, &pebble.ca_file, &dns);
        let config = config.replace("[acme]\n", &format!("[acme]\nchallenge = {kind:?}\n"));
        let stoa = builder.ports(ports).config(&format!("{config}{rest}")).start().await?;
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("roots.pem"), pebble.roots_pem().await?)?;
        Ok((Self { dns, pebble, dir }, WithApp::over(stoa).await?))
    }

    /// The authority's directory.
    pub(crate) fn directory(&self) -> &str {
        &self.pebble.directory_url
    }

    /// The trust anchor of the directory's own certificate, a PEM file.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.pebble.ca_file
    }

    /// The roots of its certificates, a PEM file.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.path().join("roots.pem")
    }

    /// The edge for visitors who trust the authority.
    pub(crate) fn edge(&self, stoa: &Stoa) -> Edge {
        stoa.edge().trusting(self.roots())
    }
}

/// The configuration of an ACME authority and a resolver.
pub(crate) fn acme_config(directory: &str, ca_file: &Path, dns: &ChallTestSrv) -> String {
    format!(
        "[acme]\ndirectory = {directory:?}\nca_file = {ca_file:?}\ncontact = \"mailto:ops@example.com\"\n\
         [dns]\nresolvers = [\"{}\"]\n",
        dns.resolver()
    )
}

/// Creates the record that the domain's next action asks for, and the address behind it.
pub(crate) async fn connect(dns: &ChallTestSrv, domain: &Domain) -> Result<()> {
    let asked = domain.until("needs_dns", wait::LONG).await?;
    let record = &asked["next_action"]["record"];
    ensure!(record["type"] == "CNAME" && record["name"] == domain.hostname.as_str(), "{asked}");
    let target = record["value"].as_str().unwrap_or_default();
    dns.add_a(target, [127, 0, 0, 1].into()).await?;
    dns.set_cname(&domain.hostname, target).await
}
