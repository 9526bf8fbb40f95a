//! Certificates: upload, list, renewal.

use std::time::Duration;

use model::certificate::{Certificate, CertificateSource};
use model::id::CertificateId;
use model::{Host, Timestamp};
use serde_json::{Value, json};
use store::{Access, Actor, NewCertificate};

use crate::desk::{self, Desk};
use crate::domains::prove;

const CA: &str = "https://ca.test/directory";

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
        authority: Some(CA.to_owned()),
        issuer: "Test".to_owned(),
        serial: "01".to_owned(),
        names: vec![model::HostPattern::Exact(Host::parse("ann.apps.localhost").unwrap())],
        chain_pem: id.to_string(),
        key: desk.master.seal(&Certificate::key_context(id), b"key").unwrap(),
        not_before: Timestamp::from_unix_millis(desk::NOW - 1000),
        not_after: Timestamp::from_unix_millis(desk::NOW + 90 * 86_400_000),
    };
    desk.store.insert_certificate(&Actor::system("certd"), new).await.unwrap().id
}

/// Two uploads for an app's own name; gives the path of uploads and what was answered.
async fn uploaded_twice(desk: &Desk) -> (String, [Value; 2]) {
    let (_, app) = app_of(desk, "ann").await;
    let path = format!("/v1/apps/{app}/certificates");
    let first = desk.post(&path, &certificate(&["ann.apps.localhost"])).send().await.of(201);
    desk.clock.advance(Duration::from_secs(1));
    let second = desk.post(&path, &certificate(&["ann.apps.localhost"])).send().await.of(201);
    desk.clock.advance(Duration::from_secs(1));
    (path, [first, second])
}

fn roll_back(certificate: &Value) -> String {
    format!("/v1/certificates/{}/roll-back", certificate["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_roll_back_serves_the_certificate_before_with_its_own_key() {
    let desk = desk::open().await;
    let (path, [first, second]) = uploaded_twice(&desk).await;
    let again = desk.post(&roll_back(&second), &json!({})).send().await.of(201);
    assert_eq!((&again["serial"], &again["status"]), (&first["serial"], &json!("active")));
    let served =
        desk.store.active_certificate_for(&Host::parse("ann.apps.localhost").unwrap()).await.unwrap();
    let served = served.unwrap();
    assert_eq!(json!(served.id), again["id"]);
    let key = desk.master.open(&Certificate::key_context(served.id), &served.key).unwrap();
    assert!(
        model::chain::inspect(&served.chain_pem, &key, desk.store.now()).is_ok(),
        "key and chain belong together"
    );
    let of = |id: &Value| format!("/v1/certificates/{}", id.as_str().unwrap());
    assert_eq!(desk.get(&of(&second["id"])).send().await.of(200)["status"], "rolled_back");
    let events = desk.get("/v1/audit-events").send().await.of(200).to_string();
    assert!(events.contains("certificate.roll_back"), "{events}");

    let nothing = desk.post(&roll_back(&again), &json!({})).send().await;
    assert_eq!(nothing.refusal(), (409, "not_rolled_back"), "never to the one that was rolled back from");
    assert!(nothing.body["detail"].as_str().unwrap().starts_with("No other certificate"), "{}", nothing.body);
    let gone = desk.post(&roll_back(&second), &json!({})).send().await;
    assert_eq!(gone.refusal(), (409, "not_rolled_back"), "it is not served");
    desk.clock.advance(Duration::from_secs(1));
    let third = desk.post(&path, &certificate(&["ann.apps.localhost"])).send().await.of(201);
    desk.clock.advance(Duration::from_secs(1));
    let back = desk.post(&roll_back(&third), &json!({})).send().await.of(201);
    assert_eq!(back["serial"], first["serial"]);
}

#[tokio::test]
async fn what_is_rolled_back_to_is_its_authoritys_still() {
    let desk = desk::open().await;
    let (path, [_, current]) = uploaded_twice(&desk).await;
    let uploaded = current["id"].as_str().unwrap().parse().unwrap();
    let held = desk.store.certificate(Access::Platform, uploaded).await.unwrap();
    // As if that one had been ordered: its key and chain are a pair.
    let id = CertificateId::generate(desk.store.now());
    let key = desk.master.open(&Certificate::key_context(uploaded), &held.key).unwrap();
    let ordered = NewCertificate {
        id,
        tenant: held.tenant,
        app: held.app,
        source: CertificateSource::Acme,
        authority: Some(CA.to_owned()),
        issuer: held.issuer,
        serial: held.serial,
        names: held.names,
        chain_pem: held.chain_pem,
        key: desk.master.seal(&Certificate::key_context(id), &key).unwrap(),
        not_before: held.not_before,
        not_after: held.not_after,
    };
    desk.store.insert_certificate(&Actor::system("certd"), ordered).await.unwrap();
    desk.clock.advance(Duration::from_secs(1));
    let newer = desk.post(&path, &certificate(&["ann.apps.localhost"])).send().await.of(201);
    desk.clock.advance(Duration::from_secs(1));
    let again = desk.post(&roll_back(&newer), &json!({})).send().await.of(201);
    let again = again["id"].as_str().unwrap().parse().unwrap();
    let again = desk.store.certificate(Access::Platform, again).await.unwrap();
    assert_eq!((again.source, again.authority.as_deref()), (CertificateSource::Acme, Some(CA)));
}

#[tokio::test]
async fn a_roll_back_is_for_whoever_may_see_the_certificate() {
    let desk = desk::open().await;
    let (_, [_, second]) = uploaded_twice(&desk).await;
    let other = desk.tenant("bob").await;
    let key = desk.tenant_key(&other).await;
    let refused = desk.post(&roll_back(&second), &json!({})).send_as(&key).await;
    assert_eq!(refused.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_certificate_that_ended_or_is_damaged_is_not_rolled_back_to() {
    let desk = desk::open().await;
    let (_, [first, second]) = uploaded_twice(&desk).await;
    let id: CertificateId = first["id"].as_str().unwrap().parse().unwrap();
    let before = desk.store.certificate(Access::Platform, id).await.unwrap();
    let old = NewCertificate {
        id: CertificateId::generate(desk.store.now()),
        tenant: before.tenant,
        app: before.app,
        source: CertificateSource::Upload,
        authority: None,
        issuer: "test".to_owned(),
        serial: "beef".to_owned(),
        names: before.names.clone(),
        chain_pem: before.chain_pem.clone(),
        key: before.key.clone(),
        not_before: before.not_before,
        not_after: desk.store.now().plus(Duration::from_secs(60)),
    };
    desk.store.insert_certificate(&Actor::system("test"), old).await.unwrap();
    desk.clock.advance(Duration::from_secs(1));
    let new =
        desk.post(second_path(&second).as_str(), &certificate(&["ann.apps.localhost"])).send().await.of(201);
    let damaged = desk.post(&roll_back(&new), &json!({})).send().await;
    assert_eq!(damaged.refusal(), (409, "not_rolled_back"));
    assert!(damaged.body["detail"].as_str().unwrap().contains("does not open"), "{}", damaged.body);
    desk.clock.advance(Duration::from_secs(60));
    let ended = desk.post(&roll_back(&new), &json!({})).send().await;
    assert!(ended.body["detail"].as_str().unwrap().contains("ended at"), "{}", ended.body);
}

fn second_path(certificate: &Value) -> String {
    format!("/v1/apps/{}/certificates", certificate["app_id"].as_str().unwrap())
}
