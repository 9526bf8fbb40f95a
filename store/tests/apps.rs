//! Apps: their names, their bounds, their place on the zones.

use model::backend::Backend;
use model::change::Object;
use model::site::{HostOrigin, Settings};
use model::tenant::Slug;
use store::{Access, AppPatch, NewApp, Page, QUARANTINE, StoreError};

use crate::bench::{Bench, FIRST, NO_LINEAGE, actor, new_app};
use crate::on_both_engines;

async fn an_app_answers_on_every_zone(bench: Bench) {
    let tenant = bench.tenant("one").await;
    let app = bench.app(tenant.id, "shop").await;
    assert_eq!(app.hostname.as_str(), "shop.apps.test");
    assert_eq!(bench.store.app(Access::Platform, app.id).await.unwrap(), app);
    let batch = bench.store.changes(&NO_LINEAGE, Default::default(), 100).await.unwrap();
    let Some(Object::Site(site)) = &batch.changes[1].object else { panic!("{batch:?}") };
    let hosts: Vec<_> = site.hosts.iter().map(|host| (host.host.to_string(), host.origin)).collect();
    assert_eq!(hosts, ["shop.apps.test", "shop.alt.test"].map(|name| (name.to_owned(), HostOrigin::Zone)));
    assert_eq!(site.backends, app.backends);
}

async fn of_two_creations_of_one_name_one_wins(bench: Bench) {
    let tenants = [bench.tenant("one").await.id, bench.tenant("two").await.id];
    let tasks = tenants.map(|tenant| {
        let store = bench.store.clone();
        tokio::spawn(async move {
            store.create_app(&actor(), Access::Tenant(tenant), tenant, new_app("shop")).await
        })
    });
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 1));
    let error = lost.into_iter().next().unwrap().unwrap_err();
    assert!(matches!(&error, StoreError::Conflict { code: "name_taken", .. }), "{error}");
    assert_eq!(bench.count("SELECT COUNT(*) FROM apps").await, 1);
}

async fn what_an_app_cannot_be_is_refused(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let backend = |weight| Backend { url: "http://127.0.0.1:1".parse().unwrap(), weight };
    let create =
        async |new| bench.store.create_app(&actor(), Access::Platform, tenant, new).await.unwrap_err();
    let error = create(NewApp { name: Slug::parse("admin").unwrap(), ..new_app("x") }).await;
    assert_eq!(error.to_string(), "`admin` is reserved: choose another name");
    let error = create(NewApp { backends: vec![backend(1); 33], ..new_app("x") }).await;
    assert!(matches!(error, StoreError::TooMany { limit: 32, .. }), "{error}");
    let error = create(NewApp { backends: vec![backend(1001)], ..new_app("x") }).await;
    assert!(error.to_string().contains("weight 1001"), "{error}");
    let settings = Settings { connect_timeout_ms: 0, ..Settings::default() };
    let error = create(NewApp { settings, ..new_app("x") }).await;
    assert!(matches!(error, StoreError::Invalid { field: "settings", .. }), "{error}");
    assert_eq!(bench.count("SELECT COUNT(*) FROM apps").await, 0);
}

async fn an_update_leaves_alone_what_it_does_not_name(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let app = bench.app(tenant, "shop").await;
    bench.tick();
    let patch = AppPatch { backends: Some(vec![]), ..AppPatch::default() };
    let updated =
        bench.store.update_app(&actor(), (Access::Platform, app.id), patch, Some(FIRST)).await.unwrap();
    assert_eq!((updated.backends.len(), &updated.settings), (0, &app.settings));
    assert!(updated.updated_at > app.updated_at);
    assert_eq!(bench.store.app(Access::Platform, app.id).await.unwrap(), updated);
    let again =
        bench.store.update_app(&actor(), (Access::Platform, app.id), AppPatch::default(), Some(FIRST)).await;
    assert!(matches!(again, Err(StoreError::Stale { .. })));
    let delete =
        async |version| bench.store.delete_app(&actor(), Access::Platform, app.id, Some(version)).await;
    assert!(matches!(delete(FIRST).await, Err(StoreError::Stale { .. })));
    delete(updated.version).await.unwrap();
}

async fn a_name_that_was_given_up_is_kept_for_its_owner(bench: Bench) {
    let (own, other) = (bench.tenant("own").await.id, bench.tenant("other").await.id);
    let app = bench.app(own, "shop").await;
    bench.store.delete_app(&actor(), Access::Platform, app.id, None).await.unwrap();
    let claim =
        async |tenant| bench.store.create_app(&actor(), Access::Platform, tenant, new_app("shop")).await;
    let error = claim(other).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { code: "name_quarantined", .. }), "{error}");
    let again = claim(own).await.unwrap();
    bench.store.delete_app(&actor(), Access::Platform, again.id, None).await.unwrap();
    bench.clock.advance(QUARANTINE);
    assert!(claim(other).await.is_ok());
}

async fn a_tenant_has_a_thousand_apps_at_most(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let other = bench.tenant("two").await.id;
    bench.app(other, "first").await;
    let copies: Vec<String> = (1..1000)
        .map(|number| {
            format!(
                "INSERT INTO apps SELECT id || '{number}', '{tenant}', 'copy-{number}', backends, headers, settings,
                 version, created_at, updated_at FROM apps WHERE name = 'first';"
            )
        })
        .collect();
    bench.execute(format!("BEGIN; {} COMMIT;", copies.join("\n"))).await;
    bench.app(tenant, "last").await;
    let error =
        bench.store.create_app(&actor(), Access::Platform, tenant, new_app("more")).await.unwrap_err();
    assert_eq!(error.to_string(), "there are 1000 apps of this tenant already, which is the most allowed");
    bench.app(other, "free").await;
}

async fn apps_are_listed_in_pages(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let made = [bench.app(tenant, "a").await, bench.app(tenant, "b").await, bench.app(tenant, "c").await];
    let first = bench.store.apps(Access::Tenant(tenant), tenant, &Page::first(2)).await.unwrap();
    assert_eq!(first.items, made[..2]);
    let page = Page { limit: 2, cursor: first.next };
    let second = bench.store.apps(Access::Tenant(tenant), tenant, &page).await.unwrap();
    assert_eq!((second.items.as_slice(), second.next), (&made[2..], None));
}

on_both_engines! {
    an_app_answers_on_every_zone,
    of_two_creations_of_one_name_one_wins,
    what_an_app_cannot_be_is_refused,
    an_update_leaves_alone_what_it_does_not_name,
    a_name_that_was_given_up_is_kept_for_its_owner,
    a_tenant_has_a_thousand_apps_at_most,
    apps_are_listed_in_pages,
}
