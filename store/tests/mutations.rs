//! One change, one transaction: every method that changes something leaves exactly one audit event, and
//! exactly the revisions that edges must hear of.

use model::acme::{Challenge, ChallengeKind, Token};
use model::tenant::Slug;
use store::{
    Access, AccountRecord, AppPatch, AuditVerdict, LocalCa, NewKey, NewOrder, NewTenant, OrderPatch,
    OrderState, Scope, Store, TenantPatch, Urgency,
};

use crate::bench::{Bench, DAY, HOUR, actor, host, live, new_app, proved, sealed};
use crate::on_both_engines;

/// Carries one change out and counts what it left.
struct Count<'a> {
    bench: &'a Bench,
}

impl Count<'_> {
    async fn of<T>(&self, what: &str, revisions: u64, change: impl Future<Output = store::Result<T>>) -> T {
        let (head, audited) = (self.bench.head().await.0, self.bench.audited().await);
        self.bench.tick();
        let made = change.await.unwrap();
        let left = (self.bench.head().await.0 - head, self.bench.audited().await - audited);
        assert_eq!(left, (revisions, 1), "{what}: revisions and audit events");
        made
    }
}

async fn every_change_leaves_one_event_and_its_revisions(bench: Bench) {
    let (store, by, all) = (&bench.store, &actor(), Access::Platform);
    let count = Count { bench: &bench };
    let new = NewTenant { name: "One".to_owned(), slug: Slug::parse("one").unwrap() };
    let tenant = count.of("create_tenant", 1, store.create_tenant(by, new)).await.id;
    count.of("update_tenant", 1, store.update_tenant(by, (all, tenant), TenantPatch::default(), None)).await;
    count.of("suspend_tenant", 1, store.suspend_tenant(by, tenant, "unpaid")).await;
    count.of("resume_tenant", 1, store.resume_tenant(by, tenant)).await;
    count.of("set_tenant_limits", 1, store.set_tenant_limits(by, tenant, None)).await;
    let app = count.of("create_app", 1, store.create_app(by, all, tenant, new_app("shop"))).await;
    count.of("update_app", 1, store.update_app(by, (all, app.id), AppPatch::default(), None)).await;
    let domain = count.of("add_domain", 1, store.add_domain(by, all, app.id, host("a.example.com"))).await;
    count.of("request_domain_check", 0, store.request_domain_check(by, all, domain.id)).await;
    let next = bench.now();
    let check = store.record_domain_check(domain.id, domain.version, proved(), next);
    let domain = count.of("record_domain_check: proved", 1, check).await;
    let facts = live(next.plus(DAY));
    let check = store.record_domain_check(domain.id, domain.version, facts, next);
    count.of("record_domain_check: live", 1, check).await;
    let new = bench.new_certificate(&app, &["a.example.com"]);
    count.of("insert_certificate", 1, store.insert_certificate(by, new)).await;
    let new = bench.new_certificate(&app, &["a.example.com"]);
    count.of("insert_certificate: supersedes", 2, store.insert_certificate(by, new)).await;
    count.of("delete_domain", 3, store.delete_domain(by, all, domain.id)).await;
    bench.clock.advance(DAY * 90);
    count.of("delete_app", 1, store.delete_app(by, all, app.id, None)).await;
    count.of("delete_tenant", 1, store.delete_tenant(by, all, tenant, None)).await;
    assert_eq!(store.verify_audit().await.unwrap(), AuditVerdict::Intact { events: 16 });
}

async fn every_change_of_the_platforms_own_leaves_one_event(bench: Bench) {
    let (store, by) = (&bench.store, &actor());
    let count = Count { bench: &bench };
    let new =
        NewKey { name: None, tenant: None, scope: Scope::Edge, lookup: "abc".to_owned(), hash: [1; 32] };
    count.of("begin_new_lineage", 1, store.begin_new_lineage(by)).await;
    let key = count.of("create_key", 0, store.create_key(by, Access::Platform, new)).await;
    count.of("delete_key", 0, store.delete_key(by, Access::Platform, key.id)).await;
    let account = AccountRecord {
        directory: "https://ca.test".to_owned(),
        account_url: None,
        key: sealed(),
        next_key: None,
    };
    count.of("begin_acme_account", 0, store.begin_acme_account(account.clone())).await;
    let (directory, key) = (account.directory.as_str(), &account.key);
    let set = store.set_account_url(directory, key, Some("https://ca.test/1"));
    count.of("set_account_url", 0, set).await;
    count.of("request_key_change", 0, store.request_key_change(by, directory)).await;
    let next = sealed();
    store.begin_key_change(directory, &next).await.unwrap().unwrap();
    count.of("abandon_key_change", 0, store.abandon_key_change(directory, &next)).await;
    store.request_key_change(by, directory).await.unwrap();
    store.begin_key_change(directory, &next).await.unwrap().unwrap();
    count.of("finish_key_change", 0, store.finish_key_change(directory, &next)).await;
    let authority = LocalCa { cert_pem: "pem".to_owned(), key: sealed() };
    count.of("put_local_ca", 0, store.put_local_ca(&authority)).await;
    let challenge = Challenge {
        kind: ChallengeKind::Http01,
        token: Token::parse("abc").unwrap(),
        host: host("a.example.com"),
        key_authorization: "abc.def".to_owned(),
        expires_at: bench.now().plus(HOUR),
    };
    count.of("put_challenge", 1, store.put_challenge(&challenge)).await;
    count.of("drop_challenge", 1, store.drop_challenge(&challenge.token)).await;
    order(&count, store).await;
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    bench.proved_domain(app.id, "a.example.com").await;
    let mut new = bench.new_certificate(&app, &["a.example.com"]);
    new.not_after = bench.now().plus(HOUR);
    store.insert_certificate(by, new).await.unwrap();
    bench.clock.advance(HOUR);
    count.of("expire_certificates", 1, store.expire_certificates()).await;
    assert!(matches!(store.verify_audit().await.unwrap(), AuditVerdict::Intact { .. }));
}

async fn order(count: &Count<'_>, store: &Store) {
    let names = vec!["a.example.com".parse().unwrap()];
    let new = NewOrder {
        host: host("a.example.com").into(),
        names,
        tenant: None,
        app: None,
        domain: None,
        urgency: Urgency::Waiting,
    };
    let order = count.of("begin_order", 0, store.begin_order(new)).await.unwrap();
    let order = store.lease_order(order.id, "me", HOUR).await.unwrap();
    let done = OrderPatch { state: Some(OrderState::Done), ..OrderPatch::default() };
    count.of("update_order: done", 0, store.update_order(order.id, order.fence, done)).await;
}

async fn no_secret_stands_in_an_event(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    bench.proved_domain(app.id, "a.example.com").await;
    let new = bench.new_certificate(&app, &["a.example.com"]);
    let key = new.key.to_string();
    bench.store.insert_certificate(&actor(), new).await.unwrap();
    let new =
        NewKey { name: None, tenant: None, scope: Scope::Edge, lookup: "abc".to_owned(), hash: [0xab; 32] };
    bench.store.create_key(&actor(), Access::Platform, new).await.unwrap();
    let events =
        bench.store.audit_events(Access::Platform, &Default::default(), &Default::default()).await.unwrap();
    let text = format!("{events:?}");
    assert!(!text.contains(&key) && !text.contains("abababab"));
}

on_both_engines! {
    every_change_leaves_one_event_and_its_revisions,
    every_change_of_the_platforms_own_leaves_one_event,
    no_secret_stands_in_an_event,
}
