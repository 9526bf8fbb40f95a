//! What operators are told of the certificate authorities.

use std::time::Duration;

use model::Host;
use model::seal::SealingKey;
use serde_json::json;
use store::{AccountRecord, Bucket, Draw, Limit, NewOrder, Urgency};

use crate::desk;

const CA: &str = "https://ca.test/dir";

#[tokio::test]
async fn the_budget_tells_what_is_left_who_waits_and_what_fails() {
    let desk = desk::open().await;
    assert_eq!(desk.get("/v1/platform/ca-budget").send().await.of(200)["data"], json!([]));
    let limit = Limit { burst: 1, period: Duration::from_secs(60), spare: 0 };
    let draws = [Draw { bucket: Bucket::RegisteredDomain, subject: "example.com".to_owned(), limit }];
    for name in ["a.example.com", "b.example.com"] {
        let host = Host::parse(name).unwrap();
        let names = vec![name.parse().unwrap()];
        let urgency = Urgency::Waiting;
        let new = NewOrder { host: host.into(), names, tenant: None, app: None, domain: None, urgency };
        let order = desk.store.begin_order(new).await.unwrap().unwrap();
        let order = desk.store.lease_order(order.id, "me", Duration::from_secs(60)).await.unwrap();
        desk.store.reserve_order(order.id, order.fence, CA, &draws).await.unwrap();
    }
    desk.store.note_authority_failure(CA, "it does not answer").await.unwrap();
    let found = desk.get("/v1/platform/ca-budget").send().await.of(200);
    let expected = json!([{
        "directory": CA, "state": "failing", "reason": "it does not answer",
        "failing_since": "2026-11-22T18:30:00Z",
        "waiting_orders": 1, "last_turn_at": "2026-11-22T18:31:00Z",
        "limits": [{
            "bucket": "registered_domain", "subject": "example.com", "limit": 1, "period_seconds": 60, "left": 0,
            "full_at": "2026-11-22T18:32:00Z",
        }],
    }]);
    assert_eq!(found["data"], expected);
}

#[tokio::test]
async fn an_account_is_given_another_key_if_there_is_one() {
    let desk = desk::open().await;
    let path = "/v1/platform/ca-budget/change-key";
    let body = json!({ "directory": CA });
    let refused = desk.post(path, &body).send().await;
    assert_eq!(refused.refusal().0, 422);
    assert!(refused.body.to_string().contains("`stoa ca list` names"), "{}", refused.body);
    let record = AccountRecord {
        directory: CA.to_owned(),
        account_url: Some("https://ca.test/account/1".to_owned()),
        key: SealingKey::generate().seal("test", b"key").unwrap(),
        next_key: None,
    };
    desk.store.begin_acme_account(record).await.unwrap();
    desk.post(path, &body).send().await.of(202);
    assert_eq!(desk.store.key_changes().await.unwrap(), [CA]);
}
