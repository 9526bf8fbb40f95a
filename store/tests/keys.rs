//! API keys: who may make, see and use them.

use std::time::Duration;

use model::id::TenantId;
use store::{Access, Key, NewKey, Page, Scope, StoreError};

use crate::bench::{Bench, actor};
use crate::on_both_engines;

fn new_key(scope: Scope, tenant: Option<TenantId>, lookup: &str) -> NewKey {
    NewKey { name: None, tenant, scope, lookup: lookup.to_owned(), hash: [7; 32] }
}

async fn made(bench: &Bench, new: NewKey) -> Key {
    bench.tick();
    bench.store.create_key(&actor(), Access::Platform, new).await.unwrap()
}

async fn a_key_opens_with_its_secret_until_it_is_deleted(bench: Bench) {
    let key = made(&bench, new_key(Scope::Platform, None, "abcd1234")).await;
    let found = bench.store.authenticate("abcd1234", &[7; 32]).await.unwrap().unwrap();
    assert_eq!((found.id, found.scope), (key.id, Scope::Platform));
    assert_eq!(bench.store.authenticate("abcd1234", &[8; 32]).await.unwrap(), None);
    assert_eq!(bench.store.authenticate("' OR 1=1", &[7; 32]).await.unwrap(), None);
    bench.store.delete_key(&actor(), Access::Platform, key.id).await.unwrap();
    assert_eq!(bench.store.authenticate("abcd1234", &[7; 32]).await.unwrap(), None);
}

async fn use_is_written_down_once_a_minute(bench: Bench) {
    made(&bench, new_key(Scope::Edge, None, "abcd1234")).await;
    let used = async || bench.store.authenticate("abcd1234", &[7; 32]).await.unwrap().unwrap().last_used_at;
    let first = bench.now();
    assert_eq!(used().await, Some(first));
    bench.clock.advance(Duration::from_secs(59));
    assert_eq!(used().await, Some(first));
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(used().await, Some(bench.now()));
    let audited = bench.audited().await;
    used().await;
    assert_eq!(bench.audited().await, audited);
}

async fn a_tenant_sees_and_makes_its_own_keys_only(bench: Bench) {
    let (own, other) = (bench.tenant("own").await.id, bench.tenant("other").await.id);
    let access = Access::Tenant(own);
    let key = made(&bench, new_key(Scope::Tenant, Some(own), "own")).await;
    let foreign = made(&bench, new_key(Scope::Tenant, Some(other), "other")).await;
    made(&bench, new_key(Scope::Platform, None, "platform")).await;
    assert_eq!(bench.store.keys(access, &Page::default()).await.unwrap().items, [key]);
    assert_eq!(bench.store.keys(Access::Platform, &Page::default()).await.unwrap().items.len(), 3);
    for new in [new_key(Scope::Tenant, Some(other), "x"), new_key(Scope::Platform, None, "y")] {
        let refused = bench.store.create_key(&actor(), access, new).await;
        assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    }
    let refused = bench.store.delete_key(&actor(), access, foreign.id).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })));
    assert!(bench.store.authenticate("other", &[7; 32]).await.unwrap().is_some(), "it was not deleted");
}

async fn a_key_that_cannot_be_meant_is_refused(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let refuse = async |new| bench.store.create_key(&actor(), Access::Platform, new).await.unwrap_err();
    assert!(matches!(refuse(new_key(Scope::Tenant, None, "a")).await, StoreError::Invalid { .. }));
    assert!(matches!(refuse(new_key(Scope::Edge, Some(tenant), "a")).await, StoreError::Invalid { .. }));
    assert!(matches!(refuse(new_key(Scope::Edge, None, "a_b")).await, StoreError::Invalid { .. }));
    made(&bench, new_key(Scope::Edge, None, "a")).await;
    let error = refuse(new_key(Scope::Edge, None, "a")).await;
    assert!(matches!(error, StoreError::Conflict { code: "key_taken", .. }), "{error}");
}

async fn a_tenant_has_a_hundred_keys_at_most(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    for number in 0..100 {
        made(&bench, new_key(Scope::Tenant, Some(tenant), &format!("k{number}"))).await;
    }
    let new = new_key(Scope::Tenant, Some(tenant), "more");
    let refused = bench.store.create_key(&actor(), Access::Platform, new).await;
    assert!(matches!(refused, Err(StoreError::TooMany { limit: 100, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_key_opens_although_its_use_cannot_be_written_down() {
    let bench = Bench::sqlite().await;
    let key = made(&bench, new_key(Scope::Edge, None, "abcd1234")).await;
    let refuse = "CREATE TRIGGER full BEFORE UPDATE ON keys BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    bench.execute(refuse).await;
    let found = bench.store.authenticate("abcd1234", &[7; 32]).await.unwrap().unwrap();
    assert_eq!((found.id, found.last_used_at), (key.id, None));
}

on_both_engines! {
    a_tenant_has_a_hundred_keys_at_most,
    a_key_opens_with_its_secret_until_it_is_deleted,
    use_is_written_down_once_a_minute,
    a_tenant_sees_and_makes_its_own_keys_only,
    a_key_that_cannot_be_meant_is_refused,
}
