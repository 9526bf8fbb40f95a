use std::time::Duration;

use model::Timestamp;
use model::change::Revision;
use model::clock::ManualClock;
use model::id::DomainId;
use model::limits::Limits;
use model::tenant::{Slug, Standing};

use super::*;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000)
}

pub(crate) fn state() -> Arc<State> {
    let settings = Settings { visitor_table_bytes: 1 << 16, ..Settings::default() };
    let _ = aws_lc_rs::default_provider().install_default();
    State::new(&settings, SealingKey::generate(), Arc::new(ManualClock::at(now()))).unwrap()
}

pub(crate) fn tenant() -> Tenant {
    Tenant {
        id: TenantId::generate(now()),
        slug: Slug::parse("acme-inc").unwrap(),
        standing: Standing::Active,
        limits: Limits::default(),
    }
}

pub(crate) fn site(tenant: TenantId, hosts: &[&str]) -> Site {
    let host =
        |name: &&str| SiteHost { host: name.parse().unwrap(), origin: HostOrigin::Zone, client_ca: None };
    Site {
        app: AppId::generate(now()),
        tenant,
        name: Slug::parse("hello").unwrap(),
        hosts: hosts.iter().map(host).collect(),
        backends: Vec::new(),
        headers: model::site::HeaderPolicy::default(),
        settings: model::site::Settings::default(),
    }
}

pub(crate) fn put(state: &State, object: Object) {
    state.apply(&Change { revision: Revision(1), id: object.id(), object: Some(object) }).unwrap();
}

fn put_site(state: &State, site: &Site) {
    put(state, Object::Site(Box::new(site.clone())));
}

fn remove(state: &State, id: ObjectId) {
    state.apply(&Change { revision: Revision(2), id, object: None }).unwrap();
}

fn app_at(state: &State, host: &str) -> Option<AppId> {
    state.route(host).map(|route| route.site.site.app)
}

#[test]
fn a_replaced_site_answers_at_its_new_hosts_only() {
    let (state, tenant) = (state(), tenant());
    let mut one = site(tenant.id, &["a.test", "b.test"]);
    put_site(&state, &one);
    one.hosts.remove(0);
    put_site(&state, &one);
    assert_eq!((app_at(&state, "a.test"), app_at(&state, "b.test")), (None, Some(one.app)));
}

#[test]
fn a_host_that_moved_to_another_app_stays_there_when_the_first_lets_go() {
    let (state, tenant) = (state(), tenant());
    let mut first = site(tenant.id, &["a.test"]);
    let second = site(tenant.id, &["a.test"]);
    put_site(&state, &first);
    put_site(&state, &second);
    first.hosts.clear();
    put_site(&state, &first);
    assert_eq!(app_at(&state, "a.test"), Some(second.app));
    remove(&state, ObjectId::Site(first.app));
    assert_eq!(app_at(&state, "a.test"), Some(second.app));
    remove(&state, ObjectId::Site(second.app));
    assert_eq!((app_at(&state, "a.test"), state.sites()), (None, 0));
}

#[test]
fn a_wildcard_answers_at_every_name_one_label_below_that_has_no_site_of_its_own() {
    let (state, tenant) = (state(), tenant());
    let mut many = site(tenant.id, &["*.shop.test"]);
    let one = site(TenantId::generate(now()), &["blog.shop.test"]);
    put_site(&state, &many);
    put_site(&state, &one);
    assert_eq!(app_at(&state, "any.shop.test"), Some(many.app));
    assert_eq!(app_at(&state, "blog.shop.test"), Some(one.app), "an exact name goes first");
    for name in ["shop.test", "x.any.shop.test", "shop", ""] {
        assert_eq!(app_at(&state, name), None, "{name}");
    }
    assert!(state.knows("any.shop.test") && !state.knows("shop.test"));
    remove(&state, ObjectId::Site(one.app));
    assert_eq!(app_at(&state, "blog.shop.test"), Some(many.app));
    many.hosts.clear();
    put_site(&state, &many);
    assert_eq!(app_at(&state, "any.shop.test"), None);
}

