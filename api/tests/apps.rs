//! Apps.

use serde_json::json;

use crate::desk;

#[tokio::test]
async fn an_app_is_made_listed_read_changed_and_deleted() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let id = desk.app(&tenant, "hello").await;
    let path = format!("/v1/apps/{id}");
    let app = desk.get(&path).send().await.of(200);
    assert_eq!((&app["hostname"], &app["tenant_id"]), (&json!("hello.apps.localhost"), &json!(tenant)));
    assert_eq!(app["backends"], json!([{"url": "http://127.0.0.1:3000", "weight": 1}]));
    let list = desk.get(&format!("/v1/tenants/{tenant}/apps")).send().await.of(200);
    assert_eq!(list["data"], json!([app]));
    let backends = json!([{"url": "https://[::1]:8443", "weight": 0}]);
    let app = desk.patch(&path, &json!({"backends": backends})).send().await.of(200);
    assert_eq!(app["backends"], backends);
    desk.delete(&path).send().await.of(204);
    assert_eq!(desk.get(&path).send().await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_patch_merges_deep_and_null_sets_the_default() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let path = format!("/v1/apps/{}", desk.app(&tenant, "hello").await);
    let before = desk.get(&path).send().await.of(200);
    let patch = json!({
        "settings": {"health_path": "/up", "total_timeout_ms": 1000, "hedge_after_ms": 10},
        "headers": {"content_security_policy": {"script_src": ["'self'", "https://cdn.example.com"]}},
    });
    let app = desk.patch(&path, &patch).send().await.of(200);
    assert_eq!(
        (&app["settings"]["health_path"], &app["settings"]["hedge_after_ms"]),
        (&json!("/up"), &json!(10))
    );
    assert_eq!(app["settings"]["connect_timeout_ms"], before["settings"]["connect_timeout_ms"]);
    let policy = &app["headers"]["content_security_policy"];
    assert_eq!(policy["script_src"], json!(["'self'", "https://cdn.example.com"]));
    assert_eq!(policy["default_src"], json!(["'self'"]));
    let app = desk.patch(&path, &json!({"settings": {"health_path": null}})).send().await.of(200);
    assert_eq!(
        (&app["settings"]["health_path"], &app["settings"]["total_timeout_ms"]),
        (&json!(null), &json!(1000))
    );
    let app =
        desk.patch(&path, &json!({"settings": null, "headers": null, "backends": null})).send().await.of(200);
    assert_eq!((&app["settings"], &app["headers"]), (&before["settings"], &before["headers"]));
    assert_eq!(app["backends"], json!([]));
}

#[tokio::test]
async fn every_fault_of_an_app_is_told_at_once() {
    let desk = desk::open().await;
    let path = format!("/v1/tenants/{}/apps", desk.tenant("ann").await);
    let body = json!({
        "name": "admin",
        "backends": [{"url": "ftp://a.test"}, {"url": "http://a.test"}, {"url": "http://b.test", "weight": 1001}],
        "settings": {"connect_timeout_ms": 0},
    });
    let reply = desk.post(&path, &body).send().await;
    assert_eq!(reply.refusal(), (422, "invalid"));
    let faults = [
        ("/name", "invalid"),
        ("/backends/0/url", "invalid"),
        ("/backends/2/weight", "invalid"),
        ("/settings", "invalid"),
    ];
    assert_eq!(reply.faults(), faults);
    assert!(reply.body["errors"][1]["message"].as_str().unwrap().contains("ftp://a.test"));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_pointer() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let path = format!("/v1/apps/{}", desk.app(&tenant, "hello").await);
    for (patch, fault) in [
        (json!({"name": "other"}), ("/name", "unknown_field")),
        (json!({"settings": {"conect_timeout_ms": 1}}), ("/settings/conect_timeout_ms", "unknown_field")),
        (json!({"settings": {"connect_timeout_ms": "1"}}), ("/settings/connect_timeout_ms", "wrong_type")),
        (json!({"settings": {"hedge_after_ms": 9}}), ("/settings", "invalid")),
        (json!({"settings": {"hedge_after_ms": 60_001}}), ("/settings", "invalid")),
        (json!({"backends": [{"weight": 1}]}), ("/backends/0/url", "missing")),
        (json!({"backends": [{"url": "http://a.test", "weight": -1}]}), ("/backends/0/weight", "invalid")),
        (
            json!({"headers": {"content_security_policy": {"img_src": ["*"]}}}),
            ("/headers/content_security_policy/img_src/0", "invalid"),
        ),
        (json!([1]), ("", "wrong_type")),
    ] {
        let reply = desk.patch(&path, &patch).send().await;
        assert_eq!((reply.refusal(), reply.faults()), ((422, "invalid"), vec![fault]), "{patch}");
    }
    let many: Vec<_> =
        (0..33).map(|port| json!({"url": format!("http://127.0.0.1:{}", 3000 + port)})).collect();
    assert_eq!(desk.patch(&path, &json!({"backends": many})).send().await.refusal(), (409, "too_many"));
}

#[tokio::test]
async fn a_taken_name_is_a_conflict_whoever_has_it() {
    let desk = desk::open().await;
    let (ann, bob) = (desk.tenant("ann").await, desk.tenant("bob").await);
    desk.app(&ann, "hello").await;
    let reply = desk.post(&format!("/v1/tenants/{bob}/apps"), &json!({"name": "hello"})).send().await;
    assert_eq!(reply.refusal(), (409, "name_taken"));
}
