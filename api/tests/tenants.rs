//! Tenants and their limits.

use serde_json::json;

use crate::desk;

#[tokio::test]
async fn a_tenant_is_made_read_changed_suspended_resumed_and_deleted() {
    let desk = desk::open().await;
    let id = desk.tenant("ann").await;
    let path = format!("/v1/tenants/{id}");
    let tenant = desk.get(&path).send().await.of(200);
    assert_eq!(
        (&tenant["slug"], &tenant["status"], &tenant["plan_id"]),
        (&json!("ann"), &json!("active"), &json!(null))
    );
    let tenant = desk.patch(&path, &json!({"name": "Ann's"})).send().await.of(200);
    assert_eq!((&tenant["name"], &tenant["slug"]), (&json!("Ann's"), &json!("ann")));
    let tenant = desk.post(&format!("{path}/suspend"), &json!({"reason": "unpaid"})).send().await.of(200);
    assert_eq!((&tenant["status"], &tenant["suspended_reason"]), (&json!("suspended"), &json!("unpaid")));
    let tenant = desk.call(http::Method::POST, &format!("{path}/resume")).send().await.of(200);
    assert_eq!((&tenant["status"], &tenant["suspended_reason"]), (&json!("active"), &json!(null)));
    let tenant = desk.call(http::Method::POST, &format!("{path}/suspend")).send().await.of(200);
    assert_eq!(tenant["suspended_reason"], "suspended by an operator");
    desk.delete(&path).send().await.of(204);
    assert_eq!(desk.get(&path).send().await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_taken_slug_is_a_conflict_that_names_it() {
    let desk = desk::open().await;
    desk.tenant("ann").await;
    let reply = desk.post("/v1/tenants", &json!({"name": "Other", "slug": "ann"})).send().await;
    assert_eq!(reply.refusal(), (409, "slug_taken"));
    assert_eq!(reply.faults(), [("/slug", "slug_taken")]);
    assert_eq!(reply.body["detail"], "Slug `ann` is taken.");
}

#[tokio::test]
async fn a_change_without_effect_leaves_no_trace() {
    let desk = desk::open().await;
    let path = format!("/v1/tenants/{}", desk.tenant("ann").await);
    let before = desk.get(&path).send().await.etag();
    let reply = desk.patch(&path, &json!({"name": "ann"})).send().await;
    assert_eq!((reply.status.as_u16(), reply.etag()), (200, before));
}

#[tokio::test]
async fn nobody_overwrites_what_they_have_not_seen() {
    let desk = desk::open().await;
    let path = format!("/v1/tenants/{}", desk.tenant("ann").await);
    let seen = desk.get(&path).send().await.etag();
    let change = |name: &str, tag: &str| desk.patch(&path, &json!({"name": name})).header("if-match", tag);
    let changed = change("one", &seen).send().await;
    assert_ne!(changed.etag(), seen);
    assert_eq!(change("two", &seen).send().await.refusal(), (412, "stale"));
    assert_eq!(change("two", "7").send().await.refusal(), (400, "invalid_header"));
    assert_eq!(change("two", &changed.etag()).send().await.of(200)["name"], "two");
    assert_eq!(change("three", "*").send().await.of(200)["name"], "three");
}

#[tokio::test]
async fn nobody_deletes_what_they_have_not_seen() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    for (path, change) in [
        (format!("/v1/apps/{app}"), json!({"backends": []})),
        (format!("/v1/tenants/{tenant}"), json!({"name": "Ann"})),
    ] {
        let seen = desk.get(&path).send().await.etag();
        let changed = desk.patch(&path, &change).send().await.etag();
        let delete = |tag: &str| desk.delete(&path).header("if-match", tag);
        assert_eq!(delete(&seen).send().await.refusal(), (412, "stale"), "{path}");
        assert_eq!(delete("7").send().await.refusal(), (400, "invalid_header"), "{path}");
        assert_eq!(desk.get(&path).send().await.etag(), changed);
        delete(&changed).send().await.of(204);
        assert_eq!(delete(&changed).send().await.refusal(), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn concurrent_changes_of_different_fields_all_stand() {
    let desk = desk::open().await;
    let path = format!("/v1/tenants/{}", desk.tenant("ann").await);
    let (name, slug) = (json!({"name": "Ann & Co"}), json!({"slug": "ann-co"}));
    let (one, other) = tokio::join!(desk.patch(&path, &name).send(), desk.patch(&path, &slug).send());
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
    let tenant = desk.get(&path).send().await.of(200);
    assert_eq!((&tenant["name"], &tenant["slug"]), (&json!("Ann & Co"), &json!("ann-co")));
}

#[tokio::test]
async fn pages_give_every_tenant_once() {
    let desk = desk::open().await;
    for number in 0..7 {
        desk.tenant(&format!("tenant-{number}")).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/tenants?limit=3".to_owned());
    loop {
        let page = desk.get(&path).send().await.of(200);
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 3);
        seen.extend(data.iter().map(|tenant| tenant["slug"].as_str().unwrap().to_owned()));
        match page["pagination"]["cursor"].as_str() {
            Some(cursor) => path = format!("/v1/tenants?limit=3&cursor={cursor}"),
            None => break assert_eq!(page["pagination"]["has_more"], false),
        }
    }
    seen.sort();
    assert_eq!(seen, (0..7).map(|number| format!("tenant-{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused_by_name() {
    let desk = desk::open().await;
    for (query, pointer) in [
        ("limit=0", "?limit"),
        ("limit=201", "?limit"),
        ("limit=x", "?limit"),
        ("limit=-1", "?limit"),
        ("cursor=%21", "?cursor"),
    ] {
        let reply = desk.get(&format!("/v1/tenants?{query}")).send().await;
        assert_eq!(reply.refusal(), (400, "invalid_query"), "{query}");
        assert_eq!(reply.faults(), [(pointer, "invalid")], "{query}");
    }
    assert_eq!(desk.get("/v1/tenants?limt=1").send().await.refusal(), (400, "invalid_query"));
    assert_eq!(desk.get("/v1/tenants?limit=200").send().await.refusal(), (200, ""));
}

#[tokio::test]
async fn limits_of_its_own_come_and_go() {
    let desk = desk::open().await;
    let path = format!("/v1/tenants/{}/limits", desk.tenant("ann").await);
    let default = desk.get(&path).send().await.of(200);
    assert_eq!(default["override"], json!(null));
    let own = json!({
        "tenant": {"requests_per_minute": 600, "burst": 50},
        "visitor": {"requests_per_minute": 60, "burst": 10},
    });
    let set = desk.put(&path, &own).send().await.of(200);
    assert_eq!((&set["effective"], &set["override"]), (&own, &own));
    assert_eq!(desk.get(&path).send().await.of(200), set);
    assert_eq!(desk.put(&path, &json!({})).send().await.of(200), default);
}

#[tokio::test]
async fn limits_that_cannot_be_meant_are_refused_by_pointer() {
    let desk = desk::open().await;
    let path = format!("/v1/tenants/{}/limits", desk.tenant("ann").await);
    let rate = json!({"requests_per_minute": 60, "burst": 10});
    for (body, fault) in [
        (json!({"tenant": rate}), ("/visitor", "missing")),
        (
            json!({"tenant": rate, "visitor": {"requests_per_minute": 60, "burst": 0}}),
            ("/visitor/burst", "invalid"),
        ),
        (json!({"tenant": rate, "visitor": {"requests_per_minute": 60}}), ("/visitor/burst", "missing")),
        (json!({"tenant": rate, "visitor": rate, "app": rate}), ("/app", "unknown_field")),
    ] {
        let reply = desk.put(&path, &body).send().await;
        assert_eq!((reply.refusal().0, reply.faults()), (422, vec![fault]), "{body}");
    }
}
