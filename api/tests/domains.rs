//! Creators' own domains.

use model::domain::{Certification, Claim, Facts, Presence, Routing};
use model::{Host, HostPattern, Timestamp};
use serde_json::json;
use store::Access;

use crate::desk::{self, Desk};

/// Writes down that the domain was proved and points here.
pub(crate) async fn prove(desk: &Desk, id: &str) {
    let domain = desk.store.domain(Access::Platform, id.parse().unwrap()).await.unwrap();
    let facts = Facts { claim: Claim::Proved, routing: Routing::Here, ..Facts::unknown() };
    let next = Timestamp::from_unix_millis(desk::NOW + 60_000);
    desk.store.record_domain_check(domain.id, domain.version, facts, next).await.unwrap();
}

#[tokio::test]
async fn a_domain_says_what_to_do_next() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let id = desk.domain(&app, "Shop.Example.COM.").await;
    let domain = desk.get(&format!("/v1/domains/{id}")).send().await.of(200);
    assert_eq!(domain["hostname"], "shop.example.com");
    assert_eq!((&domain["app_id"], &domain["tenant_id"]), (&json!(app), &json!(tenant)));
    assert_eq!((&domain["status"], &domain["next_action"]["who"]), (&json!("needs_dns"), &json!("you")));
    let record = &domain["next_action"]["record"];
    assert_eq!((&record["type"], &record["name"]), (&json!("CNAME"), &json!("shop.example.com")));
    let kinds: Vec<_> =
        domain["records"].as_array().unwrap().iter().map(|record| record["type"].clone()).collect();
    assert_eq!(kinds, ["CNAME", "A", "TXT"]);
    assert_eq!(domain["certificate_id"], json!(null));
    assert_eq!(domain["timeline"][0]["status"], "needs_dns");
    assert_eq!(domain["details"]["claim"], "unproved");
    let list = desk.get(&format!("/v1/apps/{app}/domains")).send().await.of(200);
    assert_eq!(list["data"], json!([domain]));
}

