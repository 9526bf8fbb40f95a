//! Records set for creators: one wish at a time, fenced hands, and credentials that are forgotten.

use std::time::Duration;

use model::domain::connection::{ConnectionStatus, Connector, Door, PREVIEW_WINDOW, Step, UNDO_WINDOW};
use model::id::DomainId;
use store::{Access, Connection, ConnectionPatch, Keep, StoreError, Wish};

use crate::bench::{Bench, actor, sealed};
use crate::on_both_engines;

const TTL: Duration = Duration::from_secs(60);

fn wish(step: Step) -> Wish {
    Wish { step, opening: Some((Door::to(Connector::Cloudflare), sealed())), keep: true }
}

fn again(step: Step) -> Wish {
    Wish { opening: None, ..wish(step) }
}

async fn domain(bench: &Bench) -> DomainId {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    bench.domain(app.id, "www.example.com").await.id
}

async fn wished(bench: &Bench, id: DomainId, wish: Wish) -> Result<Connection, StoreError> {
    bench.store.wish_connection(&actor(), Access::Platform, id, wish).await
}

/// certd takes it in hand and writes down what it found.
async fn done(bench: &Bench, id: DomainId, patch: ConnectionPatch) -> Connection {
    let held = bench.store.lease_connection(id, "one", TTL).await.unwrap();
    bench.store.update_connection(id, held.fence, patch).await.unwrap()
}

fn applied(until: Keep) -> ConnectionPatch {
    ConnectionPatch {
        status: Some(ConnectionStatus::Applied),
        applied: Some(Some("{}".to_owned())),
        keep: until,
        ..ConnectionPatch::default()
    }
}

fn code(error: &StoreError) -> &'static str {
    match error {
        StoreError::Conflict { code, .. } => code,
        StoreError::Invalid { field, .. } => field,
        _ => "?",
    }
}

async fn steps_come_in_their_order(bench: Bench) {
    let id = domain(&bench).await;
    assert_eq!(bench.store.connection(Access::Platform, id).await.unwrap(), None);
    let refused = async |wish: Wish| code(&wished(&bench, id, wish).await.unwrap_err());
    assert_eq!(refused(wish(Step::Undo)).await, "nothing_to_undo");
    assert_eq!(refused(again(Step::Apply)).await, "token");
    wished(&bench, id, wish(Step::Preview)).await.unwrap();
    let shown = ConnectionPatch {
        status: Some(ConnectionStatus::Previewed),
        plan: Some(Some("shown".to_owned())),
        ..ConnectionPatch::default()
    };
    done(&bench, id, shown).await;
    let asked = wished(&bench, id, again(Step::Apply)).await.unwrap();
    assert_eq!((asked.plan.as_deref(), asked.status), (Some("shown"), ConnectionStatus::Working));
    assert_eq!(refused(again(Step::Apply)).await, "connection_working");
    assert_eq!(refused(wish(Step::Preview)).await, "connection_working");
    done(&bench, id, applied(Keep::AsItIs)).await;
    assert_eq!(refused(wish(Step::Apply)).await, "connection_applied");
    let other = Wish { opening: Some((Door::to(Connector::DigitalOcean), sealed())), ..wish(Step::Undo) };
    assert_eq!(refused(other).await, "provider");
    let undoing = wished(&bench, id, again(Step::Undo)).await.unwrap();
    assert_eq!(undoing.applied.as_deref(), Some("{}"));
}

async fn a_preview_that_was_shown_is_of_no_use_to_another_key(bench: Bench) {
    let id = domain(&bench).await;
    wished(&bench, id, wish(Step::Preview)).await.unwrap();
    let shown = ConnectionPatch {
        status: Some(ConnectionStatus::Previewed),
        plan: Some(Some("shown".to_owned())),
        ..ConnectionPatch::default()
    };
    done(&bench, id, shown).await;
    assert_eq!(wished(&bench, id, wish(Step::Apply)).await.unwrap().plan, None);
}

