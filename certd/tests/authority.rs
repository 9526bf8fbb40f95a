//! An authority that does what a test says: good days, refused nonces, and each kind of bad day, after which
//! nothing bad is served and the certificate comes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use certd::dns::{Kind, Lookup, LookupError, Value};
use certd::{Acme, Certd, Settings};
use futures_util::StreamExt as _;
use futures_util::stream;
use model::clock::{Clock, ManualClock};
use model::domain::DomainStatus;
use model::seal::SealingKey;
use model::{Host, HostPattern, Timestamp};
use store::{DomainRecord, NewOrder, Order, OrderState, Urgency};
use testkit::ca::{self, Ca, CaaRecord, CaaRecords, Fault, Kind as Asked, Rule, Validation, Wait};
use testkit::tls::Tls;
use testkit::wait::until;

use crate::edge::Edge;
use crate::rig::{BOUND, Installation, Running};

/// Orders that are worked off while every third nonce is refused, by so many installations at a time: one in
/// five would fail if nonces were tried only three times, as the library does.
const ORDERS_EACH: usize = 50;
const INSTALLATIONS: u64 = 4;
/// Bad days that are lived through at a time.
const AT_A_TIME: usize = 7;
const HOST: &str = "shop.example.com";

/// Domains that are connected by their CNAME.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records {
    aliases: Arc<Mutex<HashMap<String, String>>>,
    permissions: Arc<Mutex<HashMap<String, Vec<Value>>>>,
    texts: Arc<Mutex<HashMap<String, String>>>,
}

impl Records {
    pub(crate) fn connect(&self, domain: &DomainRecord) {
        let (name, target) = (domain.host.to_string(), domain.target.cname.to_string());
        self.aliases.lock().unwrap().insert(name, target);
    }

    /// Takes the record away again.
    pub(crate) fn disconnect(&self, domain: &DomainRecord) {
        self.aliases.lock().unwrap().remove(&domain.host.to_string());
    }

    /// Sets the TXT record of a name.
    pub(crate) fn write(&self, name: &str, text: &str) {
        self.texts.lock().unwrap().insert(name.to_owned(), text.to_owned());
    }

    /// The TXT record of a name.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.texts.lock().unwrap().get(name).cloned()
    }

    /// Adds a CAA record to a name.
    pub(crate) fn permit(&self, name: &str, tag: &str, value: &str) {
        let record = Value::Permission { critical: false, tag: tag.to_owned(), value: value.to_owned() };
        self.permissions.lock().unwrap().entry(name.to_owned()).or_default().push(record);
    }
}

#[async_trait]
impl Lookup for Records {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        if kind == Kind::Caa {
            return Ok(self.permissions.lock().unwrap().get(name).cloned().unwrap_or_default());
        }
        if kind == Kind::Txt {
            return Ok(self.text(name).map(Value::Text).into_iter().collect());
        }
        let aliases = self.aliases.lock().unwrap();
        let all = name.split_once('.').map(|(_, parent)| format!("*.{parent}")).unwrap_or_default();
        let target = aliases.get(name).or_else(|| aliases.get(&all)).cloned().filter(|_| kind == Kind::Cname);
        Ok(target.map(Value::Alias).into_iter().collect())
    }
}

/// An authority and an installation that see the same clock.
pub(crate) struct Scene {
    pub(crate) ca: Ca,
    pub(crate) installation: Installation,
    pub(crate) records: Records,
    pub(crate) settings: Settings,
    pub(crate) certd: Running,
}

impl Scene {
    async fn start(options: ca::Options) -> Self {
        Self::with(options, |acme| acme).await
    }

    /// With what an operator says of the authority changed.
    pub(crate) async fn with(options: ca::Options, change: impl FnOnce(Acme) -> Acme) -> Self {
        Self::build(options, None, &SealingKey::generate(), change).await
    }

    async fn with_edge(options: ca::Options, edge: Option<&Edge>, sealing: &SealingKey) -> Self {
        Self::build(options, edge, sealing, |acme| acme).await
    }

