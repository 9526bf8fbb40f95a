//! A tenant's key cannot read, change or guess anything of another's. The cases come out of the document.

use http::Method;
use serde_json::{Value, json};

use crate::desk::{self, Desk};
use crate::domains::prove;

/// One of each thing, all of one tenant.
struct Owned {
    tenant: String,
    app: String,
    domain: String,
    certificate: String,
    key: String,
    notice: String,
}

async fn own(desk: &Desk) -> Owned {
    let tenant = desk.tenant("ann").await;
    let app = desk.app(&tenant, "hello").await;
    let domain = desk.domain(&app, "shop.example.com").await;
    prove(desk, &domain).await;
    let made = crate::certificates::certificate(&["shop.example.com"]);
    let certificate = desk.post(&format!("/v1/apps/{app}/certificates"), &made).send().await.created("id");
    let body = json!({"scope": "tenant", "tenant": tenant});
    let key = desk.post("/v1/keys", &body).send().await.created("id");
    let claim = desk.domain(&desk.app(&desk.tenant("bob").await, "bob").await, "shop.example.com").await;
    crate::contests::show(desk, &claim).await;
    let notices = desk.get("/v1/notices").send().await.of(200)["data"].clone();
    let own = notices.as_array().unwrap().iter().find(|notice| notice["tenant_id"] == json!(tenant));
    let notice = own.unwrap()["id"].as_str().unwrap().to_owned();
    Owned { tenant, app, domain, certificate, key, notice }
}

impl Owned {
    fn path(&self, template: &str) -> String {
        template
            .replace("{t}", &self.tenant)
            .replace("{a}", &self.app)
            .replace("{d}", &self.domain)
            .replace("{c}", &self.certificate)
            .replace("{k}", &self.key)
            .replace("{n}", &self.notice)
    }
}

/// An id of the right form that nothing has.
fn missing(template: &str) -> String {
    let kinds = [("{t}", "t"), ("{a}", "a"), ("{d}", "dom"), ("{c}", "crt"), ("{k}", "key"), ("{n}", "ntc")];
    kinds.iter().fold(template.to_owned(), |path, (parameter, prefix)| {
        path.replace(parameter, &format!("{prefix}_01JD0Z6B3XQ4V8T9M2K7R5W1EP"))
    })
}

/// Method and path of every operation with an id.
fn operations(desk: &Desk) -> Vec<(Method, String)> {
    let paths = desk.document["paths"].as_object().unwrap();
    let with_id = paths.iter().filter(|(path, _)| path.contains('{'));
    with_id
        .flat_map(|(path, item)| {
            let methods = ["get", "put", "post", "patch", "delete"]
                .into_iter()
                .filter(|method| item.get(method).is_some());
            methods.map(|method| (method.to_uppercase().parse().unwrap(), path.clone()))
        })
        .collect()
}

/// Everything that the other tenant could notice.
async fn everything(desk: &Desk, owned: &Owned) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/v1/tenants/{t}",
        "/v1/tenants/{t}/limits",
        "/v1/apps/{a}",
        "/v1/domains/{d}",
        "/v1/certificates/{c}",
    ] {
        all.push(desk.get(&owned.path(path)).send().await.of(200));
    }
    let events = format!("/v1/audit-events?tenant={}", owned.tenant);
    all.push(desk.get(&events).send().await.of(200));
    all
}

#[tokio::test]
async fn what_belongs_to_another_is_answered_like_what_is_not_there() {
    let desk = desk::open().await;
    let owned = own(&desk).await;
    let before = everything(&desk, &owned).await;
    let stranger = desk.tenant_key(&desk.tenant("eve").await).await;
    let edge = desk.edge_key().await;
    let cases = operations(&desk);
    assert!(cases.len() >= 20, "{}", cases.len());
    for (method, template) in cases {
        for body in [json!({}), json!({"name": "taken-over", "hostname": "taken-over.example.com"})] {
            for key in [&stranger, &edge] {
                let foreign =
                    desk.call(method.clone(), &owned.path(&template)).json(&body).send_as(key).await;
                let nothing = desk.call(method.clone(), &missing(&template)).json(&body).send_as(key).await;
                let malformed = desk
                    .call(method.clone(), &template.replace(['{', '}'], ""))
                    .json(&body)
                    .send_as(key)
                    .await;
                assert_eq!(foreign.refusal(), (404, "not_found"), "{method} {template}");
                assert_eq!(foreign.anonymous(), nothing.anonymous(), "{method} {template}");
                assert_eq!(foreign.anonymous(), malformed.anonymous(), "{method} {template}");
                assert_eq!(names(&foreign), names(&nothing), "{method} {template}");
            }
        }
    }
    assert_eq!(everything(&desk, &owned).await, before);
}

fn names(reply: &desk::Reply) -> Vec<&str> {
    reply.headers.keys().map(http::HeaderName::as_str).collect()
}

#[tokio::test]
async fn lists_hold_ones_own_only() {
    let desk = desk::open().await;
    let owned = own(&desk).await;
    let eve = desk.tenant("eve").await;
    let stranger = desk.tenant_key(&eve).await;
    let tenants = desk.get("/v1/tenants").send_as(&stranger).await.of(200);
    assert_eq!(tenants["data"].as_array().unwrap().len(), 1);
    assert_eq!(tenants["data"][0]["id"], json!(eve));
    for path in [
        "/v1/certificates".to_owned(),
        format!("/v1/certificates?app={}", owned.app),
        "/v1/certificates?name=shop.example.com".to_owned(),
        format!("/v1/audit-events?tenant={}", owned.tenant),
        format!("/v1/audit-events?target={}", owned.app),
        "/v1/audit-events?action=app.create".to_owned(),
        "/v1/notices".to_owned(),
        "/v1/domains?hostname=shop.example.com".to_owned(),
    ] {
        let list = desk.get(&path).send_as(&stranger).await.of(200);
        assert_eq!(list["data"], json!([]), "{path}");
    }
    let keys = desk.get("/v1/keys").send_as(&stranger).await.of(200);
    assert!(keys["data"].as_array().unwrap().iter().all(|key| key["tenant"] == json!(eve)));
}