async fn who_slept_through_a_lease_writes_nothing(bench: Bench) {
    let id = domain(&bench).await;
    wished(&bench, id, wish(Step::Apply)).await.unwrap();
    let first = bench.store.lease_connection(id, "one", TTL).await.unwrap();
    assert!(bench.store.due_connections(bench.now(), 2, 10).await.unwrap().is_empty());
    assert!(matches!(bench.store.lease_connection(id, "two", TTL).await, Err(StoreError::Fenced { .. })));
    bench.clock.advance(TTL / 2);
    bench.store.extend_connection_lease(id, first.fence, TTL).await.unwrap();
    bench.clock.advance(TTL);
    assert_eq!(bench.store.due_connections(bench.now(), 2, 10).await.unwrap().len(), 1);
    let second = bench.store.lease_connection(id, "two", TTL).await.unwrap();
    for late in [
        bench.store.update_connection(id, first.fence, applied(Keep::AsItIs)).await.map(drop),
        bench.store.extend_connection_lease(id, first.fence, TTL).await,
    ] {
        assert!(matches!(late, Err(StoreError::Fenced { .. })));
    }
    bench.store.update_connection(id, second.fence, applied(Keep::AsItIs)).await.unwrap();
    let ended = bench.store.update_connection(id, second.fence, applied(Keep::AsItIs)).await;
    assert!(matches!(ended, Err(StoreError::Fenced { .. })), "a step ends once");
    // Forgotten and begun anew: the holder of then is still nobody.
    bench.store.forget_connection(&actor(), Access::Platform, id).await.unwrap();
    bench.clock.advance(TTL);
    wished(&bench, id, wish(Step::Apply)).await.unwrap();
    let anew = bench.store.lease_connection(id, "three", TTL).await.unwrap();
    assert!(anew.fence > second.fence);
}

async fn a_tenant_with_many_wishes_leaves_room_for_another(bench: Bench) {
    let app = bench.app(bench.tenant("many").await.id, "shop").await;
    for number in 0..5 {
        let id = bench.domain(app.id, &format!("shop{number}.example.com")).await.id;
        wished(&bench, id, wish(Step::Preview)).await.unwrap();
    }
    let other = bench.app(bench.tenant("few").await.id, "flowers").await;
    let last = bench.domain(other.id, "flowers.example.org").await.id;
    wished(&bench, last, wish(Step::Preview)).await.unwrap();
    let due = bench.store.due_connections(bench.now(), 2, 10).await.unwrap();
    let of = |tenant| due.iter().filter(|wished| wished.tenant == tenant).count();
    assert_eq!((due.len(), of(app.tenant), of(other.tenant)), (3, 2, 1));
}

async fn a_credential_is_forgotten_when_its_time_is_over(bench: Bench) {
    let id = domain(&bench).await;
    let held = async || {
        bench.store.forget_credentials().await.unwrap();
        bench.store.connection(Access::Platform, id).await.unwrap().unwrap().credential.is_some()
    };
    wished(&bench, id, wish(Step::Preview)).await.unwrap();
    let failed = ConnectionPatch { status: Some(ConnectionStatus::Failed), ..ConnectionPatch::default() };
    done(&bench, id, failed).await;
    assert!(held().await);
    bench.clock.advance(PREVIEW_WINDOW);
    assert!(!held().await, "a preview of which no use was made");

    wished(&bench, id, wish(Step::Apply)).await.unwrap();
    done(&bench, id, applied(Keep::Until(bench.now().plus(UNDO_WINDOW)))).await;
    bench.clock.advance(UNDO_WINDOW - TTL);
    assert!(held().await);
    bench.clock.advance(TTL);
    assert!(!held().await);
    assert_eq!(code(&wished(&bench, id, again(Step::Undo)).await.unwrap_err()), "token");
    wished(&bench, id, wish(Step::Undo)).await.unwrap();
    let undone = ConnectionPatch {
        status: Some(ConnectionStatus::Undone),
        applied: Some(None),
        keep: Keep::Not,
        ..ConnectionPatch::default()
    };
    assert_eq!(done(&bench, id, undone).await.credential, None);
    assert_eq!(bench.count("SELECT COUNT(*) FROM connections WHERE credential_sealed IS NOT NULL").await, 0);
}