    async fn build(
        options: ca::Options,
        edge: Option<&Edge>,
        sealing: &SealingKey,
        change: impl FnOnce(Acme) -> Acme,
    ) -> Self {
        testkit::tls::install_provider();
        let clock = Arc::clone(&options.clock);
        let ca = Ca::start(options).await.unwrap();
        let installation = Installation::at("apps.localhost", sealing, clock).await;
        let settings = Settings {
            acme: Some(change(Acme {
                ca_file: Some(ca.ca_file.clone()),
                contact: Some("mailto:ops@example.com".to_owned()),
                ..Acme::at(&ca.directory_url)
            })),
            probe: edge.map(|edge| edge.https),
            orders_per_second: 1000,
            // Without an edge nobody is to be waited for.
            edge_wait: if edge.is_some() { BOUND } else { Duration::ZERO },
            ..Settings::default()
        };
        if let Some(edge) = edge {
            edge.follow(&installation.store);
        }
        let (store, records) = (installation.store.clone(), Records::default());
        let lookup = Arc::new(records.clone());
        let certd = Certd::start_with(settings.clone(), store, sealing.clone(), lookup).await.unwrap();
        Self { ca, installation, records, settings, certd: Running::new(certd) }
    }

    /// One process more at the same store.
    pub(crate) async fn another(&self) -> Running {
        let (store, lookup) = (self.installation.store.clone(), Arc::new(self.records.clone()));
        let sealing = self.installation.sealing.clone();
        Running::new(Certd::start_with(self.settings.clone(), store, sealing, lookup).await.unwrap())
    }

    /// Begins an order of the marketplace itself, which needs no domain.
    pub(crate) async fn order(&self, host: &str) -> Order {
        let host = Host::parse(host).unwrap();
        let names = vec![HostPattern::Exact(host.clone())];
        let order = NewOrder {
            host: host.into(),
            names,
            tenant: None,
            app: None,
            domain: None,
            urgency: Urgency::Waiting,
        };
        self.installation.store.begin_order(order).await.unwrap().unwrap()
    }

    pub(crate) async fn until(&self, order: &Order, what: &str, is_so: impl Fn(&Order) -> bool) -> Order {
        let reached = until(what, BOUND, async || {
            let order = self.installation.store.order(order.id).await?;
            ensure!(is_so(&order), "{order:?}");
            Ok(order)
        });
        reached.await.unwrap()
    }

    pub(crate) async fn until_done(&self, order: &Order) -> Order {
        self.until(order, "the order to be done", |order| order.state == OrderState::Done).await
    }

    async fn until_failed(&self, order: &Order) -> Order {
        self.until(order, "the order to fail", |order| order.attempts > 0).await
    }

