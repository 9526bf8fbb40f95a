//! ACME orders, accounts and the local authority: what outlives a crash, and who may write.

use std::time::Duration;

use store::{AccountRecord, LocalCa, NewOrder, Order, OrderPatch, OrderState, StoreError, Urgency};

use crate::bench::{Bench, HOUR, host, proved, sealed};
use crate::on_both_engines;

const TTL: Duration = Duration::from_secs(60);

fn new_order(name: &str) -> NewOrder {
    NewOrder {
        host: host(name).into(),
        names: vec![name.parse().unwrap()],
        tenant: None,
        app: None,
        domain: None,
        urgency: Urgency::Waiting,
    }
}

async fn begun(bench: &Bench, name: &str) -> Order {
    bench.tick();
    bench.store.begin_order(new_order(name)).await.unwrap().unwrap()
}

async fn a_name_has_one_open_order_at_most(bench: Bench) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = bench.store.clone();
            tokio::spawn(async move { store.begin_order(new_order("a.example.com")).await.unwrap() })
        })
        .collect();
    let mut begun = Vec::new();
    for task in tasks {
        begun.extend(task.await.unwrap());
    }
    let [order] = begun.as_slice() else { panic!("{begun:?}") };
    let order = bench.store.lease_order(order.id, "me", TTL).await.unwrap();
    let done = OrderPatch { state: Some(OrderState::Done), ..OrderPatch::default() };
    bench.store.update_order(order.id, order.fence, done).await.unwrap();
    assert!(bench.store.begin_order(new_order("a.example.com")).await.unwrap().is_some());
}

async fn what_was_certified_meanwhile_is_not_ordered_again(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let first = bench.certificate(&app, &["www.example.com"]).await;
    bench.tick();
    let second = bench.certificate(&app, &["www.example.com"]).await;
    let order = || NewOrder { tenant: Some(app.tenant), ..new_order("www.example.com") };
    for seen in [None, Some(first.id)] {
        let begun = bench.store.begin_order_after(order(), seen).await.unwrap();
        assert_eq!(begun, None, "{seen:?}");
    }
    let begun = bench.store.begin_order_after(order(), Some(second.id)).await.unwrap();
    assert!(begun.is_some(), "it is what is to be renewed");
}

async fn a_holder_that_slept_through_its_lease_writes_nothing(bench: Bench) {
    let order = begun(&bench, "a.example.com").await;
    let first = bench.store.lease_order(order.id, "one", TTL).await.unwrap();
    assert!(bench.store.due_orders(bench.now(), 10).await.unwrap().is_empty());
    let refused = bench.store.lease_order(order.id, "two", TTL).await;
    assert!(matches!(refused, Err(StoreError::Fenced { .. })));
    bench.clock.advance(TTL);
    assert_eq!(bench.store.due_orders(bench.now(), 10).await.unwrap().len(), 1);
    let second = bench.store.lease_order(order.id, "two", TTL).await.unwrap();
    let patch = |url: &str| OrderPatch { order_url: Some(Some(url.to_owned())), ..OrderPatch::default() };
    let late = bench.store.update_order(order.id, first.fence, patch("late")).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })));
    let written = bench.store.update_order(order.id, second.fence, patch("good")).await.unwrap();
    assert_eq!(written.order_url.as_deref(), Some("good"));
    assert_eq!(bench.store.order(order.id).await.unwrap(), written);
}