async fn records_are_taken_back_where_they_were_set(bench: Bench) {
    let id = domain(&bench).await;
    let opened = |step, door: &Door| Wish { opening: Some((door.clone(), sealed())), ..wish(step) };
    let power = Door { url: Some("https://dns.example.net".to_owned()), ..Door::to(Connector::PowerDns) };
    let updates = Door {
        server: Some("192.0.2.53:53".to_owned()),
        key_name: Some("one".to_owned()),
        ..Door::to(Connector::Rfc2136)
    };
    let elsewhere = "https://canary.example.net".to_owned();
    let cases = [
        ("url", &power, Door { url: Some(elsewhere), ..power.clone() }, power.clone()),
        (
            "server",
            &updates,
            Door { server: Some("198.51.100.53:53".to_owned()), ..updates.clone() },
            Door { key_name: Some("two".to_owned()), ..updates.clone() },
        ),
    ];
    for (field, set, other, fitting) in cases {
        wished(&bench, id, opened(Step::Apply, set)).await.unwrap();
        done(&bench, id, applied(Keep::AsItIs)).await;
        let refused = wished(&bench, id, opened(Step::Undo, &other)).await.unwrap_err();
        assert_eq!(code(&refused), field, "{refused}");
        wished(&bench, id, opened(Step::Undo, &fitting)).await.unwrap();
        let undone = ConnectionPatch {
            status: Some(ConnectionStatus::Undone),
            applied: Some(None),
            ..ConnectionPatch::default()
        };
        done(&bench, id, undone).await;
    }
}

async fn what_is_left_behind_is_told_until_it_is_taken_back(bench: Bench) {
    let id = domain(&bench).await;
    wished(&bench, id, wish(Step::Apply)).await.unwrap();
    let half = ConnectionPatch { status: Some(ConnectionStatus::Incomplete), ..applied(Keep::AsItIs) };
    done(&bench, id, half).await;
    for step in [Step::Preview, Step::Apply] {
        assert_eq!(code(&wished(&bench, id, wish(step)).await.unwrap_err()), "connection_applied");
    }
    let undoing = wished(&bench, id, again(Step::Undo)).await.unwrap();
    assert!(undoing.findings.partial);
    let held = bench.store.lease_connection(id, "one", TTL).await.unwrap();
    assert!(held.findings.partial && held.fence > undoing.fence);
}

async fn no_domain_goes_while_its_records_are_being_set(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await.id;
    let id = bench.domain(app, "www.example.com").await.id;
    wished(&bench, id, wish(Step::Apply)).await.unwrap();
    let refused = bench.store.delete_domain(&actor(), Access::Platform, id).await.unwrap_err();
    assert_eq!(code(&refused), "connection_working");
    let refused = bench.store.delete_app(&actor(), Access::Platform, app, None).await.unwrap_err();
    assert_eq!(code(&refused), "connection_working");
    done(&bench, id, applied(Keep::AsItIs)).await;
    bench.store.delete_domain(&actor(), Access::Platform, id).await.unwrap();
    let audit = bench.text("SELECT details FROM audit WHERE action = 'domain.delete'").await;
    assert!(audit.contains(r#""records_stay_at":"cloudflare""#), "{audit}");
}

async fn a_connection_goes_with_its_domain_and_is_nobody_elses(bench: Bench) {
    let id = domain(&bench).await;
    let stranger = Access::Tenant(bench.tenant("two").await.id);
    let refused = bench.store.wish_connection(&actor(), stranger, id, wish(Step::Preview)).await;
    assert!(matches!(refused, Err(StoreError::NotFound { what: "domain", .. })));
    wished(&bench, id, wish(Step::Preview)).await.unwrap();
    assert!(bench.store.connection(stranger, id).await.is_err());
    assert!(bench.store.forget_connection(&actor(), stranger, id).await.is_err());
    let audit = bench.text("SELECT details FROM audit WHERE action = 'domain.connect'").await;
    assert!(audit.contains("cloudflare") && !audit.contains("v1."), "{audit}");
    bench.store.delete_domain(&actor(), Access::Platform, id).await.unwrap();
    assert_eq!(bench.count("SELECT COUNT(*) FROM connections").await, 0);
}

on_both_engines!(
    steps_come_in_their_order,
    a_preview_that_was_shown_is_of_no_use_to_another_key,
    who_slept_through_a_lease_writes_nothing,
    a_tenant_with_many_wishes_leaves_room_for_another,
    a_credential_is_forgotten_when_its_time_is_over,
    records_are_taken_back_where_they_were_set,
    what_is_left_behind_is_told_until_it_is_taken_back,
    no_domain_goes_while_its_records_are_being_set,
    a_connection_goes_with_its_domain_and_is_nobody_elses,
);
