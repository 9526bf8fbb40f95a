//! The feed of edges that run apart, and of the edge in the same process.

use std::time::Duration;

use api::StoreOrigin;
use feed::Origin as _;
use model::certificate::Certificate;
use model::change::{Batch, Lineage, Object, Revision};
use model::id::EdgeId;
use model::seal::SealingKey;
use model::ticket::TicketKey;
use serde_json::{Value, json};

use crate::desk::{self, Desk};

fn certificates(batch: &Batch) -> Vec<&Certificate> {
    let objects = batch.changes.iter().filter_map(|change| change.object.as_ref());
    objects
        .filter_map(|object| if let Object::Certificate(found) = object { Some(found) } else { None })
        .collect()
}

async fn with_certificate(desk: &Desk) {
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let made = crate::certificates::certificate(&["hello.apps.localhost"]);
    desk.post(&format!("/v1/apps/{app}/certificates"), &made).send().await.of(201);
}

fn batch(body: Value) -> Batch {
    serde_json::from_value(body).unwrap()
}

#[tokio::test]
async fn private_keys_are_sealed_for_the_edge_that_asks() {
    let desk = desk::open().await;
    with_certificate(&desk).await;
    let (one, other) = (desk.edge_key().await, desk.edge_key().await);
    let changes = batch(desk.get("/v1/edge/changes").send_as(&one).await.of(200));
    assert!(changes.reset && !changes.more);
    let sealed = certificates(&changes).first().copied().unwrap();
    let context = Certificate::key_context(sealed.id);
    let derive = |secret: &model::secret::Secret| {
        SealingKey::derive(secret.reveal().as_bytes(), "stoa edge feed").unwrap()
    };
    let stored = desk.store.certificate(store::Access::Platform, sealed.id).await.unwrap();
    assert_eq!(
        derive(&one).open(&context, &sealed.key).unwrap().as_slice(),
        desk.master.open(&context, &stored.key).unwrap().as_slice()
    );
    assert!(derive(&other).open(&context, &sealed.key).is_err());
    assert!(desk.master.open(&context, &sealed.key).is_err());
}

#[tokio::test]
async fn ticket_keys_are_sealed_for_the_edge_that_asks() {
    let desk = desk::open().await;
    let made = TicketKey::generate(desk.store.now(), &desk.master).unwrap();
    desk.store.put_ticket_key(&store::Actor::system("test"), &made).await.unwrap();
    let (one, other) = (desk.edge_key().await, desk.edge_key().await);
    let changes = batch(desk.get("/v1/edge/changes").send_as(&one).await.of(200));
    let told = changes.changes.iter().find_map(|change| match &change.object {
        Some(Object::TicketKey(key)) => Some(key),
        _ => None,
    });
    let (told, context) = (told.unwrap(), TicketKey::key_context(made.id));
    let open = |secret: &model::secret::Secret| {
        SealingKey::derive(secret.reveal().as_bytes(), "stoa edge feed").unwrap().open(&context, &told.key)
    };
    assert_eq!(open(&one).unwrap(), desk.master.open(&context, &made.key).unwrap());
    assert!(open(&other).is_err() && desk.master.open(&context, &told.key).is_err());
}

#[tokio::test]
async fn a_key_that_does_not_open_stops_nothing_else() {
    let desk = desk::open().await;
    with_certificate(&desk).await;
    let other = SealingKey::generate();
    let state = api::State::new(desk.store.clone(), other, api::Settings::default());
    let desk = Desk { router: api::router(state), ..desk };
    let key = desk.edge_key().await;
    let changes = batch(desk.get("/v1/edge/changes").send_as(&key).await.of(200));
    let sealed = certificates(&changes).first().copied().unwrap();
    assert!(desk.master.open(&Certificate::key_context(sealed.id), &sealed.key).is_ok());
    assert!(changes.changes.len() > 1);
}

#[tokio::test]
async fn nothing_is_passed_over_for_want_of_the_key_that_the_store_names() {
    let desk = desk::open().await;
    with_certificate(&desk).await;
    let by = store::Actor::system("test");
    desk.store.begin_sealing(&by, &desk.master.fingerprint()).await.unwrap();
    desk.store.begin_sealing(&by, "00000000").await.unwrap();
    assert_eq!(
        desk.store.sealing_key().await.unwrap(),
        Some(desk.master.fingerprint()),
        "the first one stays"
    );
    let state = api::State::new(desk.store.clone(), SealingKey::generate(), api::Settings::default());
    let desk = Desk { router: api::router(state), ..desk };
    let key = desk.edge_key().await;
    desk.get("/v1/edge/changes").send_as(&key).await.of(503);
}

#[tokio::test]
async fn an_edge_waits_for_a_change_and_gets_it() {
    let desk = desk::open().await;
    let key = desk.edge_key().await;
    desk.tenant("ann").await;
    let first = batch(desk.get("/v1/edge/changes?after=0&wait_ms=30000").send_as(&key).await.of(200));
    let path = format!("/v1/edge/changes?lineage={}&after={}", first.lineage.0, first.next);
    let nothing = batch(desk.get(&path).send_as(&key).await.of(200));
    assert_eq!((nothing.changes.len(), nothing.reset, nothing.next), (0, false, first.next));
    let waiting = format!("{path}&wait_ms=30000");
    let (changes, tenant) = tokio::join!(desk.get(&waiting).send_as(&key), desk.tenant("bob"));
    let changes = batch(changes.of(200));
    assert_eq!(changes.changes.len(), 1);
    assert!(serde_json::to_string(&changes).unwrap().contains(&tenant));
    let short = batch(desk.get(&format!("{path}1&wait_ms=1")).send_as(&key).await.of(200));
    assert!(short.reset, "a revision beyond the head begins anew");
}