async fn a_sign_of_life_keeps_a_lease_that_is_still_its_holders(bench: Bench) {
    let order = begun(&bench, "a.example.com").await;
    let held = bench.store.lease_order(order.id, "one", TTL).await.unwrap();
    bench.clock.advance(TTL / 2);
    bench.store.extend_lease(order.id, "one", TTL).await.unwrap();
    bench.clock.advance(TTL / 2);
    bench.store.extend_lease(order.id, "two", TTL * 9).await.unwrap();
    assert!(bench.store.due_orders(bench.now(), 10).await.unwrap().is_empty());
    let same = bench.store.update_order(order.id, held.fence, OrderPatch::default()).await;
    assert_eq!(same.unwrap().fence, held.fence, "the number stays");
    let due = async || bench.store.due_orders(bench.now(), 10).await.unwrap().len();
    bench.clock.advance(TTL / 2);
    assert_eq!(due().await, 1, "it ran out");
    bench.store.extend_lease(order.id, "one", TTL).await.unwrap();
    assert_eq!(due().await, 0, "nobody took the order meanwhile");

    bench.clock.advance(TTL);
    let taken = bench.store.lease_order(order.id, "two", TTL).await.unwrap();
    bench.store.extend_lease(order.id, "one", TTL * 9).await.unwrap();
    bench.clock.advance(TTL);
    assert_eq!(due().await, 1, "it was another's");
    let given_up = OrderPatch { next_at: Some(bench.now()), ..OrderPatch::default() };
    bench.store.update_order(order.id, taken.fence, given_up).await.unwrap();
    bench.store.extend_lease(order.id, "two", TTL).await.unwrap();
    assert_eq!(due().await, 1, "it was given back");
}

async fn a_failed_attempt_is_due_again_at_its_time(bench: Bench) {
    let order = begun(&bench, "a.example.com").await;
    let order = bench.store.lease_order(order.id, "me", HOUR).await.unwrap();
    let patch = OrderPatch {
        attempts: Some(1),
        next_at: Some(bench.now().plus(TTL)),
        error: Some(Some("x".repeat(5000))),
        ..OrderPatch::default()
    };
    let order = bench.store.update_order(order.id, order.fence, patch).await.unwrap();
    assert_eq!(order.error.as_deref().map(str::len), Some(1000));
    assert!(bench.store.due_orders(bench.now(), 10).await.unwrap().is_empty());
    bench.clock.advance(TTL);
    assert_eq!(bench.store.due_orders(bench.now(), 10).await.unwrap(), [order]);
}

async fn what_an_order_must_remember_outlives_its_holder(bench: Bench) {
    let order = begun(&bench, "a.example.com").await;
    let order = bench.store.lease_order(order.id, "me", HOUR).await.unwrap();
    let key = sealed();
    let patch = OrderPatch {
        key: Some(Some(key.clone())),
        order_url: Some(Some("https://ca.test/order/1".to_owned())),
        ..OrderPatch::default()
    };
    bench.store.update_order(order.id, order.fence, patch).await.unwrap();
    let store = bench.reopened(&["apps.test", "alt.test"]).await;
    let found = store.latest_order(&host("a.example.com")).await.unwrap().unwrap();
    assert_eq!((found.key, found.certificate), (Some(key), order.certificate));
    let forget = OrderPatch { key: Some(None), order_url: Some(None), ..OrderPatch::default() };
    let order = store.update_order(order.id, order.fence, forget).await.unwrap();
    assert_eq!((order.key, order.order_url), (None, None));
}

async fn an_ended_order_is_in_nobodys_hands(bench: Bench) {
    let order = begun(&bench, "a.example.com").await;
    let order = bench.store.lease_order(order.id, "me", HOUR).await.unwrap();
    let keyed = OrderPatch { key: Some(Some(sealed())), ..OrderPatch::default() };
    assert!(bench.store.update_order(order.id, order.fence, keyed).await.unwrap().key.is_some());
    let failed = OrderPatch { state: Some(OrderState::Failed), ..OrderPatch::default() };
    let ended = bench.store.update_order(order.id, order.fence, failed.clone()).await.unwrap();
    assert_eq!(ended.key, None, "its key is good for nothing any more");
    assert!(matches!(bench.store.lease_order(order.id, "me", HOUR).await, Err(StoreError::Fenced { .. })));
    assert!(matches!(
        bench.store.update_order(order.id, order.fence, failed).await,
        Err(StoreError::Fenced { .. })
    ));
    let unknown = model::id::OrderId::generate(bench.now());
    assert!(matches!(bench.store.lease_order(unknown, "me", HOUR).await, Err(StoreError::NotFound { .. })));
}

