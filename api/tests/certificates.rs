//! Certificates: upload, list, renewal.

use std::time::Duration;

use model::certificate::{Certificate, CertificateSource};
use model::id::CertificateId;
use model::{Host, Timestamp};
use serde_json::{Value, json};
use store::{Access, Actor, NewCertificate};

use crate::desk::{self, Desk};
use crate::domains::prove;

/// A chain and key as they are uploaded.
pub(crate) fn certificate(names: &[&str]) -> Value {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    json!({"chain": made.cert.pem(), "key": made.signing_key.serialize_pem()})
}

async fn app_of(desk: &Desk, slug: &str) -> (String, String) {
    let tenant = desk.tenant(slug).await;
    let app = desk.app(&tenant, slug).await;
    (tenant, app)
}

#[tokio::test]
async fn an_uploaded_certificate_is_served_and_its_key_is_sealed() {
    let desk = desk::open().await;
    let (tenant, app) = app_of(&desk, "ann").await;
    let body = certificate(&["ann.apps.localhost"]);
    let reply = desk.post(&format!("/v1/apps/{app}/certificates"), &body).send().await;
    let id = reply.clone().created("id");
    assert!(!reply.body.to_string().contains("PRIVATE"), "{}", reply.body);
    assert_eq!((&reply.body["source"], &reply.body["status"]), (&json!("upload"), &json!("active")));
    assert_eq!((&reply.body["app_id"], &reply.body["tenant_id"]), (&json!(app), &json!(tenant)));
    let stored = desk.store.certificate(Access::Platform, id.parse().unwrap()).await.unwrap();
    let der = desk.master.open(&Certificate::key_context(stored.id), &stored.key).unwrap();
    assert!(!der.is_empty());
    assert_eq!(desk.get(&format!("/v1/certificates/{id}")).send().await.of(200), reply.body);
}

#[tokio::test]
async fn a_newer_upload_supersedes_the_older() {
    let desk = desk::open().await;
    let (_, app) = app_of(&desk, "ann").await;
    let path = format!("/v1/apps/{app}/certificates");
    for _ in 0..2 {
        desk.post(&path, &certificate(&["ann.apps.localhost"])).send().await.of(201);
        desk.clock.advance(Duration::from_secs(1));
    }
    let list = desk.get(&format!("/v1/certificates?app={app}&name=ann.apps.localhost")).send().await.of(200);
    let statuses: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|entry| entry["status"].clone()).collect();
    assert_eq!(statuses, ["superseded", "active"]);
    let none = desk.get("/v1/certificates?name=other.example.com").send().await.of(200);
    assert_eq!(none["data"], json!([]));
    assert_eq!(desk.get("/v1/certificates?app=x").send().await.refusal(), (400, "invalid_query"));
}

#[tokio::test]
async fn names_that_are_not_the_apps_own_are_refused_each() {
    let desk = desk::open().await;
    let (_, app) = app_of(&desk, "ann").await;
    let (_, other) = app_of(&desk, "bob").await;
    let unproved = desk.domain(&app, "shop.example.com").await;
    let proved = desk.domain(&other, "bob.example.com").await;
    prove(&desk, &proved).await;
    let path = format!("/v1/apps/{app}/certificates");
    for name in
        ["shop.example.com", "bob.example.com", "bob.apps.localhost", "*.apps.localhost", "apps.localhost"]
    {
        let reply = desk.post(&path, &certificate(&["ann.apps.localhost", name])).send().await;
        assert_eq!(
            (reply.refusal(), reply.faults()),
            ((422, "invalid"), vec![("/chain", "name_not_of_app")]),
            "{name}"
        );
        assert!(reply.body["detail"].as_str().unwrap().contains(name), "{}", reply.body);
    }
    prove(&desk, &unproved).await;
    desk.post(&path, &certificate(&["ann.apps.localhost", "shop.example.com"])).send().await.of(201);
}

#[tokio::test]
async fn a_chain_and_key_that_cannot_be_used_are_refused_by_part() {
    let desk = desk::open().await;
    let (_, app) = app_of(&desk, "ann").await;
    let path = format!("/v1/apps/{app}/certificates");
    let (one, other) = (certificate(&["ann.apps.localhost"]), certificate(&["ann.apps.localhost"]));
    for (body, pointer) in [
        (json!({"chain": one["chain"], "key": other["key"]}), "/key"),
        (json!({"chain": one["chain"], "key": ""}), "/key"),
        (json!({"chain": "", "key": one["key"]}), "/chain"),
        (json!({"chain": one["key"], "key": one["key"]}), "/chain"),
    ] {
        let reply = desk.post(&path, &body).send().await;
        assert_eq!((reply.refusal(), reply.faults()), ((422, "invalid"), vec![(pointer, "invalid")]));
        assert!(!reply.body.to_string().contains("PRIVATE KEY-----M"), "{}", reply.body);
    }
    let list = desk.get("/v1/certificates").send().await.of(200);
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn renewal_is_asked_for_where_it_makes_sense() {
    let desk = desk::open().await;
    let (tenant, app) = app_of(&desk, "ann").await;
    let uploaded = desk.post(&format!("/v1/apps/{app}/certificates"), &certificate(&["ann.apps.localhost"]));
    let uploaded = uploaded.send().await.created("id");
    let renew = |id: &str| desk.call(http::Method::POST, &format!("/v1/certificates/{id}/renew"));
    assert_eq!(renew(&uploaded).send().await.refusal(), (409, "not_renewable"));
    let ordered = insert(&desk, &tenant, &app).await;
    assert!(desk.store.certificates_due(desk.store.now(), 10).await.unwrap().is_empty());
    assert_eq!(renew(&ordered.to_string()).send().await.of(202)["status"], "active");
    let due = desk.store.certificates_due(desk.store.now(), 10).await.unwrap();
    assert_eq!(due.iter().map(|certificate| certificate.id).collect::<Vec<_>>(), [ordered]);
    insert(&desk, &tenant, &app).await;
    assert_eq!(renew(&ordered.to_string()).send().await.refusal(), (409, "not_renewable"));
}

/// A certificate as an authority would have given it.
async fn insert(desk: &Desk, tenant: &str, app: &str) -> CertificateId {
    // A tick later, so that its id sorts after the last one.
    desk.clock.advance(Duration::from_millis(1));
    let id = CertificateId::generate(desk.store.now());
    let new = NewCertificate {
        id,
        tenant: Some(tenant.parse().unwrap()),
        app: Some(app.parse().unwrap()),
        source: CertificateSource::Acme,
        issuer: "Test".to_owned(),
        serial: "01".to_owned(),
        names: vec![model::certificate::CertificateName::Exact(Host::parse("ann.apps.localhost").unwrap())],
        chain_pem: id.to_string(),
        key: desk.master.seal(&Certificate::key_context(id), b"key").unwrap(),
        not_before: Timestamp::from_unix_millis(desk::NOW - 1000),
        not_after: Timestamp::from_unix_millis(desk::NOW + 90 * 86_400_000),
    };
    desk.store.insert_certificate(&Actor::system("certd"), new).await.unwrap().id
}
