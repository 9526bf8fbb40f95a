//! Two accounts want one domain: what each of them reads.

use model::Timestamp;
use model::domain::{Facts, Routing};
use serde_json::{Value, json};
use store::{Access, Shown, Sight};

use crate::desk::{self, Desk};
use crate::domains::prove;

const NAME: &str = "shop.example.com";

/// A look at a claim that finds its proof.
pub(crate) async fn show(desk: &Desk, claim: &str) {
    let claim = desk.store.domain(Access::Platform, claim.parse().unwrap()).await.unwrap();
    let sight = Sight {
        facts: Facts { routing: Routing::Here, ..Facts::unknown() },
        proof: Shown::Everywhere,
        holders_proof: None,
        next_check_at: Timestamp::from_unix_millis(desk::NOW + 60_000),
    };
    desk.store.settle_contest(claim.id, claim.version, sight).await.unwrap();
    // Ids sort by their millisecond.
    desk.clock.advance(std::time::Duration::from_millis(1));
}

/// Ann's domain, and Eve's claim of it.
async fn scene(desk: &Desk) -> (String, String, [model::secret::Secret; 2]) {
    let (ann, eve) = (desk.tenant("ann").await, desk.tenant("eve").await);
    let own = desk.domain(&desk.app(&ann, "ann").await, NAME).await;
    prove(desk, &own).await;
    let claim = desk.domain(&desk.app(&eve, "eve").await, NAME).await;
    (own, claim, [desk.tenant_key(&ann).await, desk.tenant_key(&eve).await])
}

async fn kinds(desk: &Desk, key: &model::secret::Secret) -> Vec<Value> {
    let list = desk.get("/v1/notices").send_as(key).await.of(200);
    list["data"].as_array().unwrap().iter().map(|notice| notice["kind"].clone()).collect()
}

#[tokio::test]
async fn a_claim_is_told_its_own_record_and_the_holder_is_told_once_it_is_proved() {
    let desk = desk::open().await;
    let (own, claim, [ann, eve]) = scene(&desk).await;
    let read = desk.get(&format!("/v1/domains/{claim}")).send_as(&eve).await.of(200);
    assert_eq!(
        (&read["status"], &read["details"]["contest"]),
        (&json!("claimed_elsewhere"), &json!({"value": "asked"}))
    );
    assert_eq!(read["records"].as_array().unwrap().len(), 1, "nothing that would lead visitors away");
    assert_eq!(read["records"][0]["type"], "TXT");
    assert_eq!(read["next_action"]["record"], read["records"][0]);
    assert_eq!(kinds(&desk, &ann).await, Vec::<Value>::new());

    show(&desk, &claim).await;
    let challenged = desk.get(&format!("/v1/domains/{own}")).send_as(&ann).await.of(200);
    assert_eq!(challenged["next_action"]["record"]["type"], "TXT");
    assert_eq!(
        challenged["details"]["contest"],
        json!({"value": "challenged", "until": "2026-11-23T18:30:00Z"})
    );
    assert!(challenged["next_action"]["text"].as_str().unwrap().starts_with("Another account proved"));
    assert_eq!(kinds(&desk, &ann).await, ["challenged"]);
    assert_eq!(kinds(&desk, &eve).await, ["proof_seen"]);
    let notices = desk.get("/v1/notices").send_as(&ann).await.of(200);
    let notice = &notices["data"][0];
    assert_eq!((&notice["domain_id"], &notice["hostname"]), (&json!(own), &json!(NAME)));
    assert!(!notices.to_string().contains(&claim), "who claims it is nobody's business");
    let path = format!("/v1/notices/{}", notice["id"].as_str().unwrap());
    assert_eq!(desk.delete(&path).send_as(&eve).await.refusal(), (404, "not_found"));
    desk.delete(&path).send_as(&ann).await.of(204);
    assert_eq!(kinds(&desk, &ann).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_holder_releases_and_only_an_operator_keeps() {
    let desk = desk::open().await;
    let (own, claim, [ann, eve]) = scene(&desk).await;
    let path = format!("/v1/domains/{own}/transfer");
    let (release, keep) = (json!({"decision": "release"}), json!({"decision": "keep"}));
    assert_eq!(desk.post(&path, &release).send_as(&ann).await.refusal(), (409, "not_contested"));
    show(&desk, &claim).await;
    assert_eq!(desk.post(&path, &keep).send_as(&ann).await.refusal(), (403, "scope_missing"));
    assert_eq!(desk.post(&path, &release).send_as(&eve).await.refusal(), (404, "not_found"));
    let own_claim = format!("/v1/domains/{claim}/transfer");
    assert_eq!(desk.post(&own_claim, &release).send_as(&eve).await.refusal(), (409, "not_contested"));
    assert_eq!(
        desk.post(&path, &json!({"decision": "toss"})).send_as(&ann).await.refusal(),
        (422, "invalid")
    );
    desk.post(&path, &release).send_as(&ann).await.of(200);
    show(&desk, &claim).await;
    let moved = desk.get(&format!("/v1/domains/{claim}")).send_as(&eve).await.of(200);
    assert_eq!((&moved["details"]["claim"], &moved["details"]["contest"]), (&json!("proved"), &Value::Null));
    let lost = desk.get(&format!("/v1/domains/{own}")).send_as(&ann).await.of(200);
    assert_eq!(
        (&lost["status"], &lost["details"]["contest"]),
        (&json!("claimed_elsewhere"), &json!({"value": "lost"}))
    );
    assert_eq!(lost["records"], json!([]));
    assert_eq!(kinds(&desk, &ann).await, ["challenged", "moved_away"]);

    let back = desk.domain(&desk.app(lost["tenant_id"].as_str().unwrap(), "back").await, NAME).await;
    show(&desk, &back).await;
    let kept = desk.post(&format!("/v1/domains/{back}/transfer"), &keep).send().await.of(200);
    assert_eq!(kept["details"]["contest"], json!({"value": "refused", "cause": "decided"}));
}

#[tokio::test]
async fn a_domain_is_found_by_its_name_by_who_may_see_it() {
    let desk = desk::open().await;
    let (own, claim, [ann, eve]) = scene(&desk).await;
    let path = format!("/v1/domains?hostname={}", NAME.to_uppercase());
    for (key, id) in [(&ann, &own), (&eve, &claim)] {
        let found = desk.get(&path).send_as(key).await.of(200);
        let ids: Vec<_> =
            found["data"].as_array().unwrap().iter().map(|domain| domain["id"].clone()).collect();
        assert_eq!(ids, [json!(id)]);
    }
    assert_eq!(desk.get(&path).send().await.of(200)["data"].as_array().unwrap().len(), 2);
    assert_eq!(desk.get("/v1/domains?hostname=a..b").send().await.refusal(), (400, "invalid_query"));
}
