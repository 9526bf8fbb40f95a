//! API keys and what each scope may do.

use model::secret::Secret;
use serde_json::json;

use crate::desk;

#[tokio::test]
async fn a_key_is_made_used_listed_and_deleted() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let body = json!({"scopes": ["tenant"], "tenant": tenant, "name": "CI"});
    let made = desk.post("/v1/keys", &body).send().await.of(201);
    let secret = Secret::new(made["secret"].as_str().unwrap().to_owned());
    assert!(secret.reveal().starts_with(made["prefix"].as_str().unwrap()));
    assert_eq!(
        (&made["scopes"], &made["tenant"], &made["name"]),
        (&json!(["tenant"]), &json!(tenant), &json!("CI"))
    );
    assert_eq!(made["last_used"], json!(null));
    desk.get(&format!("/v1/tenants/{tenant}")).send_as(&secret).await.of(200);
    let list = desk.get("/v1/keys").send_as(&secret).await.of(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&list["data"][0]["id"], &list["data"][0]["last_used"]),
        (&made["id"], &json!("2026-11-22T18:30:00Z"))
    );
    assert!(!list.to_string().contains(secret.reveal()) && list["data"][0].get("secret").is_none());
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    desk.delete(&path).send().await.of(204);
    let reply = desk.get("/v1/tenants").send_as(&secret).await;
    assert_eq!(reply.refusal(), (401, "key_invalid"));
    assert_eq!(desk.delete(&path).send().await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_tenants_key_makes_keys_for_its_own_tenant_only() {
    let desk = desk::open().await;
    let (ann, bob) = (desk.tenant("ann").await, desk.tenant("bob").await);
    let key = desk.tenant_key(&ann).await;
    let made = desk.post("/v1/keys", &json!({"scope": "tenant"})).send_as(&key).await.of(201);
    assert_eq!(made["tenant"], json!(ann));
    desk.post("/v1/keys", &json!({"scope": "tenant", "tenant": ann})).send_as(&key).await.of(201);
    for scope in ["platform", "edge"] {
        let reply = desk.post("/v1/keys", &json!({"scope": scope})).send_as(&key).await;
        assert_eq!(reply.refusal(), (403, "scope_missing"));
    }
    let foreign = desk.post("/v1/keys", &json!({"scope": "tenant", "tenant": bob})).send_as(&key).await;
    let missing = json!({"scope": "tenant", "tenant": "t_01JD0Z6B3XQ4V8T9M2K7R5W1EP"});
    let missing = desk.post("/v1/keys", &missing).send_as(&key).await;
    assert_eq!((foreign.refusal(), foreign.anonymous()), ((404, "not_found"), missing.anonymous()));
}

#[tokio::test]
async fn scope_and_tenant_must_fit() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    for body in [
        json!({}),
        json!({"scopes": []}),
        json!({"scopes": ["tenant", "edge"], "tenant": tenant}),
        json!({"scopes": ["edge"], "scope": "edge"}),
        json!({"scope": "root"}),
        json!({"scope": "tenant"}),
        json!({"scope": "edge", "tenant": tenant}),
        json!({"scope": "platform", "tenant": tenant}),
        json!({"scope": "platform", "name": "\u{7}"}),
    ] {
        assert_eq!(desk.post("/v1/keys", &body).send().await.refusal(), (422, "invalid"), "{body}");
    }
}

#[tokio::test]
async fn a_key_cannot_delete_itself() {
    let desk = desk::open().await;
    let list = desk.get("/v1/keys").send().await.of(200);
    let own = list["data"][0]["id"].as_str().unwrap();
    assert_eq!(desk.delete(&format!("/v1/keys/{own}")).send().await.refusal(), (409, "own_key"));
}

#[tokio::test]
async fn what_a_tenant_may_see_but_not_do_is_403() {
    let desk = desk::open().await;
    let (ann, bob) = (desk.tenant("ann").await, desk.tenant("bob").await);
    let key = desk.tenant_key(&ann).await;
    let limits = json!({});
    for (tenant, refusal) in [(&ann, (403, "scope_missing")), (&bob, (404, "not_found"))] {
        let path = format!("/v1/tenants/{tenant}");
        assert_eq!(desk.post(&format!("{path}/suspend"), &json!({})).send_as(&key).await.refusal(), refusal);
        assert_eq!(desk.post(&format!("{path}/resume"), &json!({})).send_as(&key).await.refusal(), refusal);
        assert_eq!(desk.put(&format!("{path}/limits"), &limits).send_as(&key).await.refusal(), refusal);
        assert_eq!(desk.delete(&path).send_as(&key).await.refusal(), refusal);
    }
    let new = json!({"name": "x", "slug": "x"});
    assert_eq!(desk.post("/v1/tenants", &new).send_as(&key).await.refusal(), (403, "scope_missing"));
    assert_eq!(desk.get("/v1/platform/edges").send_as(&key).await.refusal(), (403, "scope_missing"));
    assert_eq!(desk.get("/v1/edge/changes").send_as(&key).await.refusal(), (403, "scope_missing"));
    let renamed =
        desk.patch(&format!("/v1/tenants/{ann}"), &json!({"name": "Ann"})).send_as(&key).await.of(200);
    assert_eq!(renamed["name"], "Ann");
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_the_same_whatever_is_wrong() {
    let desk = desk::open().await;
    let (unknown, _) = api::keys::mint(store::Scope::Platform, None);
    for value in [
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Bearer sk_live_short".to_owned(),
        format!("Basic {}", desk.operator.reveal()),
        format!("Bearer {}x", desk.operator.reveal()),
        format!("Bearer {}", unknown.reveal()),
    ] {
        let reply = desk.get("/v1/tenants").header("authorization", &value).send_bare().await;
        assert_eq!(reply.refusal(), (401, "key_invalid"));
        assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    let scheme = format!("bearer {}", desk.operator.reveal());
    desk.get("/v1/tenants").header("authorization", &scheme).send_bare().await.of(200);
}