async fn a_domain_whose_order_ended_is_looked_at_soon_even_if_whoever_ended_it_does_not(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    for (state, name) in [(OrderState::Done, "a.example.com"), (OrderState::Failed, "b.example.com")] {
        let domain = bench.proved_domain(app.id, name).await;
        let order = NewOrder { domain: Some(domain.id), ..new_order(&domain.host.to_string()) };
        let order = bench.store.begin_order(order).await.unwrap().unwrap();
        let order = bench.store.lease_order(order.id, "me", TTL).await.unwrap();
        let open = OrderPatch { attempts: Some(1), ..OrderPatch::default() };
        bench.store.update_order(order.id, order.fence, open).await.unwrap();
        let soon = bench.now().plus(Duration::from_secs(5));
        assert!(bench.store.due_domains(soon, 10).await.unwrap().is_empty(), "it is under way still");
        let ended = OrderPatch { state: Some(state), ..OrderPatch::default() };
        bench.store.update_order(order.id, order.fence, ended).await.unwrap();
        let due = bench.store.due_domains(soon, 10).await.unwrap();
        assert_eq!(due.iter().map(|due| due.id).collect::<Vec<_>>(), [domain.id]);
        bench.check(&due[0], proved()).await;
    }
}

async fn an_account_is_kept_for_each_directory(bench: Bench) {
    let account = AccountRecord {
        directory: "https://ca.test/dir".to_owned(),
        account_url: None,
        key: sealed(),
        next_key: None,
    };
    assert_eq!(bench.store.acme_account(&account.directory).await.unwrap(), None);
    bench.store.begin_acme_account(account.clone()).await.unwrap();
    let url = Some("https://ca.test/1".to_owned());
    bench.store.set_account_url(&account.directory, &account.key, url.as_deref()).await.unwrap();
    bench.store.set_account_url(&account.directory, &sealed(), None).await.unwrap();
    let account = AccountRecord { account_url: url, ..account };
    let found = bench.store.acme_account(&account.directory).await.unwrap();
    assert_eq!(found, Some(account), "the address is its key's");
    assert_eq!(bench.store.acme_account("https://other.test").await.unwrap(), None);
}

async fn of_accounts_that_are_begun_at_the_same_time_the_first_stays(bench: Bench) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let url = "https://ca.test/dir".to_owned();
            let account = AccountRecord { directory: url, account_url: None, key: sealed(), next_key: None };
            let store = bench.store.clone();
            tokio::spawn(async move { store.begin_acme_account(account).await.unwrap() })
        })
        .collect();
    for task in tasks {
        let begun = task.await.unwrap();
        assert_eq!(bench.store.acme_account(&begun.directory).await.unwrap(), Some(begun));
    }
}

async fn the_first_local_authority_stays(bench: Bench) {
    let other = bench.reopened(&["apps.test", "alt.test"]).await;
    let new = |cert_pem: &str| LocalCa { cert_pem: cert_pem.to_owned(), key: sealed() };
    let (one, two) = (new("one"), new("two"));
    let (one, two) = tokio::join!(bench.store.put_local_ca(&one), other.put_local_ca(&two));
    let kept = bench.store.local_ca().await.unwrap().unwrap();
    assert_eq!((one.unwrap(), two.unwrap()), (kept.clone(), kept));
}

on_both_engines! {
    a_name_has_one_open_order_at_most,
    what_was_certified_meanwhile_is_not_ordered_again,
    a_holder_that_slept_through_its_lease_writes_nothing,
    a_sign_of_life_keeps_a_lease_that_is_still_its_holders,
    a_failed_attempt_is_due_again_at_its_time,
    what_an_order_must_remember_outlives_its_holder,
    an_ended_order_is_in_nobodys_hands,
    a_domain_whose_order_ended_is_looked_at_soon_even_if_whoever_ended_it_does_not,
    an_account_is_kept_for_each_directory,
    of_accounts_that_are_begun_at_the_same_time_the_first_stays,
    the_first_local_authority_stays,
}
