//! Certificates: which one serves, which is due, which goes.

use model::certificate::{CertificateSource, CertificateStatus};
use model::change::ObjectId;
use model::id::CertificateId;
use store::{Access, CertificateFilter, NewCertificate, NewOrder, Page, StoreError, Urgency};

use crate::bench::{Bench, DAY, HOUR, NO_LINEAGE, actor, host};
use crate::on_both_engines;

fn platform(new: NewCertificate) -> NewCertificate {
    NewCertificate { tenant: None, app: None, ..new }
}

async fn served(bench: &Bench) -> Vec<CertificateId> {
    let batch = bench.store.changes(&NO_LINEAGE, Default::default(), 1000).await.unwrap();
    let there = batch.changes.into_iter().filter(|change| change.object.is_some());
    let id = |id| if let ObjectId::Certificate(id) = id { Some(id) } else { None };
    there.filter_map(|change| id(change.id)).collect()
}

async fn status(bench: &Bench, id: CertificateId) -> CertificateStatus {
    bench.store.certificate(Access::Platform, id).await.unwrap().status
}

async fn a_newer_certificate_supersedes_the_older_of_the_same_names_at_once(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let old = bench.certificate(&app, &["b.example.com", "a.example.com"]).await;
    let aside = bench.certificate(&app, &["a.example.com", "c.example.com"]).await;
    let head = bench.head().await;
    let new = bench.certificate(&app, &["a.example.com", "b.example.com", "a.example.com"]).await;
    assert_eq!(served(&bench).await, [aside.id, new.id]);
    assert_eq!(bench.head().await.0, head.0 + 2, "the new one and the old one, in one transaction");
    assert_eq!(status(&bench, old.id).await, CertificateStatus::Superseded);
    assert_eq!(status(&bench, new.id).await, CertificateStatus::Active);
    let upload = NewCertificate {
        source: CertificateSource::Upload,
        ..bench.new_certificate(&app, &["a.example.com", "c.example.com"])
    };
    bench.store.insert_certificate(&actor(), upload).await.unwrap();
    assert_eq!(status(&bench, aside.id).await, CertificateStatus::Superseded, "whatever its source");
}

async fn a_certificate_that_was_overtaken_on_its_way_is_not_served(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    bench.proved_domain(app.id, "a.example.com").await;
    let ordered = bench.new_certificate(&app, &["a.example.com"]);
    let upload = NewCertificate {
        source: CertificateSource::Upload,
        not_after: bench.now().plus(DAY),
        ..bench.new_certificate(&app, &["a.example.com"])
    };
    let upload = bench.store.insert_certificate(&actor(), upload).await.unwrap();
    let late = bench.store.insert_certificate(&actor(), ordered).await.unwrap();
    assert_eq!(late.status, CertificateStatus::Superseded);
    assert_eq!(served(&bench).await, [upload.id]);
    assert_eq!(status(&bench, upload.id).await, CertificateStatus::Active);
}

async fn after_a_roll_back_renewal_waits_for_half_of_what_is_left(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let serial = |new: NewCertificate, serial: &str| NewCertificate { serial: serial.to_owned(), ..new };
    bench.proved_domain(app.id, "a.example.com").await;
    let old = serial(bench.new_certificate(&app, &["a.example.com"]), "01");
    let old = bench.store.insert_certificate(&actor(), old).await.unwrap();
    // 28 of 90 days are left: less than a third.
    bench.clock.advance(DAY * 62);
    let new = serial(bench.new_certificate(&app, &["a.example.com"]), "02");
    let new = bench.store.insert_certificate(&actor(), new).await.unwrap();
    let before = bench.store.certificate_before(&new).await.unwrap().unwrap();
    assert_eq!((before.id, before.was_called_back(bench.now())), (old.id, false));
    let again = NewCertificate {
        not_before: old.not_before,
        not_after: old.not_after,
        ..serial(bench.new_certificate(&app, &["a.example.com"]), "01")
    };
    let again = bench.store.roll_back_certificate(&actor(), new.id, again).await.unwrap();
    assert_eq!(served(&bench).await, [again.id]);
    assert_eq!(status(&bench, new.id).await, CertificateStatus::RolledBack);
    assert_eq!(bench.store.certificate_before(&again).await.unwrap(), None, "never back to what was left");
    assert!(bench.store.certificates_due(bench.now(), 9).await.unwrap().is_empty(), "not undone at once");
    bench.clock.advance(DAY * 14);
    let due = bench.store.certificates_due(bench.now(), 9).await.unwrap();
    assert_eq!(due.iter().map(|due| due.id).collect::<Vec<_>>(), [again.id], "and not forgotten");
    let twice = bench.new_certificate(&app, &["a.example.com"]);
    assert!(matches!(
        bench.store.roll_back_certificate(&actor(), new.id, twice).await,
        Err(StoreError::NotFound { .. })
    ));
}

