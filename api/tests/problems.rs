//! Every refusal is a problem in the same form.

use std::time::Duration;

use api::Settings;
use http::Method;
use model::id::RequestId;
use serde_json::{Value, json};

use crate::desk::{self, Desk};

/// A refusal with a request id of our own choice.
async fn golden(desk: &Desk, method: Method, path: &str, key: bool) -> Value {
    let id = "req_01JD0Z6B3XQ4V8T9M2K7R5W1EP";
    let call = desk.call(method, path).header("request-id", id);
    if key { call.send().await.body } else { call.send_bare().await.body }
}

#[tokio::test]
async fn problems_have_their_stable_form() {
    let desk = desk::open().await;
    let problem = |status: u16, title: &str, code: &str, detail: &str| {
        json!({
            "type": "about:blank", "title": title, "status": status, "code": code, "detail": detail,
            "request_id": "req_01JD0Z6B3XQ4V8T9M2K7R5W1EP", "errors": [],
        })
    };
    assert_eq!(
        golden(&desk, Method::GET, "/v1/tenants", false).await,
        problem(
            401,
            "Unauthorized",
            "key_missing",
            "A key is needed: send it as Authorization: Bearer sk_live_…"
        )
    );
    assert_eq!(
        golden(&desk, Method::GET, "/v1/tenants/t_1", true).await,
        problem(404, "Not Found", "not_found", "There is no such tenant, or this key may not see it.")
    );
    assert_eq!(
        golden(&desk, Method::GET, "/v2", false).await,
        problem(
            404,
            "Not Found",
            "unknown_route",
            "There is no such path. /v1/openapi.json tells all there are."
        )
    );
    assert_eq!(
        golden(&desk, Method::PUT, "/v1/tenants", false).await,
        problem(
            405,
            "Method Not Allowed",
            "method_not_allowed",
            "This path does not have this method; the header Allow tells which it has."
        )
    );
    let mut expected = problem(422, "Unprocessable Entity", "invalid", "/slug: missing field `slug`.");
    expected["errors"] = json!([{"pointer": "/slug", "code": "missing", "message": "missing field `slug`"}]);
    let reply = desk
        .post("/v1/tenants", &json!({"name": "x"}))
        .header("request-id", "req_01JD0Z6B3XQ4V8T9M2K7R5W1EP")
        .send()
        .await;
    assert_eq!(reply.body, expected);
}

#[tokio::test]
async fn a_wrong_method_tells_the_right_ones() {
    let desk = desk::open().await;
    let reply = desk.put("/v1/tenants", &json!({})).send_bare().await;
    assert_eq!(reply.refusal(), (405, "method_not_allowed"));
    let allow = reply.headers["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST") && !allow.contains("PUT"), "{allow}");
}

#[tokio::test]
async fn a_missing_key_is_answered_with_the_scheme() {
    let desk = desk::open().await;
    let reply = desk.get("/v1/keys").send_bare().await;
    assert_eq!(reply.refusal(), (401, "key_missing"));
    assert_eq!(reply.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn only_a_request_id_of_our_form_is_taken() {
    let desk = desk::open().await;
    for given in ["x", "t_01JD0Z6B3XQ4V8T9M2K7R5W1EP", "req_1", "<script>"] {
        let reply = desk.get("/healthz").header("request-id", given).send_bare().await;
        let id = reply.headers["request-id"].to_str().unwrap();
        assert!(id != given && id.parse::<RequestId>().is_ok());
    }
}

#[tokio::test]
async fn a_body_that_is_no_sound_json_is_refused_for_its_reason() {
    let desk = desk::open().await;
    let post = || desk.call(Method::POST, "/v1/tenants");
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(api::MAX_BODY_BYTES));
    for (call, refusal) in [
        (post().text("{"), (400, "not_json")),
        (post().text("{} {}"), (400, "not_json")),
        (post().text(""), (400, "not_json")),
        (post().text(vec![0xff, 0xfe]), (400, "not_json")),
        (post().text("[".repeat(1000)), (400, "not_json")),
        (post().text(large.clone()), (413, "body_too_large")),
        (post().text(large).header("idempotency-key", "x"), (413, "body_too_large")),
        (post().raw("{}"), (415, "unsupported_media_type")),
        (post().raw("{}").header("content-type", "text/plain"), (415, "unsupported_media_type")),
        (post().text("7"), (422, "invalid")),
        (post().text(r#"{"name": "x", "slug": 7}"#), (422, "invalid")),
        (post().text(r#"{"name": "x", "slug": "x", "name": "y"}"#), (422, "invalid")),
    ] {
        assert_eq!(call.send().await.refusal(), refusal);
    }
}

#[tokio::test]
async fn who_may_not_see_a_thing_learns_nothing_from_how_a_body_is_refused() {
    let desk = desk::open().await;
    let (ann, bob) = (desk.tenant("ann").await, desk.tenant("bob").await);
    let (app, key) = (desk.app(&ann, "hello").await, desk.tenant_key(&bob).await);
    for path in [
        format!("/v1/tenants/{ann}/apps"),
        format!("/v1/apps/{app}/domains"),
        format!("/v1/apps/{app}/certificates"),
    ] {
        assert_eq!(
            desk.call(Method::POST, &path).text("{").send_as(&key).await.refusal(),
            (404, "not_found")
        );
    }
    for path in [format!("/v1/tenants/{ann}"), format!("/v1/apps/{app}")] {
        assert_eq!(
            desk.call(Method::PATCH, &path).text("{").send_as(&key).await.refusal(),
            (404, "not_found")
        );
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_our_problem_and_says_to_try_again() {
    let desk = desk::open().await;
    assert_eq!(desk.get("/readyz").send_bare().await.of(200), json!({"status": "ok"}));
    desk.store.close().await;
    for path in ["/readyz", "/v1/tenants"] {
        let reply = desk.get(path).send().await;
        assert_eq!(reply.refusal(), (503, "unavailable"), "{path}");
        assert!(reply.headers.contains_key("retry-after"));
        assert!(!reply.body.to_string().contains("pool"), "{}", reply.body);
    }
    assert_eq!(desk.get("/healthz").send_bare().await.of(200), json!({"status": "ok"}));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let desk = desk::open_with(Settings { request_timeout: Duration::ZERO, ..Settings::default() }).await;
    let reply = desk.get("/v1/tenants").send().await;
    assert_eq!(reply.refusal(), (504, "timeout"));
}
