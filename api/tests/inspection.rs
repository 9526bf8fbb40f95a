//! A look at a domain before anything is done.

use serde_json::json;

use crate::desk;
use crate::domains::prove;

#[tokio::test]
async fn a_look_tells_what_is_there_and_what_would_change_and_that_mail_stays() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let key = desk.tenant_key(&tenant).await;
    let seen = desk.get("/v1/domains/inspect?host=Shop.Example.COM").send_as(&key).await.of(200);
    assert_eq!((&seen["hostname"], &seen["connectable"]), (&json!("shop.example.com"), &json!(true)));
    assert_eq!((&seen["status"], &seen["provider"]), (&json!(null), &json!("Gandi")));
    assert_eq!(seen["records"][0], json!({"type": "A", "name": "shop.example.com", "value": "198.51.100.1"}));
    let changes: Vec<String> = seen["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| format!("{} {} {}", change["change"], change["type"], change["value"]))
        .collect();
    let wanted = [
        "\"remove\" \"A\" \"198.51.100.1\"",
        "\"add\" \"A\" \"192.0.2.1\"",
        "\"add\" \"TXT\" null",
        "\"keep\" \"MX\" \"10 mail.example.com\"",
    ];
    assert_eq!(changes, wanted, "an alias would push the mail out");
    assert_eq!(seen["email"], "Your e-mail stays as it is: none of its records is touched.");
    assert_eq!(seen["unanswered"], json!(["CAA"]));
    // The operator is told what the platform's own resolver knows, which no creator is.
    assert_eq!(seen["zone"], json!(null));
    let path = "/v1/domains/inspect?host=shop.example.com";
    assert_eq!(desk.get(path).send().await.of(200)["zone"], "shop.example.com");
}

#[tokio::test]
async fn a_name_that_cannot_be_connected_says_why() {
    let desk = desk::open().await;
    let (ann, ben) = (desk.tenant("ann").await, desk.tenant("ben").await);
    let (anns, bens) = (desk.tenant_key(&ann).await, desk.tenant_key(&ben).await);
    let id = desk.domain(&desk.app(&ann, "hello").await, "shop.example.com").await;
    prove(&desk, &id).await;
    let look = async |host: &str, key: &model::secret::Secret| {
        let seen = desk.get(&format!("/v1/domains/inspect?host={host}")).send_as(key).await.of(200);
        (
            seen["connectable"].clone(),
            seen["status"].clone(),
            seen["text"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let (connectable, status, text) = look("shop.example.com", &bens).await;
    assert_eq!((connectable, status), (json!(false), json!("claimed_elsewhere")));
    assert!(text.starts_with("Another account here uses this domain."), "{text}");
    assert_eq!(look("shop.example.com", &anns).await.1, json!("issuing"));
    assert_eq!(look("x.apps.localhost", &anns).await.1, json!("invalid_name"));

    desk.delete(&format!("/v1/domains/{id}")).send().await.of(204);
    let (connectable, status, text) = look("shop.example.com", &anns).await;
    assert_eq!((connectable, status), (json!(true), json!("removed")));
    assert!(text.contains("until 22 December 2026 nobody else can"), "{text}");
    assert_eq!(look("shop.example.com", &bens).await.1, json!("claimed_elsewhere"));
}

#[tokio::test]
async fn a_look_at_no_name_is_refused_by_value() {
    let desk = desk::open().await;
    for query in [
        "host=a..b",
        "host=127.0.0.1",
        "",
        "host=*.example.com",
        "hostname=example.com",
        "host=a.test&more=1",
    ] {
        let reply = desk.get(&format!("/v1/domains/inspect?{query}")).send().await;
        assert_eq!(reply.refusal(), (400, "invalid_query"), "{query}");
    }
}