    /// Serial number of the certificate that is served for [`HOST`].
    async fn serial(&self) -> Option<String> {
        let host = Host::parse(HOST).unwrap();
        let held = self.installation.store.active_certificate_for(&host).await.unwrap();
        held.map(|held| held.serial)
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

/// A clock that stands, and an authority that goes by it.
pub(crate) fn standing() -> (Arc<ManualClock>, ca::Options) {
    let clock = Arc::new(ManualClock::at(now()));
    let options = ca::Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..ca::Options::default() };
    (clock, options)
}

#[tokio::test]
async fn a_domain_is_proved_over_http_and_served() {
    testkit::tls::install_provider();
    let sealing = SealingKey::generate();
    let edge = Edge::start(&sealing).await.unwrap();
    let validation = Validation::Http { port: edge.http.port() };
    let options = ca::Options { validation, ..ca::Options::default() };
    let scene = Scene::with_edge(options, Some(&edge), &sealing).await;
    let domain = scene.installation.add_domain(HOST).await;
    scene.records.connect(&domain);
    scene.installation.until_status(&domain, DomainStatus::Live).await;
    let client = Tls::trusting(&scene.ca.root_pem()).unwrap();
    let shown = client.handshake(edge.https, HOST).await.unwrap();
    assert_eq!(shown.names().unwrap(), [HOST]);
    let counts = scene.ca.counts();
    assert_eq!((counts.orders, counts.finalized, counts.failed_checks), (1, 1, 0));
    assert_eq!(counts.of(Asked::Directory), 1, "it is believed for a while");
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn no_order_fails_while_every_third_nonce_is_refused() {
    let scenes = (0..INSTALLATIONS).map(work_off_under_bad_nonces);
    futures_util::future::join_all(scenes).await;
}

async fn work_off_under_bad_nonces(seed: u64) {
    let (_, options) = standing();
    let scene = Scene::start(ca::Options { seed, ..options }).await;
    scene.ca.script(Rule::share(0.3, Fault::BadNonce));
    let mut orders = Vec::new();
    for at in 0..ORDERS_EACH {
        orders.push(scene.order(&format!("{at}.example.com")).await);
    }
    for order in &orders {
        assert_eq!(scene.until_done(order).await.attempts, 0);
    }
    let counts = scene.ca.counts();
    assert_eq!(counts.finalized, u64::try_from(ORDERS_EACH).unwrap());
    assert!(counts.faults > counts.finalized, "{counts:?}");
    scene.certd.stop().await.unwrap();
}

/// A bad day: what goes wrong, with which requests, and how the error that people read begins.
type Day = (Fault, Asked, &'static str);

const AWAY: &str = "the certificate authority is not available: ";
const ASKS: &str = "the certificate authority asks to wait: ";
const UNUSABLE: &str = "the certificate authority's certificate cannot be used: ";

const DAYS: [Day; 14] = [
    (Fault::Unavailable(None), Asked::NewNonce, AWAY),
    (Fault::Unavailable(None), Asked::NewOrder, AWAY),
    (Fault::Unavailable(Some(Wait::Seconds(600))), Asked::Finalize, AWAY),
    (Fault::Unavailable(None), Asked::Certificate, AWAY),
    (Fault::Limited(None), Asked::NewOrder, ASKS),
    (Fault::BadNonce, Asked::NewOrder, AWAY),
    (Fault::Close, Asked::Authorization, AWAY),
    (Fault::LoseAnswer, Asked::NewOrder, AWAY),
    (Fault::LoseAnswer, Asked::Finalize, AWAY),
    (Fault::Truncated, Asked::Certificate, UNUSABLE),
    (Fault::WrongKey, Asked::Certificate, UNUSABLE),
    (Fault::WrongName, Asked::Certificate, UNUSABLE),
    (Fault::Expired, Asked::Certificate, UNUSABLE),
    (Fault::Oversized, Asked::Certificate, UNUSABLE),
];

#[tokio::test]
async fn after_each_bad_day_the_certificate_comes_and_nothing_bad_was_served() {
    stream::iter(DAYS).map(live_through).buffer_unordered(AT_A_TIME).collect::<Vec<()>>().await;
}

/// It says where things are, and seldom anything new.
#[tokio::test]
async fn a_directory_that_is_away_holds_nothing_up_for_as_long_as_it_is_believed() {
    let (clock, options) = standing();
    let scene = Scene::start(options).await;
    scene.until_done(&scene.order(HOST).await).await;
    let first = scene.serial().await;
    clock.advance(Duration::from_secs(1));
    scene.ca.script(Rule::always(Fault::Unavailable(None)).on(Asked::Directory));
    scene.until_done(&scene.order(HOST).await).await;
    let second = scene.serial().await;
    assert_ne!(second, first);

    clock.advance(Duration::from_secs(24 * 3600));
    let failed = scene.until_failed(&scene.order(HOST).await).await;
    assert!(failed.error.as_deref().unwrap_or_default().starts_with(AWAY), "{:?}", failed.error);
    assert_eq!((failed.state, scene.serial().await), (OrderState::Open, second.clone()));
    scene.ca.clear_faults();
    clock.advance(failed.next_at.since(clock.now()));
    scene.until_done(&failed).await;
    assert_ne!(scene.serial().await, second);
    scene.certd.stop().await.unwrap();
}

async fn live_through((fault, asked, reason): Day) {
    let (clock, options) = standing();
    let scene = Scene::start(options).await;
    scene.until_done(&scene.order(HOST).await).await;
    let good = scene.serial().await;
    // Of two certificates the one that was begun later is served, to the millisecond.
    clock.advance(Duration::from_secs(1));

    scene.ca.script(Rule::always(fault).on(asked));
    let failed = scene.until_failed(&scene.order(HOST).await).await;
    let error = failed.error.as_deref().unwrap_or_default();
    assert!(error.starts_with(reason), "{fault:?} on {asked:?}: {error}");
    assert_eq!(failed.state, OrderState::Open, "{fault:?} on {asked:?}");
    assert_eq!(scene.serial().await, good, "{fault:?} on {asked:?}");

    scene.ca.clear_faults();
    clock.advance(failed.next_at.since(clock.now()));
    scene.until_done(&failed).await;
    assert_ne!(scene.serial().await, good, "{fault:?} on {asked:?}");
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn why_a_check_failed_is_told_though_only_the_challenge_says_it() {
    let (_, options) = standing();
    let forbids = |_: &str| Ok(vec![CaaRecord::new("issue", "other.test")]);
    let scene = Scene::start(ca::Options { caa: Some(CaaRecords::by(forbids)), ..options.clone() }).await;
    let failed = scene.until_failed(&scene.order(HOST).await).await;
    let could_not = format!("the certificate authority could not check `{HOST}`: ");
    let forbidden = "CAA record for shop.example.com prevents issuance (caa)";
    assert_eq!(failed.error, Some(format!("{could_not}{forbidden}")));
    scene.certd.stop().await.unwrap();

    let validation = Validation::Failing { names: [HOST.to_owned()].into() };
    let scene = Scene::start(ca::Options { validation, ..options }).await;
    let failed = scene.until_failed(&scene.order(HOST).await).await;
    let lost = "DNS problem: NXDOMAIN looking up A for shop.example.com (dns)";
    assert_eq!(failed.error, Some(format!("{could_not}{lost}")));
    // The order fell with its check: the next attempt must open another.
    assert_eq!((failed.state, failed.order_url), (OrderState::Open, None));
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_that_is_processed_for_long_is_waited_for() {
    let (_, options) = standing();
    let scene = Scene::start(options).await;
    scene.ca.script(Rule::next(1, Fault::Processing));
    let order = scene.order(HOST).await;
    until("the order to be looked at again and again", BOUND, async || {
        let counts = scene.ca.counts();
        ensure!(counts.of(Asked::Finalize) == 1 && counts.of(Asked::Order) > 2, "{counts:?}");
        Ok(())
    })
    .await
    .unwrap();
    scene.ca.finish_orders();
    let done = scene.until_done(&order).await;
    assert_eq!((done.attempts, scene.ca.counts().finalized), (0, 1));
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_authority_that_hangs_does_not_hold_up_the_end_and_the_order_is_gone_on_with() {
    let (_, options) = standing();
    let scene = Scene::start(options).await;
    scene.ca.script(Rule::always(Fault::Hang).on(Asked::Finalize));
    let order = scene.order(HOST).await;
    until("the authority to hang", BOUND, async || {
        ensure!(scene.ca.counts().faults == 1);
        Ok(())
    })
    .await
    .unwrap();
    scene.certd.stop().await.unwrap();
    let left = scene.installation.store.order(order.id).await.unwrap();
    assert_eq!((left.state, left.attempts), (OrderState::Open, 0));
    assert!(left.order_url.is_some() && left.key.is_some(), "{left:?}");
    assert_eq!(scene.installation.store.due_orders(now(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_limited_is_tried_again_when_the_authority_says() {
    let wait = Duration::from_secs(5000);
    let waits = [Wait::Seconds(wait.as_secs()), Wait::Date(wait)];
    let asked = [Asked::NewOrder, Asked::Finalize, Asked::Certificate];
    let cases = waits.into_iter().flat_map(|said| asked.map(|asked| come_back((said, wait), asked)));
    futures_util::future::join_all(cases).await;
}

async fn come_back((said, wait): (Wait, Duration), asked: Asked) {
    let (clock, options) = standing();
    let scene = Scene::start(options).await;
    scene.ca.script(Rule::always(Fault::Limited(Some(said))).on(asked));
    let failed = scene.until_failed(&scene.order(HOST).await).await;
    let after = failed.next_at.since(now());
    assert!((wait..=wait * 11 / 10).contains(&after), "{said:?} on {asked:?}: {after:?}");

    scene.ca.clear_faults();
    clock.advance(after);
    scene.until_done(&failed).await;
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_limit_of_lets_encrypt_is_read_with_its_reason_and_its_time() {
    let (clock, options) = standing();
    let limits = ca::Limits::lets_encrypt();
    let scene = Scene::start(ca::Options { limits, ..options }).await;
    for _ in 0..5 {
        scene.until_done(&scene.order(HOST).await).await;
    }
    let failed = scene.until_failed(&scene.order(HOST).await).await;
    let error = failed.error.clone().context("a reason").unwrap();
    assert!(error.contains("too many certificates (5) already issued for this exact set"), "{error}");
    let (after, week) = (failed.next_at.since(now()), Duration::from_secs(7 * 24 * 3600));
    assert!((week / 5..=week * 11 / 50).contains(&after), "{after:?}");
    clock.advance(after);
    scene.until_done(&failed).await;
    scene.certd.stop().await.unwrap();
}
