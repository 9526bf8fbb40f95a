//! A tenant's key sees nothing of another tenant: what it may not see is the same as what does not exist.
//!
//! The walk takes every endpoint of the served OpenAPI document, so that an endpoint added later is walked
//! without touching this file (one that needs a body shows up as a failure and gets it in [`body`]).

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use testkit::api::{Api, text};
use testkit::authority::Authority;
use testkit::marketplace::App;

use crate::installation::WithApp;

/// One of everything that belongs to a tenant.
struct Owned {
    tenant: String,
    app: String,
    domain: String,
    certificate: String,
    key: String,
}

impl Owned {
    async fn make(platform: &Api, tenant: &str, app: &App) -> Result<Self> {
        let domain = app.domain(&format!("{}.example.test", &app.id[2..].to_ascii_lowercase())).await?;
        let issued = Authority::new()?.issue(&[&app.hostname])?;
        let certificate = app.upload(&issued.chain_pem, &issued.key_pem).await?.ok()?;
        let body = json!({ "scope": "tenant", "tenant": tenant, "name": "owned" });
        let key = platform.post("/keys", body).await?.ok()?;
        let (tenant, app) = (tenant.to_owned(), app.id.clone());
        let (certificate, key) = (text(&certificate, "id")?, text(&key, "id")?);
        Ok(Self { tenant, app, domain: domain.id, certificate, key })
    }

    fn ids(&self) -> [&str; 5] {
        [&self.tenant, &self.app, &self.domain, &self.certificate, &self.key]
    }

    /// The path of the document with every parameter replaced by the id of what stands before it.
    fn fill(&self, template: &str) -> Result<String> {
        let mut filled = Vec::new();
        for segment in template.split('/') {
            let id = match (segment.starts_with('{'), filled.last()) {
                (false, _) => segment,
                (true, Some(&"tenants")) => &self.tenant,
                (true, Some(&"apps")) => &self.app,
                (true, Some(&"domains")) => &self.domain,
                (true, Some(&"certificates")) => &self.certificate,
                (true, Some(&"keys")) => &self.key,
                // Nobody has one here: an account is told of others' claims, and the API's own tests make one.
                (true, Some(&"notices")) => "ntc_01JD0Z6B3XQ4V8T9M2K7R5W1EP",
                (true, before) => anyhow::bail!("{template}: whose id follows {before:?}?"),
            };
            filled.push(id);
        }
        Ok(filled.join("/"))
    }
}

/// A sound body for each endpoint that takes one.
fn body(method: &Method, template: &str) -> Option<Value> {
    let rate = json!({ "requests_per_minute": 1, "burst": 1 });
    let body = match (method.as_str(), template.rsplit('/').next()?) {
        ("GET" | "DELETE", _) => return None,
        ("PUT", "limits") => json!({ "tenant": rate, "visitor": rate }),
        ("POST", "apps") => json!({ "name": "taken-over", "backends": [] }),
        ("POST", "domains") => json!({ "hostname": "taken-over.example.test" }),
        ("POST", "certificates") => json!({ "chain": "x", "key": "x" }),
        ("POST", "keys") => json!({ "scope": "platform", "name": "taken-over" }),
        ("POST", "tenants") => json!({ "name": "taken-over", "slug": "taken-over" }),
        ("POST", "suspend") => json!({ "reason": "taken over" }),
        ("PATCH", _) => json!({ "name": "taken-over" }),
        _ => json!({}),
    };
    Some(body)
}

/// Every endpoint below `/v1`, as method and path template.
async fn endpoints(api: &Api) -> Result<Vec<(Method, String)>> {
    let document = api.get("/openapi.json").await?.ok()?;
    let paths = document.get("paths").and_then(Value::as_object).context("no paths")?;
    let mut endpoints = Vec::new();
    for (path, item) in paths {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        for method in item.as_object().into_iter().flat_map(|item| item.keys()) {
            if let Some(method) = verb(method) {
                endpoints.push((method, path.to_owned()));
            }
        }
    }
    ensure!(endpoints.len() >= 30, "only {} endpoints in the document", endpoints.len());
    Ok(endpoints)
}

/// A path item has more members than its methods.
fn verb(name: &str) -> Option<Method> {
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE]
        .into_iter()
        .find(|method| method.as_str().eq_ignore_ascii_case(name))
}

#[tokio::test]
async fn another_tenants_key_finds_nothing_at_any_endpoint() -> Result<()> {
    let WithApp { stoa, tenant, app, origin: _origin } = &WithApp::start().await?;
    let platform = stoa.api()?;
    let owned = Owned::make(&platform, &tenant.id, app).await?;
    let stranger = stoa.tenant("ben").await?.key().await?;
    let before = everything(&platform, &owned).await?;
    for (method, template) in endpoints(&platform).await? {
        let answer = stranger.send(method.clone(), &owned.fill(&template)?, body(&method, &template)).await?;
        if template.contains('{') {
            assert_eq!(answer.status, 404, "{method} {template}: {}", answer.body);
        }
        let told = answer.body.to_string();
        let leaked = owned.ids().into_iter().find(|id| told.contains(id) && !template.contains('{'));
        assert_eq!(leaked, None, "{method} {template}: {told}");
    }
    assert_eq!(everything(&platform, &owned).await?, before);
    Ok(())
}

#[tokio::test]
async fn what_another_tenant_has_is_refused_in_the_words_of_what_nobody_has() -> Result<()> {
    let WithApp { stoa, app, tenant: _tenant, origin: _origin } = &WithApp::start().await?;
    let stranger = stoa.tenant("ben").await?.key().await?;
    let missing = app.path("").replace(&app.id[2..], "01JD0000000000000000000000");
    let mut said = Vec::new();
    for path in [app.path(""), missing] {
        let answer = stranger.get(&path).await?;
        let words = text(&answer.body, "detail")?.replace(path.trim_start_matches("/apps/"), "ID");
        said.push((answer.status, answer.code().to_owned(), words));
    }
    assert_eq!(said[0], said[1]);
    Ok(())
}

#[tokio::test]
async fn a_tenants_key_cannot_make_itself_greater() -> Result<()> {
    let WithApp { stoa, tenant, app: _app, origin: _origin } = &WithApp::start().await?;
    let own = tenant.key().await?;
    for scope in ["platform", "edge"] {
        let answer = own.post("/keys", json!({ "scope": scope, "name": "greater" })).await?;
        assert!([403, 404, 422].contains(&answer.status), "{scope}: {}", answer.body);
    }
    let limits = json!({ "requests_per_minute": 60_000_000, "burst": 60_000_000 });
    let answer = own.put(&tenant.path("/limits"), json!({ "tenant": limits, "visitor": limits })).await?;
    assert!([403, 404].contains(&answer.status), "{}", answer.body);
    let answer = stoa.api()?.with_key("sk_live_0000").get("/tenants").await?;
    assert_eq!(answer.status, 401);
    Ok(())
}

/// What the operator sees of everything that is owned.
async fn everything(platform: &Api, owned: &Owned) -> Result<Vec<Value>> {
    let [tenant, app, domain, certificate, _key] = owned.ids();
    let paths = [
        format!("/tenants/{tenant}"),
        format!("/tenants/{tenant}/limits"),
        format!("/tenants/{tenant}/apps"),
        format!("/apps/{app}"),
        format!("/apps/{app}/domains"),
        format!("/certificates/{certificate}"),
    ];
    let mut seen = Vec::new();
    for path in paths {
        seen.push(platform.get(&path).await?.ok()?);
    }
    platform.get(&format!("/domains/{domain}")).await?.ok()?;
    Ok(seen)
}
