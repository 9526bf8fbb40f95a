//! "Connect for me": what may be wished, what is shown, and what is never shown.

use http::Method;
use model::domain::connection::{
    ConnectionStatus, Connector, Findings, RecordChange, Trouble, credential_context,
};
use model::domain::{Authority, Facts, Fate, Provider};
use model::{Host, Timestamp};
use serde_json::{Value, json};
use store::{Access, AuditFilter, ConnectionPatch, Keep, Page};

use crate::desk::{self, Desk};

const TOKEN: &str = "a-very-secret-token";

async fn domain(desk: &Desk) -> String {
    let tenant = desk.tenant("ann").await;
    desk.domain(&desk.app(&tenant, "hello").await, "shop.example.com").await
}

/// The domain's name servers are somebody's.
async fn kept_at(desk: &Desk, id: &str, provider: Option<Provider>) {
    let domain = desk.store.domain(Access::Platform, id.parse().unwrap()).await.unwrap();
    let authority = Authority {
        zone: Some(Host::parse("example.com").unwrap()),
        servers: vec!["ns1.example.net".to_owned()],
        provider,
        ..Authority::default()
    };
    let facts = Facts { authority, ..Facts::unknown() };
    let next = Timestamp::from_unix_millis(desk::NOW + 60_000);
    desk.store.record_domain_check(domain.id, domain.version, facts, next).await.unwrap();
}

fn cloudflare() -> Provider {
    Provider { connect: Some(Connector::Cloudflare), ..Provider::named("Cloudflare") }
}

/// certd comes to an end with what was wished.
async fn end(desk: &Desk, id: &str, patch: ConnectionPatch) {
    let id = id.parse().unwrap();
    let held = desk.store.lease_connection(id, "certd", std::time::Duration::from_secs(9)).await.unwrap();
    desk.store.update_connection(id, held.fence, patch).await.unwrap();
}

fn found(changes: Vec<RecordChange>) -> Findings {
    Findings { zone: Some(Host::parse("example.com").unwrap()), changes, mail: true, ..Findings::default() }
}

#[tokio::test]
async fn a_creator_sees_what_would_be_changed_has_it_done_and_undone() {
    let desk = desk::open().await;
    let id = domain(&desk).await;
    kept_at(&desk, &id, Some(cloudflare())).await;
    let path = format!("/v1/domains/{id}/connect");
    let offer = desk.get(&format!("/v1/domains/{id}")).send().await.of(200)["next_action"]["connect"].clone();
    assert_eq!(offer["provider"], "cloudflare");
    let nothing = desk.get(&path).send().await.of(200);
    assert_eq!((&nothing["providers"], &nothing["status"]), (&json!(["cloudflare"]), &Value::Null));

    let body = json!({"provider": "cloudflare", "token": TOKEN});
    let asked = desk.post(&path, &body).send().await.of(202);
    assert_eq!((&asked["status"], &asked["action"]), (&json!("working"), &json!("preview")));
    let sealed = desk.store.connection(Access::Platform, id.parse().unwrap()).await.unwrap().unwrap();
    let opened =
        desk.master.open(&credential_context(id.parse().unwrap()), &sealed.credential.unwrap()).unwrap();
    assert_eq!(opened.as_slice(), TOKEN.as_bytes());

    let change = RecordChange {
        change: Fate::Add,
        kind: "CNAME".to_owned(),
        name: "shop.example.com".to_owned(),
        value: "d1.cname.apps.localhost".to_owned(),
    };
    let patch = ConnectionPatch {
        status: Some(ConnectionStatus::Previewed),
        findings: Some(found(vec![change])),
        plan: Some(Some("{}".to_owned())),
        ..ConnectionPatch::default()
    };
    end(&desk, &id, patch).await;
    let shown = desk.get(&path).send().await.of(200);
    assert_eq!((&shown["status"], &shown["who"]), (&json!("previewed"), &json!("you")));
    assert_eq!(shown["changes"][0]["type"], "CNAME");
    assert_eq!(shown["email"], "Your e-mail stays as it is: none of its records is touched.");

    desk.post(&path, &json!({"action": "apply"})).send().await.of(202);
    let again = desk.post(&path, &json!({"action": "apply"})).send().await;
    assert_eq!(again.refusal(), (409, "connection_working"));
    assert_eq!(desk.delete(&path).send().await.refusal(), (409, "connection_working"));
    let until = Timestamp::from_unix_millis(desk::NOW + 7 * 86_400_000);
    let patch = ConnectionPatch {
        status: Some(ConnectionStatus::Applied),
        findings: Some(found(Vec::new())),
        applied: Some(Some("{}".to_owned())),
        keep: Keep::Until(until),
        ..ConnectionPatch::default()
    };
    end(&desk, &id, patch).await;
    let set = desk.get(&path).send().await.of(200);
    assert_eq!((&set["can_undo"], &set["key_kept_until"]), (&json!(true), &json!("2026-11-29T18:30:00Z")));
    assert_eq!(
        set["text"],
        "The records are set at Cloudflare. Nothing to do; until 29 November 2026 we can take them back without \
         your key."
    );
    let twice = desk.post(&path, &json!({"action": "apply"})).send().await;
    assert_eq!(twice.refusal(), (409, "connection_applied"));
    desk.post(&path, &json!({"action": "undo"})).send().await.of(202);
}

