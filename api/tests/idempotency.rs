//! A POST that is sent twice happens once.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::Method;
use serde_json::json;

use crate::desk;

#[tokio::test]
async fn the_same_request_happens_once_and_is_answered_twice() {
    let desk = desk::open().await;
    let body = json!({"name": "Ann", "slug": "ann"});
    let send = || desk.post("/v1/tenants", &body).header("idempotency-key", "one").send();
    let (first, second) = (send().await, send().await);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
    assert_eq!(first.body, second.body);
    assert_eq!((first.etag(), &first.headers["location"]), (second.etag(), &second.headers["location"]));
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(second.headers["content-type"], first.headers["content-type"]);
    assert_ne!(first.headers["request-id"], second.headers["request-id"]);
}

#[tokio::test]
async fn another_body_or_path_under_the_same_key_is_refused() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let send = |path: String, name: &str| {
        let body = json!({"name": name, "slug": "bob"});
        desk.post(&path, &body).header("idempotency-key", "one").send()
    };
    send("/v1/tenants".to_owned(), "Bob").await.of(201);
    assert_eq!(send("/v1/tenants".to_owned(), "Eve").await.refusal(), (422, "idempotency_mismatch"));
    assert_eq!(
        send(format!("/v1/tenants/{tenant}/apps"), "Bob").await.refusal(),
        (422, "idempotency_mismatch")
    );
}

#[tokio::test]
async fn keys_of_different_callers_do_not_meet() {
    let desk = desk::open().await;
    let (ann, bob) = (desk.tenant("ann").await, desk.tenant("bob").await);
    for tenant in [&ann, &bob] {
        let key = desk.tenant_key(tenant).await;
        let call = desk.post("/v1/keys", &json!({"scope": "tenant"})).header("idempotency-key", "one");
        assert_eq!(call.send_as(&key).await.of(201)["tenant"], json!(tenant));
    }
}

#[tokio::test]
async fn a_request_that_changed_nothing_may_be_sent_again() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let send = || {
        let body = json!({"name": "Other", "slug": "ann"});
        desk.post("/v1/tenants", &body).header("idempotency-key", "one").send()
    };
    assert_eq!(send().await.refusal(), (409, "slug_taken"));
    desk.delete(&format!("/v1/tenants/{tenant}")).send().await.of(204);
    send().await.of(201);
}

#[tokio::test]
async fn a_secret_is_not_given_again_and_the_answer_says_so() {
    let desk = desk::open().await;
    let send = || desk.post("/v1/keys", &json!({"scope": "edge"})).header("idempotency-key", "one").send();
    let (first, second) = (send().await.of(201), send().await.of(201));
    let secret = first["secret"].as_str().unwrap();
    assert_eq!((&first["id"], &second["secret"]), (&second["id"], &json!(null)));
    assert!(second["note"].as_str().unwrap().contains("not kept"));
    assert!(!second.to_string().contains(secret));
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day() {
    let desk = desk::open().await;
    let send = || desk.post("/v1/keys", &json!({"scope": "edge"})).header("idempotency-key", "one").send();
    let first = send().await.of(201);
    desk.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(send().await.of(201)["id"], first["id"]);
    desk.clock.advance(Duration::from_secs(2));
    assert_ne!(send().await.of(201)["id"], first["id"]);
}

#[tokio::test]
async fn of_many_at_once_one_is_carried_out() {
    let desk = desk::open().await;
    let body = json!({"name": "Ann", "slug": "ann"});
    let send = || desk.post("/v1/tenants", &body).header("idempotency-key", "one").send();
    let (a, b, c, d) = tokio::join!(send(), send(), send(), send());
    for reply in [&a, &b, &c, &d] {
        assert!(matches!(reply.refusal(), (201, _) | (409, "idempotency_running")), "{}", reply.body);
    }
    let list = desk.get("/v1/tenants").send().await.of(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_under_way_is_told_to_wait_and_a_dead_one_is_forgotten() {
    let desk = desk::open().await;
    let list = desk.get("/v1/keys").send().await.of(200);
    let caller = list["data"][0]["id"].as_str().unwrap().parse().unwrap();
    let body = json!({"name": "Ann", "slug": "ann"});
    // What a process that is busy with it, or that died over it, leaves: begun and not finished.
    let hash = digest(&SHA256, format!("/v1/tenants\n{body}").as_bytes());
    let fingerprint: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    desk.store.begin_idempotent(caller, "one", &fingerprint).await.unwrap();
    let send = || desk.post("/v1/tenants", &body).header("idempotency-key", "one").send();
    let reply = send().await;
    assert_eq!(reply.refusal(), (409, "idempotency_running"));
    assert_eq!(reply.headers["retry-after"], "1");
    desk.clock.advance(Duration::from_secs(121));
    send().await.of(201);
}

#[tokio::test]
async fn a_key_that_is_no_key_is_refused() {
    let desk = desk::open().await;
    for key in ["", &"x".repeat(256), "tab\there"] {
        let call = desk.call(Method::POST, "/v1/tenants").text("{}").header("idempotency-key", key);
        assert_eq!(call.send().await.refusal(), (400, "invalid_header"), "{key}");
    }
    let body = json!({"name": "Ann", "slug": "ann"});
    desk.post("/v1/tenants", &body).header("idempotency-key", &"x".repeat(255)).send().await.of(201);
}