async fn what_its_authority_called_back_is_told_from_what_was_due(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let held = bench.certificate(&app, &["a.example.com"]).await;
    for (days, called_back) in [((60, 61), false), ((1, 2), true)] {
        let window = (held.not_before.plus(DAY * days.0), held.not_before.plus(DAY * days.1));
        let renew_at = window.0;
        bench.advise(&held, Some(window), renew_at, HOUR).await;
        let read = bench.store.certificate(Access::Platform, held.id).await.unwrap();
        assert_eq!(read.was_called_back(held.not_before.plus(DAY * 70)), called_back);
        assert!(!read.was_called_back(held.not_before), "its time has not come");
    }
}

async fn owners_of_uploads_are_warned_at_21_7_and_1_days_once_each(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.proved_domain(app.id, "a.example.com").await;
    let ours = bench.certificate(&app, &["b.example.com"]).await;
    let upload = NewCertificate {
        source: CertificateSource::Upload,
        ..bench.new_certificate(&app, &["a.example.com"])
    };
    let upload = bench.store.insert_certificate(&actor(), upload).await.unwrap();
    let given = async || {
        let given = bench.store.warn_of_ending_uploads().await.unwrap();
        given.into_iter().map(|(held, days)| (held.id, days)).collect::<Vec<_>>()
    };
    assert_eq!(given().await, []);
    for (day, days) in [(69, 21), (83, 7), (89, 1)] {
        let until = upload.not_before.plus(DAY * day + HOUR);
        bench.clock.advance(until.since(bench.now()));
        assert_eq!(given().await, [(upload.id, days)]);
        assert_eq!(given().await, [], "once");
    }
    let timeline = bench.store.domain(Access::Platform, domain.id).await.unwrap().timeline;
    let noted: Vec<_> = timeline.iter().filter_map(|entry| entry.ends_in_days).collect();
    assert_eq!(noted, [21, 7, 1]);
    assert_eq!(status(&bench, upload.id).await, CertificateStatus::Active, "never replaced by a warning");
    let events = bench.count("SELECT COUNT(*) FROM audit WHERE action LIKE 'certificate.ends_in_%'").await;
    assert_eq!(events, 3, "none for {}, which is renewed", ours.id);
}

async fn a_late_upload_is_warned_of_by_the_most_urgent_warning_only(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let upload = NewCertificate {
        source: CertificateSource::Upload,
        not_after: bench.now().plus(DAY * 3),
        ..bench.new_certificate(&app, &["shop.apps.test"])
    };
    bench.store.insert_certificate(&actor(), upload).await.unwrap();
    let given = bench.store.warn_of_ending_uploads().await.unwrap();
    assert_eq!(given.into_iter().map(|(_, days)| days).collect::<Vec<_>>(), [7]);
}

