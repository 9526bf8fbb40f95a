//! Tenants: standing, limits, masking, and what goes with them.

use model::change::{Object, ObjectId};
use model::limits::{Limits, Rate};
use model::tenant::{Slug, Standing};
use store::{Access, NewTenant, Page, StoreError, TenantPatch, Version};

use crate::bench::{Bench, FIRST, NO_LINEAGE, actor};
use crate::on_both_engines;

async fn a_tenant_is_read_back_as_it_was_made(bench: Bench) {
    let made = bench.tenant("acme-shop").await;
    assert_eq!(bench.store.tenant(Access::Platform, made.id).await.unwrap(), made);
    assert_eq!((made.version, made.standing), (FIRST, Standing::Active));
}

async fn a_slug_is_given_once(bench: Bench) {
    bench.tenant("one").await;
    let two = bench.tenant("two").await;
    let new = NewTenant { name: "Again".to_owned(), slug: Slug::parse("one").unwrap() };
    let error = bench.store.create_tenant(&actor(), new).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict { code: "slug_taken", field: "slug", .. }), "{error}");
    let patch = TenantPatch { slug: Some(Slug::parse("one").unwrap()), name: None };
    let error =
        bench.store.update_tenant(&actor(), (Access::Platform, two.id), patch, None).await.unwrap_err();
    assert_eq!(error.to_string(), "slug `one` is taken");
}

async fn a_stale_version_is_refused_and_changes_nothing(bench: Bench) {
    let tenant = bench.tenant("one").await;
    let at = (Access::Platform, tenant.id);
    let rename = |name: &str| TenantPatch { name: Some(name.to_owned()), slug: None };
    let renamed = bench.store.update_tenant(&actor(), at, rename("First"), Some(FIRST)).await.unwrap();
    assert_eq!(renamed.version, Version(2));
    let error = bench.store.update_tenant(&actor(), at, rename("Second"), Some(FIRST)).await.unwrap_err();
    assert!(matches!(error, StoreError::Stale { current: Version(2), .. }), "{error}");
    assert_eq!(bench.store.tenant(at.0, at.1).await.unwrap(), renamed);
    let error = bench.store.delete_tenant(&actor(), at.0, at.1, Some(FIRST)).await.unwrap_err();
    assert!(matches!(error, StoreError::Stale { current: Version(2), .. }), "{error}");
    bench.store.delete_tenant(&actor(), at.0, at.1, Some(Version(2))).await.unwrap();
}