#[test]
fn a_creators_wildcard_certificate_is_never_served_for_a_name_that_another_one_has() {
    let (key, tenant) = (SealingKey::generate(), tenant());
    let settings = Settings { visitor_table_bytes: 1 << 16, ..Settings::default() };
    let _ = aws_lc_rs::default_provider().install_default();
    let state = State::new(&settings, key.clone(), Arc::new(ManualClock::at(now()))).unwrap();
    let issued = rcgen::generate_simple_self_signed(["*.shop.test".to_owned()]).unwrap();
    let id = model::id::CertificateId::generate(now());
    let der = issued.signing_key.serialize_der();
    let certificate = |owner| model::certificate::Certificate {
        id,
        tenant: owner,
        source: None,
        authority: None,
        names: vec!["*.shop.test".parse().unwrap()],
        chain_pem: issued.cert.pem(),
        key: key.seal(&model::certificate::Certificate::key_context(id), &der).unwrap(),
        not_before: now(),
        not_after: now().plus(Duration::from_secs(86_400)),
    };
    put(&state, Object::Certificate(certificate(Some(tenant.id))));
    put_site(&state, &site(tenant.id, &["*.shop.test"]));
    put_site(&state, &site(tenant.id, &["own.shop.test"]));
    put_site(&state, &site(TenantId::generate(now()), &["blog.shop.test"]));
    assert!(state.can_serve("any.shop.test") && state.can_serve("own.shop.test"));
    assert!(!state.can_serve("blog.shop.test"), "its owner shares a certificate with nobody");
    put(&state, Object::Certificate(certificate(None)));
    assert!(state.can_serve("blog.shop.test"), "the marketplace's own is everybody's");
}

#[test]
fn a_tenants_entry_outlives_its_sites_versions_and_its_own_absence() {
    let (state, tenant) = (state(), tenant());
    let one = site(tenant.id, &["a.test"]);
    put_site(&state, &one);
    let entry = Arc::clone(&state.route("a.test").unwrap().site.tenant);
    assert!(entry.tenant.load().is_none());
    put(&state, Object::Tenant(tenant.clone()));
    remove(&state, ObjectId::Tenant(tenant.id));
    assert!(entry.tenant.load().is_none());
    put_site(&state, &one);
    put(&state, Object::Tenant(tenant));
    assert!(Arc::ptr_eq(&entry, &state.route("a.test").unwrap().site.tenant));
    assert!(entry.tenant.load().is_some());
}

#[test]
fn the_end_of_a_reset_forgets_what_it_did_not_name_and_makes_ready() {
    let (state, tenant) = (state(), tenant());
    let (kept, gone) = (site(tenant.id, &["a.test"]), site(tenant.id, &["b.test"]));
    put(&state, Object::Tenant(tenant.clone()));
    put_site(&state, &kept);
    put_site(&state, &gone);
    assert!(!state.is_ready());
    state.retain(&BTreeSet::from([ObjectId::Tenant(tenant.id), ObjectId::Site(kept.app)]));
    assert!(state.is_ready());
    assert_eq!((app_at(&state, "a.test"), app_at(&state, "b.test")), (Some(kept.app), None));
}

#[test]
fn a_challenge_is_forgotten_when_it_expires() {
    let settings = Settings { visitor_table_bytes: 1 << 16, ..Settings::default() };
    let clock = Arc::new(ManualClock::at(now()));
    let state =
        State::new(&settings, SealingKey::generate(), Arc::<ManualClock>::clone(&clock) as _).unwrap();
    let challenge = Challenge {
        kind: ChallengeKind::Http01,
        token: Token::parse("token").unwrap(),
        host: Host::parse("a.test").unwrap(),
        key_authorization: "token.print".to_owned(),
        expires_at: now().plus(Duration::from_secs(60)),
    };
    put(&state, Object::Challenge(challenge));
    state.drop_expired_challenges();
    assert!(state.challenge("token").is_some());
    clock.advance(Duration::from_secs(61));
    state.drop_expired_challenges();
    assert!(state.challenge("token").is_none());
}

#[test]
fn hsts_is_for_live_names_that_are_not_for_development() {
    let of = |name: &str, origin| hsts(&SiteHost { host: name.parse().unwrap(), origin, client_ca: None });
    let domain = |live| HostOrigin::Domain { id: DomainId::generate(now()), live };
    assert_eq!(of("a.apps.example.com", HostOrigin::Zone), Hsts::Zone);
    assert_eq!(of("a.apps.localhost", HostOrigin::Zone), Hsts::Off);
    assert_eq!(of("shop.example.com", domain(true)), Hsts::Domain);
    assert_eq!(of("shop.example.com", domain(false)), Hsts::Off);
    assert_eq!(of("shop.test", domain(true)), Hsts::Off);
}

#[test]
fn the_revision_follows_a_lineage_that_begins_anew() {
    let (state, tenant) = (state(), tenant());
    let change = |revision| Change {
        revision: Revision(revision),
        id: ObjectId::Tenant(tenant.id),
        object: Some(Object::Tenant(tenant.clone())),
    };
    for revision in [7_000, 3] {
        state.apply(&change(revision)).unwrap();
        assert_eq!(state.readings().feed_revision, revision);
    }
    state.retain(&BTreeSet::from([ObjectId::Tenant(tenant.id)]));
    assert_eq!(state.readings().feed_revision, 3);
    state.retain(&BTreeSet::new());
    assert_eq!(state.readings().feed_revision, 0);
}
