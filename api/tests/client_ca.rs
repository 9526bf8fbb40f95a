//! Authorities for client certificates.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::desk;

/// An authority's certificate, PEM.
fn authority() -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Members");
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

#[tokio::test]
async fn an_authority_is_set_shown_and_removed() {
    let desk = desk::open().await;
    let app = desk.app(&desk.tenant("ann").await, "hello").await;
    let id = desk.domain(&app, "shop.example.com").await;
    let path = format!("/v1/domains/{id}/client-ca");
    let shown = async || desk.get(&format!("/v1/domains/{id}")).send().await.of(200)["client_ca"].clone();
    assert_eq!(shown().await, Value::Null);
    let pem = authority();
    let domain = desk.put(&path, &json!({ "pem": pem })).send().await.of(200);
    assert_eq!(domain["client_ca"][0]["subject"], "CN=Members");
    assert!(domain["client_ca"][0]["not_after"].as_str().unwrap().ends_with('Z'));
    assert_eq!(shown().await, domain["client_ca"]);
    for _ in 0..2 {
        desk.delete(&path).send().await.of(204);
    }
    assert_eq!(shown().await, Value::Null);
    let events = desk.get("/v1/audit-events").send().await.of(200);
    let actions: Vec<&str> =
        events["data"].as_array().unwrap().iter().filter_map(|event| event["action"].as_str()).collect();
    assert_eq!(
        actions.iter().filter(|action| action.starts_with("domain.client_ca.")).count(),
        2,
        "{actions:?}"
    );
}

#[tokio::test]
async fn what_is_no_authority_is_refused_with_the_reason() {
    let desk = desk::open().await;
    let app = desk.app(&desk.tenant("ann").await, "hello").await;
    let path = format!("/v1/domains/{}/client-ca", desk.domain(&app, "shop.example.com").await);
    let leaf = rcgen::generate_simple_self_signed(vec!["shop.example.com".to_owned()]).unwrap();
    for (pem, reason) in [
        (String::new(), "no certificate found"),
        (leaf.cert.pem(), "is not an authority's"),
        (leaf.signing_key.serialize_pem(), "the text holds a private key"),
        ("x".repeat(65_537), "the text has 65537 bytes"),
    ] {
        let reply = desk.put(&path, &json!({ "pem": pem })).send().await;
        assert_eq!(reply.refusal(), (422, "invalid"));
        let fault = &reply.body["errors"][0];
        assert_eq!(fault["pointer"], "/pem");
        assert!(fault["message"].as_str().unwrap().contains(reason), "{fault}");
    }
}
