//! The audit log: what an event tells, who reads it, and that tampering is found.

use model::id::{KeyId, RequestId};
use model::tenant::Slug;
use store::{Access, Actor, AuditFilter, AuditVerdict, NewTenant, Page};

use crate::bench::{Bench, actor};
use crate::on_both_engines;

async fn an_event_tells_who_did_what(bench: Bench) {
    let key = KeyId::generate(bench.now());
    let by = Actor {
        request: Some(RequestId::generate(bench.now())),
        ip: Some("2001:db8::1".parse().unwrap()),
        ..Actor::with_key(key)
    };
    let new = NewTenant { name: "One".to_owned(), slug: Slug::parse("one").unwrap() };
    let tenant = bench.store.create_tenant(&by, new).await.unwrap();
    let filter = AuditFilter { key: Some(key), ..AuditFilter::default() };
    let page = bench.store.audit_events(Access::Platform, &filter, &Page::default()).await.unwrap();
    let [event] = page.items.as_slice() else { panic!("{page:?}") };
    assert_eq!((&event.actor, event.action.as_str()), (&by, "tenant.create"));
    assert_eq!((&event.target, event.tenant), (&tenant.id.to_string(), Some(tenant.id)));
    assert_eq!(event.details["slug"], "one");
}

async fn a_tenant_reads_its_own_events_only(bench: Bench) {
    let (own, other) = (bench.tenant("own").await.id, bench.tenant("other").await.id);
    let app = bench.app(own, "shop").await;
    bench.app(other, "other").await;
    let found = async |access, filter: AuditFilter| -> Vec<String> {
        let page = bench.store.audit_events(access, &filter, &Page::default()).await.unwrap();
        page.items.into_iter().map(|event| event.target).collect()
    };
    let own_events = found(Access::Tenant(own), AuditFilter::default()).await;
    assert_eq!(own_events, [app.id.to_string(), own.to_string()], "newest first");
    assert_eq!(found(Access::Platform, AuditFilter::default()).await.len(), 4);
    let by_target = AuditFilter { target: Some(other.to_string()), ..AuditFilter::default() };
    assert!(found(Access::Tenant(own), by_target).await.is_empty());
    let by_action = AuditFilter { action: Some("app.create".to_owned()), ..AuditFilter::default() };
    assert_eq!(found(Access::Platform, by_action).await.len(), 2);
}

async fn pages_go_back_in_time(bench: Bench) {
    for number in 0..5 {
        bench.tenant(&format!("t{number}")).await;
    }
    let (mut seen, mut page) = (Vec::new(), Page::first(2));
    loop {
        let answer =
            bench.store.audit_events(Access::Platform, &AuditFilter::default(), &page).await.unwrap();
        seen.extend(answer.items.iter().map(|event| event.sequence));
        match answer.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
}

async fn tampering_is_found_where_it_was_done(bench: Bench) {
    for number in 0..4 {
        bench.tenant(&format!("t{number}")).await;
    }
    let verdict = async || bench.store.verify_audit().await.unwrap();
    assert_eq!(verdict().await, AuditVerdict::Intact { events: 4 });
    bench.execute("UPDATE audit SET actor_name = 'nobody' WHERE sequence = 2").await;
    assert!(matches!(verdict().await, AuditVerdict::Broken { sequence: 2, .. }));
    bench.execute("UPDATE audit SET actor_name = 'test' WHERE sequence = 2").await;
    assert_eq!(verdict().await, AuditVerdict::Intact { events: 4 });
    bench.execute("UPDATE audit SET details = 'no json' WHERE sequence = 1").await;
    assert!(matches!(verdict().await, AuditVerdict::Broken { sequence: 1, .. }));
}

async fn a_removed_event_is_missed(bench: Bench) {
    for number in 0..4 {
        bench.tenant(&format!("t{number}")).await;
    }
    bench.execute("DELETE FROM audit WHERE sequence = 4").await;
    let verdict = bench.store.verify_audit().await.unwrap();
    assert!(matches!(verdict, AuditVerdict::Broken { sequence: 4, .. }), "{verdict:?}");
    bench.execute("DELETE FROM audit WHERE sequence = 2").await;
    let verdict = bench.store.verify_audit().await.unwrap();
    assert_eq!(verdict, AuditVerdict::Broken { sequence: 2, reason: "the event is missing".to_owned() });
}

async fn a_refused_change_leaves_no_event(bench: Bench) {
    bench.tenant("one").await;
    let audited = bench.audited().await;
    let new = NewTenant { name: "Again".to_owned(), slug: Slug::parse("one").unwrap() };
    assert!(bench.store.create_tenant(&actor(), new).await.is_err());
    assert_eq!(bench.audited().await, audited);
    assert_eq!(bench.store.verify_audit().await.unwrap(), AuditVerdict::Intact { events: 1 });
}

on_both_engines! {
    an_event_tells_who_did_what,
    a_tenant_reads_its_own_events_only,
    pages_go_back_in_time,
    tampering_is_found_where_it_was_done,
    a_removed_event_is_missed,
    a_refused_change_leaves_no_event,
}