#[tokio::test]
async fn a_trouble_is_told_plainly_with_its_details_beside() {
    let desk = desk::open().await;
    let id = domain(&desk).await;
    let path = format!("/v1/domains/{id}/connect");
    let body = json!({"provider": "digitalocean", "token": TOKEN, "action": "apply"});
    desk.post(&path, &body).send().await.of(202);
    let findings = Findings {
        trouble: Some(Trouble::Key),
        details: vec!["DigitalOcean refuses the API token".to_owned()],
        ..Findings::default()
    };
    let patch = ConnectionPatch {
        status: Some(ConnectionStatus::Failed),
        findings: Some(findings),
        keep: Keep::Not,
        ..ConnectionPatch::default()
    };
    end(&desk, &id, patch).await;
    let told = desk.get(&path).send().await.of(200);
    assert_eq!((&told["status"], &told["who"]), (&json!("failed"), &json!("you")));
    assert!(told["text"].as_str().unwrap().starts_with("This key is not accepted by DigitalOcean."));
    assert_eq!(told["details"], json!(["DigitalOcean refuses the API token"]));
    let forgotten = desk.post(&path, &json!({"action": "apply"})).send().await;
    assert_eq!(forgotten.faults(), [("/token", "invalid")]);
    desk.delete(&path).send().await.of(204);
    assert_eq!(desk.get(&path).send().await.of(200)["status"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_meant_is_named_and_a_key_is_never_repeated() {
    let desk = desk::open().await;
    let id = domain(&desk).await;
    let path = format!("/v1/domains/{id}/connect");
    for (body, pointer) in [
        (json!({"provider": "cloudflare"}), "/token"),
        (json!({"token": TOKEN}), "/provider"),
        (json!({"server": "192.0.2.1:53"}), "/provider"),
        (json!({"provider": "godaddy", "token": TOKEN}), "/provider"),
        (json!({"provider": "cloudflare", "token": "two words a-very-secret-token"}), "/token"),
        (json!({"provider": "cloudflare", "token": ""}), "/token"),
        (json!({"provider": "cloudflare", "token": TOKEN, "url": "https://x.example.net"}), "/url"),
        (json!({"provider": "powerdns", "token": TOKEN}), "/url"),
        (
            json!({"provider": "powerdns", "token": TOKEN, "url": "https://u:a-very-secret-token@x.example"}),
            "/url",
        ),
        (json!({"provider": "rfc2136", "token": TOKEN, "server": "192.0.2.1:53"}), "/key_name"),
        (json!({"provider": "cloudflare", "token": TOKEN, "zone": "example.org"}), "/zone"),
        (json!({"action": "sing"}), "/action"),
    ] {
        let reply = desk.post(&path, &body).send().await;
        assert_eq!((reply.status.as_u16(), reply.faults()[0].0), (422, pointer), "{body}: {}", reply.body);
        assert!(!reply.body.to_string().contains(TOKEN), "{}", reply.body);
    }
    assert_eq!(desk.post(&path, &json!({"action": "undo"})).send().await.refusal(), (409, "nothing_to_undo"));
}

#[tokio::test]
async fn a_key_is_sent_to_nobody_who_does_not_keep_the_domains_records() {
    let desk = desk::open().await;
    let id = domain(&desk).await;
    let path = format!("/v1/domains/{id}/connect");
    let body = json!({"provider": "digitalocean", "token": TOKEN});
    for (provider, said) in [
        (Some(cloudflare()), "Cloudflare does; give cloudflare"),
        (Some(Provider::named("Gandi")), "Gandi does; add them by hand"),
        (None, "a server of its own does; give powerdns or rfc2136"),
    ] {
        kept_at(&desk, &id, provider).await;
        let reply = desk.post(&path, &body).send().await;
        assert_eq!(reply.faults(), [("/provider", "invalid")]);
        assert!(reply.body.to_string().contains(said), "{}", reply.body);
    }
}

#[tokio::test]
async fn another_tenant_neither_sees_nor_wishes_nor_forgets() {
    let desk = desk::open().await;
    let id = domain(&desk).await;
    let path = format!("/v1/domains/{id}/connect");
    let body = json!({"provider": "cloudflare", "token": TOKEN});
    desk.post(&path, &body).send().await.of(202);
    let stranger = desk.tenant_key(&desk.tenant("bob").await).await;
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(desk.call(method, &path).send_as(&stranger).await.refusal(), (404, "not_found"));
    }
    assert_eq!(desk.post(&path, &body).send_as(&stranger).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn no_answer_and_no_audit_event_has_the_key() {
    let desk = desk::open().await;
    let id = domain(&desk).await;
    let path = format!("/v1/domains/{id}/connect");
    let body = json!({"provider": "cloudflare", "token": TOKEN});
    let asked = desk.post(&path, &body).header("idempotency-key", "once").send().await.of(202);
    let again = desk.post(&path, &body).header("idempotency-key", "once").send().await.of(202);
    let page = Page { limit: 100, cursor: None };
    let events = desk.store.audit_events(Access::Platform, &AuditFilter::default(), &page).await.unwrap();
    let shown = desk.get(&path).send().await.of(200);
    for told in [asked.to_string(), again.to_string(), shown.to_string(), format!("{:?}", events.items)] {
        assert!(!told.contains(TOKEN), "{told}");
    }
}