async fn of_several_the_exact_and_then_the_last_made_serves(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let found = async || {
        let found = bench.store.active_certificate_for(&host("a.example.com")).await.unwrap();
        found.map(|certificate| certificate.id)
    };
    let long = bench.certificate(&app, &["a.example.com", "b.example.com"]).await;
    let local = NewCertificate {
        source: CertificateSource::LocalCa,
        not_after: bench.now().plus(DAY),
        ..bench.new_certificate(&app, &["a.example.com"])
    };
    let local = bench.store.insert_certificate(&actor(), local).await.unwrap();
    assert!(local.id > long.id);
    assert_eq!(found().await, Some(local.id), "neither its end nor its source counts");
    let wildcard = platform(bench.new_certificate(&app, &["*.example.com"]));
    bench.store.insert_certificate(&actor(), wildcard).await.unwrap();
    assert_eq!(found().await, Some(local.id), "exact before wildcard");
}

async fn an_app_has_certificates_for_its_own_names_only(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let other = bench.app(bench.tenant("two").await.id, "other").await;
    bench.domain(app.id, "unproved.example.com").await;
    bench.proved_domain(app.id, "own.example.com").await;
    bench.proved_domain(other.id, "foreign.example.com").await;
    let keep = async |names: &[&str]| {
        bench.store.insert_certificate(&actor(), bench.new_certificate(&app, names)).await
    };
    for name in ["unproved.example.com", "foreign.example.com", "other.apps.test", "apps.test"] {
        let error = keep(&["own.example.com", name]).await.unwrap_err();
        assert!(matches!(&error, StoreError::NotFound { id, .. } if id == name), "{name}: {error}");
    }
    let error = keep(&["*.apps.test"]).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { field: "names", .. }), "{error}");
    let ownerless = NewCertificate { app: None, ..bench.new_certificate(&app, &["own.example.com"]) };
    let error = bench.store.insert_certificate(&actor(), ownerless).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { field: "app", .. }), "{error}");
    assert!(served(&bench).await.is_empty());
    keep(&["own.example.com", "shop.apps.test", "shop.alt.test"]).await.unwrap();
    let local = NewCertificate {
        source: CertificateSource::LocalCa,
        ..bench.new_certificate(&app, &["unproved.example.com"])
    };
    bench.store.insert_certificate(&actor(), local).await.unwrap();
}

async fn keeping_the_same_certificate_again_changes_nothing(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    bench.proved_domain(app.id, "a.example.com").await;
    let new = bench.new_certificate(&app, &["a.example.com"]);
    let first = bench.store.insert_certificate(&actor(), new.clone()).await.unwrap();
    let (head, audited) = (bench.head().await, bench.audited().await);
    assert_eq!(bench.store.insert_certificate(&actor(), new.clone()).await.unwrap(), first);
    assert_eq!((bench.head().await, bench.audited().await), (head, audited));
    let other = NewCertificate { chain_pem: "other".to_owned(), ..new };
    let error = bench.store.insert_certificate(&actor(), other).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { code: "certificate_exists", .. }), "{error}");
}

async fn a_certificate_that_cannot_serve_is_refused(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let other = bench.app(bench.tenant("two").await.id, "other").await;
    let keep = async |new| bench.store.insert_certificate(&actor(), new).await.unwrap_err();
    let new = bench.new_certificate(&app, &["a.example.com"]);
    let ended = NewCertificate { not_after: bench.now(), ..new.clone() };
    assert!(matches!(keep(ended).await, StoreError::Invalid { field: "not_after", .. }));
    let early = NewCertificate { not_before: bench.now().plus(HOUR), ..new.clone() };
    assert!(matches!(keep(early).await, StoreError::Invalid { field: "not_before", .. }));
    let nameless = NewCertificate { names: vec![], ..new.clone() };
    assert!(matches!(keep(nameless).await, StoreError::Invalid { field: "names", .. }));
    let foreign = NewCertificate { app: Some(other.id), ..new };
    assert!(matches!(keep(foreign).await, StoreError::NotFound { what: "app", .. }));
    assert!(served(&bench).await.is_empty());
}

