//! One operation so many times, to be counted from outside: see `scripts/count-instructions`.
//!
//! A request is a whole one: TLS, pingora and all stages, over loopback, with the access log on a disk. The edge has a
//! thread for it, so visitor and app, which share another one, are not counted with it.

use std::hint::black_box;
use std::sync::Arc;

use feed::Sink as _;
use model::Host;
use model::backend::Backend;
use model::change::{Change, Object, Revision};
use model::clock::{Clock as _, SystemClock};
use model::id::{AppId, TenantId};
use model::limits::{Limits, MAX, Rate};
use model::site::{HeaderPolicy, HostOrigin, Site, SiteHost};
use model::tenant::{Slug, Standing, Tenant};
use model::usage::UsageRow;
use proxy::{AccessLog, Parts, Settings, SystemResolver, UsageSink};
use ratelimit::{Gcra, Limiter as _, Stopwatch};
use testkit::origin::Origin;
use testkit::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::sni;

/// The app that is asked.
const HOST: &str = "hello.apps.localhost";
/// More than any run asks for.
const ENOUGH: Rate = Rate { requests_per_minute: MAX, burst: MAX };
/// Certificates of the edge.
const CERTIFICATES: u32 = 1_000;

/// Runs an operation, the same work each time.
pub(crate) fn run(operation: &str, times: u32) {
    match operation {
        "host" => (0..times).for_each(|_| _ = black_box(model::host::normalise(black_box(HOST)))),
        "limit" => {
            let (clock, tenant) = (Stopwatch::start(), Gcra::default());
            (0..times).for_each(|_| _ = black_box(tenant.take(clock.now(), black_box(ENOUGH), 1)));
        }
        "sni" => {
            let edge = sni::Edge::new(&Settings::default());
            (0..CERTIFICATES).for_each(|number| edge.put(&format!("shop-{number}.example.com")));
            (0..times).for_each(|_| _ = black_box(edge.state.can_serve(black_box("shop-7.example.com"))));
        }
        "request" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(requests(times));
        }
        _ => eprintln!("`{operation}` is none of host, limit, sni, request"),
    }
}

async fn requests(times: u32) {
    let (origin, folder) =
        (Origin::start("one").await.expect("an app"), tempfile::tempdir().expect("a folder"));
    let settings = Settings {
        https: vec!["127.0.0.1:0".parse().expect("an address")],
        workers: 1,
        access_log: AccessLog::File(folder.path().join("access.log")),
        ..Settings::default()
    };
    let edge = sni::Edge::new(&settings);
    edge.put(HOST);
    fill(&edge, &origin);
    let parts = Parts {
        state: Arc::clone(&edge.state),
        usage: Arc::new(Nobody),
        resolver: Arc::new(SystemResolver),
        firewall: Arc::new(waf::NoRules),
    };
    let running = proxy::Edge::start(&settings, parts).expect("an edge");
    edge.state.set_ready();
    let visitor = Tls::trusting_anyone().offering(&["http/1.1"]);
    let mut stream = visitor.connect(running.https_addresses()[0], HOST).await.expect("a handshake");
    let request =
        format!("GET /bytes/1024 HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: count\r\nAccept: */*\r\n\r\n");
    let mut answer = Vec::with_capacity(4096);
    for _ in 0..times {
        answer.clear();
        stream.write_all(request.as_bytes()).await.expect("a connection");
        while !answer.ends_with(&[b'x'; 1024]) {
            assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0, "half an answer");
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "no success");
}

/// The app and whose it is.
fn fill(edge: &sni::Edge, origin: &Origin) {
    let now = SystemClock.now();
    let tenant = Tenant {
        id: TenantId::generate(now),
        slug: Slug::parse("acme-inc").expect("a slug"),
        standing: Standing::Active,
        limits: Limits { tenant: ENOUGH, visitor: ENOUGH },
    };
    let host = Host::parse(HOST).expect("a name");
    let site = Site {
        app: AppId::generate(now),
        tenant: tenant.id,
        name: Slug::parse("hello").expect("a slug"),
        hosts: vec![SiteHost { host: host.into(), origin: HostOrigin::Zone, client_ca: None }],
        backends: vec![Backend { url: origin.url().parse().expect("a URL"), weight: 1 }],
        headers: HeaderPolicy::default(),
        settings: model::site::Settings::default(),
    };
    for object in [Object::Tenant(tenant), Object::Site(Box::new(site))] {
        let change = Change { revision: Revision(1), id: object.id(), object: Some(object) };
        edge.state.apply(&change).expect("an object that can be served");
    }
}

/// Takes usage and forgets it.
struct Nobody;

impl UsageSink for Nobody {
    fn push(&self, _: Vec<UsageRow>) -> Result<(), String> {
        Ok(())
    }
}
