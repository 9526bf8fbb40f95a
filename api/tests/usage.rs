//! Usage and the audit log.

use model::Timestamp;
use model::id::{AppId, EdgeId, TenantId};
use model::usage::{Counters, UsageBatch, UsageClass, UsageKey, UsageRow};
use serde_json::json;

use crate::desk::{self, Desk};

async fn count(desk: &Desk, tenant: &str, app: &str, rows: &[(UsageClass, i64, u64)]) {
    let (tenant, app): (TenantId, AppId) = (tenant.parse().unwrap(), app.parse().unwrap());
    let rows = rows.iter().map(|(class, minutes_ago, requests)| UsageRow {
        key: UsageKey {
            tenant,
            app,
            window: Timestamp::from_unix_millis(desk::NOW - minutes_ago * 60_000),
            class: *class,
        },
        counters: Counters { requests: *requests, bytes_in: requests * 10, bytes_out: requests * 100 },
    });
    let edge = EdgeId::generate(desk.store.now());
    desk.store.ingest_usage(&UsageBatch { edge, sequence: 1, rows: rows.collect() }).await.unwrap();
}

#[tokio::test]
async fn what_is_billable_stands_apart_from_what_was_refused_or_blocked() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let path = format!("/v1/tenants/{tenant}/usage");
    let empty = desk.get(&path).send().await.of(200);
    assert_eq!((&empty["requests"], &empty["freshness"]["as_of"]), (&json!(0), &json!(null)));
    let rows = [(UsageClass::Visitor, 0, 5), (UsageClass::Blocked, 0, 100), (UsageClass::Refused, 0, 3)];
    count(&desk, &tenant, &app, &rows).await;
    let usage = desk.get(&path).send().await.of(200);
    assert_eq!(
        (&usage["requests"], &usage["bytes_in"], &usage["bytes_out"]),
        (&json!(5), &json!(50), &json!(500))
    );
    assert_eq!(usage["by_class"]["blocked"], json!({"requests": 100, "bytes_in": 1000, "bytes_out": 10000}));
    assert_eq!(usage["by_class"]["refused"]["requests"], 3);
    assert_eq!((&usage["from"], &usage["groups"]), (&json!("2026-11-01T00:00:00Z"), &json!([])));
    assert_eq!(usage["freshness"]["as_of"], "2026-11-22T18:30:00Z");
}

#[tokio::test]
async fn usage_is_grouped_and_cut_by_time() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let day = 24 * 60;
    let rows = [(UsageClass::Visitor, 1, 5), (UsageClass::Visitor, day, 7), (UsageClass::Blocked, day, 2)];
    count(&desk, &tenant, &app, &rows).await;
    let path = format!("/v1/tenants/{tenant}/usage");
    let days = desk.get(&format!("{path}?group_by=day")).send().await.of(200);
    let starts: Vec<_> = days["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (&group["start"], &group["requests"]))
        .collect();
    assert_eq!(
        starts,
        [(&json!("2026-11-21T00:00:00Z"), &json!(7)), (&json!("2026-11-22T00:00:00Z"), &json!(5))]
    );
    let apps = desk.get(&format!("{path}?group_by=app")).send().await.of(200);
    assert_eq!((&apps["groups"][0]["app_id"], &apps["groups"][0]["requests"]), (&json!(app), &json!(12)));
    let classes = desk.get(&format!("{path}?group_by=class")).send().await.of(200);
    let classes: Vec<_> = classes["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (&group["class"], &group["requests"]))
        .collect();
    assert_eq!(classes, [(&json!("blocked"), &json!(2)), (&json!("visitor"), &json!(12))]);
    let cut = desk.get(&format!("{path}?from=2026-11-21&to=2026-11-22T00:00:00Z")).send().await.of(200);
    assert_eq!((&cut["requests"], &cut["by_class"]["blocked"]["requests"]), (&json!(7), &json!(2)));
    for (query, pointer) in [
        ("from=yesterday", "?from"),
        ("to=2026-13-01", "?to"),
        ("group_by=month", "?group_by"),
        ("from=2027-01-01", "?from"),
    ] {
        let reply = desk.get(&format!("{path}?{query}")).send().await;
        assert_eq!(
            (reply.refusal(), reply.faults()),
            ((400, "invalid_query"), vec![(pointer, "invalid")]),
            "{query}"
        );
    }
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_with_its_request_and_chain() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let changed = desk.patch(&format!("/v1/apps/{app}"), &json!({"backends": []})).send().await;
    let events = desk.get(&format!("/v1/audit-events?tenant={tenant}")).send().await.of(200);
    let actions: Vec<_> =
        events["data"].as_array().unwrap().iter().map(|event| event["action"].clone()).collect();
    assert_eq!(actions, ["app.update", "app.create", "tenant.create"]);
    let newest = &events["data"][0];
    assert_eq!((&newest["target"], &newest["tenant_id"]), (&json!(app), &json!(tenant)));
    assert_eq!(newest["request_id"], changed.headers["request-id"].to_str().unwrap());
    assert!(newest["actor"].as_str().unwrap().starts_with("key_"));
    assert_eq!(newest["diff"]["to"]["backends"], json!([]));
    assert_eq!(newest["prev_hash"], events["data"][1]["hash"]);
    let filtered = desk.get(&format!("/v1/audit-events?target={app}&action=app.create")).send().await.of(200);
    assert_eq!(filtered["data"].as_array().unwrap().len(), 1);
    let first = desk.get("/v1/audit-events?limit=1").send().await.of(200);
    let cursor = first["pagination"]["cursor"].as_str().unwrap();
    let second = desk.get(&format!("/v1/audit-events?limit=1&cursor={cursor}")).send().await.of(200);
    assert_eq!(second["data"][0]["hash"], first["data"][0]["prev_hash"]);
}