async fn an_ended_certificate_is_served_no_more(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let certificate = bench.certificate(&app, &["a.example.com"]).await;
    assert_eq!(bench.store.expire_certificates().await.unwrap(), 0);
    bench.clock.advance(DAY * 90);
    assert_eq!(status(&bench, certificate.id).await, CertificateStatus::Expired);
    assert!(served(&bench).await.is_empty());
    assert_eq!(bench.store.active_certificate_for(&host("a.example.com")).await.unwrap(), None);
    let head = bench.head().await;
    assert_eq!(bench.store.expire_certificates().await.unwrap(), 1);
    assert_eq!(bench.head().await.0, head.0 + 1);
    assert_eq!(bench.store.expire_certificates().await.unwrap(), 0);
}

async fn a_certificate_is_due_when_a_third_of_its_life_is_left(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let certificate = bench.certificate(&app, &["a.example.com"]).await;
    bench.proved_domain(app.id, "b.example.com").await;
    let upload = NewCertificate {
        source: CertificateSource::Upload,
        ..bench.new_certificate(&app, &["b.example.com"])
    };
    bench.store.insert_certificate(&actor(), upload).await.unwrap();
    let due = async |at| -> Vec<_> {
        bench.store.certificates_due(at, 10).await.unwrap().iter().map(|found| found.id).collect()
    };
    let third = certificate.not_after.minus(DAY * 30);
    assert!(due(third.minus(HOUR)).await.is_empty());
    assert_eq!(due(third).await, [certificate.id]);
    let new = NewOrder {
        host: host("a.example.com").into(),
        names: certificate.names.clone(),
        tenant: certificate.tenant,
        app: certificate.app,
        domain: None,
        urgency: Urgency::Waiting,
    };
    bench.store.begin_order(new).await.unwrap().unwrap();
    assert!(due(third).await.is_empty(), "an order is under way");
}

async fn a_name_is_served_exactly_or_by_a_wildcard_of_one_label(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let wildcard = platform(bench.new_certificate(&app, &["*.example.com"]));
    let wildcard = bench.store.insert_certificate(&actor(), wildcard).await.unwrap();
    let found = async |name: &str| {
        bench.store.active_certificate_for(&host(name)).await.unwrap().map(|certificate| certificate.id)
    };
    assert_eq!(found("a.example.com").await, Some(wildcard.id));
    assert_eq!((found("example.com").await, found("x.a.example.com").await), (None, None));
    let exact = bench.certificate(&app, &["a.example.com"]).await;
    assert_eq!(found("a.example.com").await, Some(exact.id));
}

async fn a_certificate_goes_with_the_last_of_its_names(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let a = bench.proved_domain(app.id, "a.example.com").await;
    let b = bench.proved_domain(app.id, "b.example.com").await;
    let both = bench.certificate(&app, &["a.example.com", "b.example.com"]).await;
    let only = bench.certificate(&app, &["a.example.com"]).await;
    bench.store.delete_domain(&actor(), Access::Platform, a.id).await.unwrap();
    assert_eq!(served(&bench).await, [both.id]);
    let gone = bench.store.certificate(Access::Platform, only.id).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
    bench.store.delete_domain(&actor(), Access::Platform, b.id).await.unwrap();
    assert!(served(&bench).await.is_empty());
}

async fn certificates_are_found_by_app_and_name(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let (one, two) = (bench.app(tenant, "one").await, bench.app(tenant, "two").await);
    let first = bench.certificate(&one, &["a.example.com"]).await;
    let second = bench.certificate(&two, &["b.example.com", "c.example.com"]).await;
    let found = async |access, filter: CertificateFilter| {
        bench.store.certificates(access, &filter, &Page::default()).await.unwrap().items
    };
    let all = found(Access::Tenant(tenant), CertificateFilter::default()).await;
    assert_eq!(all, [first.clone(), second.clone()]);
    let by_app = CertificateFilter { app: Some(one.id), name: None };
    assert_eq!(found(Access::Platform, by_app).await, [first]);
    let by_name = CertificateFilter { app: None, name: Some(host("c.example.com").into()) };
    assert_eq!(found(Access::Platform, by_name).await, [second]);
}