async fn another_tenants_things_are_as_good_as_missing(bench: Bench) {
    let (own, other) = (bench.tenant("own").await, bench.tenant("other").await);
    let app = bench.app(other.id, "shop").await;
    let domain = bench.proved_domain(app.id, "shop.example.com").await;
    let certificate = bench.certificate(&app, &["shop.example.com"]).await;
    let (store, access) = (&bench.store, Access::Tenant(own.id));
    let by = &actor();
    let refused = [
        store.tenant(access, other.id).await.err(),
        store.update_tenant(by, (access, other.id), TenantPatch::default(), None).await.err(),
        store.delete_tenant(by, access, other.id, None).await.err(),
        store.tenant_limits(access, other.id).await.err(),
        store.create_app(by, access, other.id, crate::bench::new_app("mine")).await.err(),
        store.apps(access, other.id, &Page::default()).await.err(),
        store.app(access, app.id).await.err(),
        store.update_app(by, (access, app.id), store::AppPatch::default(), None).await.err(),
        store.delete_app(by, access, app.id, None).await.err(),
        store.add_domain(by, access, app.id, crate::bench::host("a.example.com")).await.err(),
        store.domains(access, app.id, &Page::default()).await.err(),
        store.domain(access, domain.id).await.err(),
        store.request_domain_check(by, access, domain.id).await.err(),
        store.delete_domain(by, access, domain.id).await.err(),
        store.certificate(access, certificate.id).await.err(),
    ];
    for (number, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(StoreError::NotFound { .. })), "call {number}: {error:?}");
    }
    assert_eq!(store.tenants(access, &Page::default()).await.unwrap().items, [own]);
    assert!(
        store
            .certificates(access, &store::CertificateFilter::default(), &Page::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

async fn standing_and_limits_reach_the_edges(bench: Bench) {
    let tenant = bench.tenant("one").await;
    let after = bench.head().await;
    let suspended = bench.store.suspend_tenant(&actor(), tenant.id, "unpaid").await.unwrap();
    assert_eq!(suspended.suspended_reason.as_deref(), Some("unpaid"));
    let rate = Rate { requests_per_minute: 7, burst: 3 };
    let limits = Limits { tenant: rate, visitor: rate };
    let view = bench.store.set_tenant_limits(&actor(), tenant.id, Some(limits)).await.unwrap();
    assert_eq!((view.effective, view.overridden), (limits, Some(limits)));
    let first = bench.store.changes(&NO_LINEAGE, after, 10).await.unwrap();
    let batch = bench.store.changes(&first.lineage, after, 10).await.unwrap();
    let [change] = batch.changes.as_slice() else { panic!("{batch:?}") };
    let Some(Object::Tenant(seen)) = &change.object else { panic!("{change:?}") };
    assert_eq!((seen.standing, seen.limits), (Standing::Suspended, limits));
    let resumed = bench.store.resume_tenant(&actor(), tenant.id).await.unwrap();
    assert_eq!((resumed.standing, resumed.suspended_reason), (Standing::Active, None));
    let view = bench.store.set_tenant_limits(&actor(), tenant.id, None).await.unwrap();
    assert_eq!((view.effective, view.overridden), (Limits::default(), None));
}

async fn limits_and_names_that_cannot_be_meant_are_refused_by_value(bench: Bench) {
    let tenant = bench.tenant("one").await;
    let zero = Rate { requests_per_minute: 0, burst: 1 };
    let limits = Limits { tenant: zero, visitor: zero };
    let error = bench.store.set_tenant_limits(&actor(), tenant.id, Some(limits)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Invalid { field: "tenant.requests_per_minute", .. }), "{error}");
    for name in ["", "  ", "a\nb", &"x".repeat(201)] {
        let new = NewTenant { name: name.to_owned(), slug: Slug::parse("two").unwrap() };
        let error = bench.store.create_tenant(&actor(), new).await.unwrap_err();
        assert!(matches!(&error, StoreError::Invalid { field: "name", .. }), "{error}");
    }
}

async fn pages_cover_every_tenant_once(bench: Bench) {
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(bench.tenant(&format!("t{number}")).await.id);
    }
    let (mut seen, mut page) = (Vec::new(), Page::first(3));
    loop {
        let answer = bench.store.tenants(Access::Platform, &page).await.unwrap();
        seen.extend(answer.items.iter().map(|tenant| tenant.id));
        match answer.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!(seen, made);
}

async fn a_deleted_tenant_takes_everything_along(bench: Bench) {
    let (tenant, other) = (bench.tenant("one").await, bench.tenant("two").await);
    let app = bench.app(tenant.id, "shop").await;
    let kept = bench.app(other.id, "kept").await;
    bench.proved_domain(app.id, "shop.example.com").await;
    let certificate = bench.certificate(&app, &["shop.example.com"]).await;
    let after = bench.head().await;
    let lineage = bench.store.changes(&NO_LINEAGE, after, 1).await.unwrap().lineage;
    bench.store.delete_tenant(&actor(), Access::Platform, tenant.id, None).await.unwrap();
    let batch = bench.store.changes(&lineage, after, 100).await.unwrap();
    let mut gone: Vec<_> =
        batch.changes.iter().map(|change| (change.id.clone(), change.object.is_none())).collect();
    gone.sort();
    let expected =
        [ObjectId::Tenant(tenant.id), ObjectId::Site(app.id), ObjectId::Certificate(certificate.id)];
    assert_eq!(gone, expected.map(|id| (id, true)));
    for table in ["domains", "certificates", "certificate_names"] {
        let rows = format!("SELECT COUNT(*) FROM {table}").leak();
        assert_eq!(bench.count(rows).await, 0, "{table}");
    }
    assert!(bench.store.app(Access::Platform, kept.id).await.is_ok());
    let error = bench.store.delete_tenant(&actor(), Access::Platform, tenant.id, None).await.unwrap_err();
    assert_eq!(error.to_string(), format!("there is no tenant `{}`", tenant.id));
}

on_both_engines! {
    a_tenant_is_read_back_as_it_was_made,
    a_slug_is_given_once,
    a_stale_version_is_refused_and_changes_nothing,
    another_tenants_things_are_as_good_as_missing,
    standing_and_limits_reach_the_edges,
    limits_and_names_that_cannot_be_meant_are_refused_by_value,
    pages_cover_every_tenant_once,
    a_deleted_tenant_takes_everything_along,
}