#[tokio::test]
async fn the_edge_in_process_gets_keys_as_they_are_stored() {
    let desk = desk::open().await;
    with_certificate(&desk).await;
    let origin = StoreOrigin::new(desk.store.clone());
    let changes = origin.changes(&Lineage::default(), Revision(0), Duration::ZERO).await.unwrap();
    let sealed = certificates(&changes).first().copied().unwrap();
    assert!(desk.master.open(&Certificate::key_context(sealed.id), &sealed.key).is_ok());
}

#[tokio::test]
async fn pages_of_the_log_are_the_whole_of_it() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    for number in 0..520 {
        let body = json!({"name": format!("app-{number}")});
        desk.post(&format!("/v1/tenants/{tenant}/apps"), &body).send().await.of(201);
    }
    let origin = StoreOrigin::new(desk.store.clone());
    let (mut lineage, mut after, mut seen) = (Lineage::default(), Revision(0), 0);
    loop {
        let page = origin.changes(&lineage, after, Duration::ZERO).await.unwrap();
        seen += page.changes.len();
        (lineage, after) = (page.lineage, page.next);
        if !page.more {
            break;
        }
    }
    assert_eq!((seen, after), (521, desk.store.head().await.unwrap()));
}

#[tokio::test]
async fn usage_is_taken_once_and_a_report_is_shown() {
    let desk = desk::open().await;
    let key = desk.edge_key().await;
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let edge = EdgeId::generate(desk.store.now()).to_string();
    let row = json!({
        "tenant": tenant, "app": app, "window": "2026-11-22T18:30:00Z", "class": "visitor",
        "requests": 3, "bytes_in": 30, "bytes_out": 300,
    });
    let usage = json!({"edge": edge, "sequence": 1, "rows": [row]});
    for _ in 0..2 {
        desk.post("/v1/edge/usage", &usage).send_as(&key).await.of(204);
    }
    let summed = desk.get(&format!("/v1/tenants/{tenant}/usage")).send().await.of(200);
    assert_eq!(summed["requests"], json!(3));
    let report = json!({
        "edge": edge, "revision": 1, "version": "0.1.0", "started_at": "2026-11-22T18:00:00Z", "sites": 1, "certificates": 0,
    });
    desk.post("/v1/edge/report", &report).send_as(&key).await.of(204);
    let edges = desk.get("/v1/platform/edges").send().await.of(200);
    let shown = &edges["data"][0];
    assert_eq!((&shown["id"], &shown["revision"], &shown["sites"]), (&json!(edge), &json!(1), &json!(1)));
    assert_eq!(shown["lag"], json!(desk.store.head().await.unwrap().0 - 1));
}

#[tokio::test]
async fn a_key_cannot_speak_for_the_edge_of_another() {
    let desk = desk::open().await;
    let (one, other) = (desk.edge_key().await, desk.edge_key().await);
    let edge = EdgeId::generate(desk.store.now()).to_string();
    let usage = json!({"edge": edge, "sequence": 1, "rows": []});
    let report = json!({
        "edge": edge, "revision": 1, "version": "0.1.0", "started_at": "2026-11-22T18:00:00Z", "sites": 1, "certificates": 0,
    });
    desk.post("/v1/edge/usage", &usage).send_as(&one).await.of(204);
    for (path, body) in [("/v1/edge/usage", &usage), ("/v1/edge/report", &report)] {
        let reply = desk.post(path, body).send_as(&other).await;
        assert_eq!(reply.refusal(), (403, "edge_of_another_key"), "{path}");
        assert!(reply.body["detail"].as_str().unwrap().contains(&edge), "{}", reply.body);
        desk.post(path, body).send_as(&one).await.of(204);
    }
    let embedded = StoreOrigin::new(desk.store.clone());
    let refused = embedded.usage(&serde_json::from_value(usage).unwrap()).await;
    assert!(matches!(refused, Err(feed::OriginError::Refused(_))), "{refused:?}");
    let own = json!({"edge": EdgeId::generate(desk.store.now()).to_string(), "sequence": 1, "rows": []});
    embedded.usage(&serde_json::from_value(own).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_message_that_no_edge_sends_is_refused() {
    let desk = desk::open().await;
    let key = desk.edge_key().await;
    let edge = EdgeId::generate(desk.store.now()).to_string();
    for body in
        [json!({"edge": edge, "sequence": 0, "rows": []}), json!({"edge": "x", "sequence": 1, "rows": []})]
    {
        assert_eq!(
            desk.post("/v1/edge/usage", &body).send_as(&key).await.refusal(),
            (422, "invalid"),
            "{body}"
        );
    }
    for query in ["after=x", "after=-1", "wait_ms=x", "wait=1"] {
        let reply = desk.get(&format!("/v1/edge/changes?{query}")).send_as(&key).await;
        assert_eq!(reply.refusal(), (400, "invalid_query"), "{query}");
    }
    let large =
        json!({"edge": edge, "sequence": 1, "rows": [], "x": "x".repeat(api::MAX_BODY_BYTES)}).to_string();
    let reply = desk.call(http::Method::POST, "/v1/edge/usage").text(large).send_as(&key).await;
    assert_ne!(reply.status.as_u16(), 413);
}

#[tokio::test]
async fn only_an_edge_follows_the_feed() {
    let desk = desk::open().await;
    assert_eq!(desk.get("/v1/edge/changes").send().await.refusal(), (403, "scope_missing"));
    let key = desk.edge_key().await;
    for path in ["/v1/tenants", "/v1/keys", "/v1/audit-events", "/v1/platform/edges", "/v1/certificates"] {
        assert_eq!(desk.get(path).send_as(&key).await.refusal(), (403, "scope_missing"), "{path}");
    }
}