async fn an_app_of_a_public_zone_wants_an_order_until_it_is_covered(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let (shop, blog) = (bench.app(tenant, "shop").await, bench.app(tenant, "blog").await);
    let zone = host("apps.example.com");
    let wanting = async |at| -> Vec<_> {
        let apps = bench.store.uncertified_apps(&zone, at, 10).await.unwrap();
        apps.iter().map(|app| app.name.to_string()).collect()
    };
    assert_eq!(wanting(bench.now()).await, ["shop", "blog"]);
    let certificate = bench.certificate(&shop, &["shop.apps.example.com"]).await;
    assert_eq!(wanting(bench.now()).await, ["blog"]);
    assert_eq!(wanting(certificate.not_after.minus(DAY * 30)).await, ["shop", "blog"]);
    let name = host("blog.apps.example.com");
    let names = vec!["blog.apps.example.com".parse().unwrap()];
    let new = NewOrder {
        host: name.into(),
        names,
        tenant: Some(tenant),
        app: Some(blog.id),
        domain: None,
        urgency: Urgency::Waiting,
    };
    bench.store.begin_order(new).await.unwrap().unwrap();
    assert!(wanting(bench.now()).await.is_empty(), "an order is under way");
    let wildcard = NewCertificate {
        source: CertificateSource::Upload,
        tenant: None,
        app: None,
        ..bench.new_certificate(&shop, &["*.apps.example.com"])
    };
    let wildcard = bench.store.insert_certificate(&actor(), wildcard).await.unwrap();
    let nearly = wildcard.not_after.minus(HOUR);
    assert!(wanting(nearly).await.is_empty(), "an uploaded wildcard covers all to its end");
}

async fn a_key_is_not_kept_for_ever(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let first = bench.certificate(&app, &["www.example.com"]).await;
    bench.tick();
    let second = bench.certificate(&app, &["www.example.com"]).await;
    let there = async |id| bench.store.certificate(Access::Platform, id).await.is_ok();
    bench.clock.advance(first.not_after.since(bench.now()) + DAY * 29);
    bench.store.expire_certificates().await.unwrap();
    assert_eq!(bench.store.purge_certificates().await.unwrap(), 0);
    bench.clock.advance(DAY * 2);
    assert_eq!(bench.store.purge_certificates().await.unwrap(), 2);
    assert!(!there(first.id).await && !there(second.id).await);
    assert_eq!(bench.store.purge_certificates().await.unwrap(), 0);
    bench.tick();
    let third = bench.certificate(&app, &["www.example.com"]).await;
    assert!(there(third.id).await, "the name goes on");
}

on_both_engines! {
    a_key_is_not_kept_for_ever,
    owners_of_uploads_are_warned_at_21_7_and_1_days_once_each,
    a_late_upload_is_warned_of_by_the_most_urgent_warning_only,
    after_a_roll_back_renewal_waits_for_half_of_what_is_left,
    what_its_authority_called_back_is_told_from_what_was_due,
    a_certificate_that_was_overtaken_on_its_way_is_not_served,
    of_several_the_exact_and_then_the_last_made_serves,
    an_app_has_certificates_for_its_own_names_only,
    an_app_of_a_public_zone_wants_an_order_until_it_is_covered,
    a_newer_certificate_supersedes_the_older_of_the_same_names_at_once,
    keeping_the_same_certificate_again_changes_nothing,
    a_certificate_that_cannot_serve_is_refused,
    an_ended_certificate_is_served_no_more,
    a_certificate_is_due_when_a_third_of_its_life_is_left,
    a_name_is_served_exactly_or_by_a_wildcard_of_one_label,
    a_certificate_goes_with_the_last_of_its_names,
    certificates_are_found_by_app_and_name,
}