#[tokio::test]
async fn a_check_is_asked_for_and_its_findings_are_shown() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let id = desk.domain(&desk.app(&tenant, "hello").await, "shop.example.com").await;
    let path = format!("/v1/domains/{id}");
    let asked = desk.call(http::Method::POST, &format!("{path}/check")).send().await.of(202);
    assert_eq!(asked["details"]["next_check_at"], "2026-11-22T18:30:00Z");
    let domain = desk.store.domain(Access::Platform, id.parse().unwrap()).await.unwrap();
    let not_after = Timestamp::from_unix_millis(desk::NOW + 86_400_000);
    let facts = Facts {
        claim: Claim::Proved,
        routing: Routing::Here,
        certification: Certification::Ready { not_after },
        presence: Presence::Verified,
        ..Facts::unknown()
    };
    desk.store.record_domain_check(domain.id, domain.version, facts, not_after).await.unwrap();
    let domain = desk.get(&path).send().await.of(200);
    assert_eq!((&domain["status"], &domain["next_action"]["who"]), (&json!("live"), &json!("nobody")));
    assert_eq!(domain["details"]["routing"], json!({"value": "here"}));
    assert_eq!(domain["timeline"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_domain_offers_the_other_name_that_visitors_type() {
    let desk = desk::open().await;
    let app = desk.app(&desk.tenant("ann").await, "hello").await;
    let path = format!("/v1/apps/{app}/domains");
    let offered = async |name: &str| {
        let body = desk.post(&path, &json!({"hostname": name})).send().await.of(201);
        body.get("companion").cloned()
    };
    assert_eq!(offered("example.com").await, Some(json!("www.example.com")));
    assert_eq!(offered("www.example.com").await, None, "it is here already");
    assert_eq!(offered("www.example.co.uk").await, Some(json!("example.co.uk")));
    assert_eq!(offered("shop.example.org").await, None);
}

#[tokio::test]
async fn the_alias_for_proofs_is_offered_where_there_is_a_zone_for_them() {
    let desk = desk::open().await;
    let app = desk.app(&desk.tenant("ann").await, "hello").await;
    let id = desk.domain(&app, "shop.example.com").await;
    let without = desk.get(&format!("/v1/domains/{id}")).send().await.of(200);
    assert!(!without.to_string().contains("_acme-challenge"));
    let state = api::State::new(desk.store.clone(), desk.master.clone(), api::Settings::default());
    let zone = Host::parse("proofs.example.net").unwrap();
    let router = api::router(state.with_challenge_zone(Some(zone)));
    let desk = Desk { router, ..desk };
    let with = desk.get(&format!("/v1/domains/{id}")).send().await.of(200);
    let alias = with["records"].as_array().unwrap().last().unwrap().clone();
    let bare = id.trim_start_matches("dom_").to_lowercase();
    let wanted = json!({
        "type": "CNAME", "name": "_acme-challenge.shop.example.com",
        "value": format!("{bare}.acme.proofs.example.net"), "optional": true,
    });
    assert_eq!(alias, wanted);
    assert_eq!(with["records"][0]["optional"], false);
}

/// Tells how all names below one are proved.
#[derive(Debug)]
struct Wide;

#[async_trait::async_trait]
impl api::Inspect for Wide {
    async fn inspect(&self, _: &Host, _: model::domain::Witness) -> model::domain::Inspection {
        panic!("nobody asks");
    }

    async fn standing_proof(&self, name: &HostPattern) -> Option<String> {
        Some(format!("for {name}"))
    }

    fn takes_wildcards(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_wildcard_is_connected_where_a_certificate_can_be_made_for_it() {
    for (zone, optional) in [(Host::parse("proofs.example.net").ok(), [false, true]), (None, [false, false])]
    {
        let desk = desk::open().await;
        let app = desk.app(&desk.tenant("ann").await, "hello").await;
        let state = api::State::new(desk.store.clone(), desk.master.clone(), api::Settings::default());
        let state = state.with_inspector(std::sync::Arc::new(Wide)).with_challenge_zone(zone.clone());
        let desk = Desk { router: api::router(state), ..desk };
        let id = desk.domain(&app, "*.Example.COM").await;
        let domain = desk.get(&format!("/v1/domains/{id}")).send().await.of(200);
        assert_eq!(domain["hostname"], "*.example.com");
        assert_eq!(domain.get("companion"), None);
        let records = domain["records"].as_array().unwrap();
        let named = |name: &str| records.iter().find(|record| record["name"] == name);
        assert_eq!(named("*.example.com").unwrap()["type"], "CNAME");
        assert_eq!(named("_stoa.example.com").unwrap()["type"], "TXT");
        let alias = named("_acme-challenge.example.com");
        assert_eq!(alias.map(|alias| alias["optional"].clone()), zone.map(|_| json!(optional[0])));
        let standing = named("_validation-persist.example.com").unwrap();
        assert_eq!(
            (&standing["value"], &standing["optional"]),
            (&json!("for *.example.com"), &json!(optional[1]))
        );
        desk.clock.advance(std::time::Duration::from_millis(1));
        let apex = desk.domain(&app, "example.com").await;
        let apex = desk.get(&format!("/v1/domains/{apex}")).send().await.of(200);
        let of_apex = apex["records"].as_array().unwrap().iter();
        let of_apex = of_apex.clone().find(|record| record["name"] == "_acme-challenge.example.com");
        let value = |record: Option<&serde_json::Value>| record.map(|record| record["value"].clone());
        assert_eq!(value(of_apex), value(alias), "one alias at one place");
        let found = desk.get("/v1/domains?hostname=*.example.com").send().await.of(200);
        assert_eq!(found["data"][0]["id"], json!(id));
        prove(&desk, &id).await;
        let made = crate::certificates::certificate(&["*.example.com"]);
        desk.post(&format!("/v1/apps/{app}/certificates"), &made).send().await.of(201);
    }
}

#[tokio::test]
async fn a_domain_is_taken_away() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let path =
        format!("/v1/domains/{}", desk.domain(&desk.app(&tenant, "hello").await, "a.example.com").await);
    desk.delete(&path).send().await.of(204);
    assert_eq!(desk.get(&path).send().await.refusal(), (404, "not_found"));
    assert_eq!(desk.delete(&path).send().await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_name_that_cannot_be_a_domain_is_refused_by_value() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let path = format!("/v1/apps/{app}/domains");
    for hostname in
        ["", "a..b", "127.0.0.1", "under_score.example.com", "*.example.com", "x.apps.localhost", "com"]
    {
        let reply = desk.post(&path, &json!({"hostname": hostname})).send().await;
        assert_eq!(
            (reply.refusal(), reply.faults()),
            ((422, "invalid"), vec![("/hostname", "invalid")]),
            "{hostname}"
        );
    }
    let many = desk.post(&path, &json!({"hostname": "*.example.com"})).send().await.of(422);
    let told = "hostname `*.example.com` stands for many names: connect each one, e.g. `www.example.com`";
    assert_eq!(many["errors"][0]["message"], told);
    desk.domain(&app, "shop.example.com").await;
    let reply = desk.post(&path, &json!({"hostname": "shop.example.com"})).send().await;
    assert_eq!(reply.refusal(), (409, "domain_taken"));
}

#[tokio::test]
async fn a_domain_names_the_certificate_that_serves_it() {
    let desk = desk::open().await;
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let id = desk.domain(&app, "shop.example.com").await;
    prove(&desk, &id).await;
    let made = crate::certificates::certificate(&["shop.example.com"]);
    let certificate = desk.post(&format!("/v1/apps/{app}/certificates"), &made).send().await.created("id");
    let domain = desk.get(&format!("/v1/domains/{id}")).send().await.of(200);
    assert_eq!(domain["certificate_id"], json!(certificate));
    let name = HostPattern::Exact(Host::parse("shop.example.com").unwrap()).to_string();
    assert_eq!(
        desk.get(&format!("/v1/certificates/{certificate}")).send().await.of(200)["names"],
        json!([name])
    );
}
