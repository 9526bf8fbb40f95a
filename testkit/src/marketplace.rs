//! Tenants, apps and domains as a story speaks of them: each is an id, a way to the API that made it, and
//! the edge that serves it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::api::{Answer, Api, text};
use crate::curl::Curl;
use crate::edge::Edge;
use crate::origin::Origin;
use crate::wait;

/// A change reaches the edges within a second; a loaded machine gets more.
const CHANGE_BOUND: Duration = Duration::from_secs(15);

/// A tenant.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// `t_…`
    pub id: String,
    api: Api,
    edge: Edge,
}

/// Requests and bytes of a tenant by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Served by an app; the only ones that are billed.
    pub visitor: u64,
    /// Stopped by a limit or the firewall.
    pub blocked: u64,
    /// Refused for another reason.
    pub refused: u64,
    /// Bytes sent to visitors by requests that were served.
    pub bytes_out: u64,
}

impl Tenant {
    /// Makes a tenant.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn create(api: Api, edge: Edge, name: &str) -> Result<Self> {
        let made = api.post("/tenants", json!({ "name": name, "slug": name })).await?.ok()?;
        Ok(Self { id: text(&made, "id")?, api, edge })
    }

    /// The path of the tenant or of something below it.
    #[must_use]
    pub fn path(&self, below: &str) -> String {
        format!("/tenants/{}{below}", self.id)
    }

    /// Makes an app before some origins.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn app(&self, name: &str, origins: &[&Origin]) -> Result<App> {
        let settings = json!({ "health_interval_ms": 200 });
        self.app_with(json!({ "name": name, "backends": backends(origins), "settings": settings })).await
    }

    /// Makes an app from the API's own words.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn app_with(&self, body: Value) -> Result<App> {
        let made = self.api.post(&self.path("/apps"), body).await?.ok()?;
        let (id, hostname) = (text(&made, "id")?, text(&made, "hostname")?);
        Ok(App { id, hostname, api: self.api.clone(), edge: self.edge.clone() })
    }

    /// The same API with a key of this tenant.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn key(&self) -> Result<Api> {
        let body = json!({ "scope": "tenant", "tenant": self.id, "name": "test" });
        let made = self.api.post("/keys", body).await?.ok()?;
        Ok(self.api.with_key(&text(&made, "secret")?))
    }

    /// Stops serving.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn suspend(&self) -> Result<()> {
        self.api.post(&self.path("/suspend"), json!({ "reason": "test" })).await?.ok().map(drop)
    }

    /// Serves again.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn resume(&self) -> Result<()> {
        self.api.post(&self.path("/resume"), json!({})).await?.ok().map(drop)
    }

    /// Sets the limits of all visitors together and of each, as (requests a minute, burst).
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn limit(&self, tenant: (u32, u32), visitor: (u32, u32)) -> Result<()> {
        let rate = |(per_minute, burst)| json!({ "requests_per_minute": per_minute, "burst": burst });
        let body = json!({ "tenant": rate(tenant), "visitor": rate(visitor) });
        self.api.put(&self.path("/limits"), body).await?.ok().map(drop)
    }

    /// Lifts the limits to where no test meets them.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn unlimited(&self) -> Result<()> {
        self.limit((60_000_000, 60_000_000), (60_000_000, 60_000_000)).await
    }

    /// What was used this month.
    ///
    /// # Errors
    /// If the API refuses or its answer has another form.
    pub async fn used(&self) -> Result<Used> {
        let answer = self.api.get(&self.path("/usage")).await?.ok()?;
        let number = |class: &str, name: &str| {
            let found = answer.pointer(&format!("/by_class/{class}/{name}")).and_then(Value::as_u64);
            found.with_context(|| format!("no {name} of class {class} in {answer}"))
        };
        Ok(Used {
            visitor: number("visitor", "requests")?,
            blocked: number("blocked", "requests")?,
            refused: number("refused", "requests")?,
            bytes_out: number("visitor", "bytes_out")?,
        })
    }
}

/// The API's words for the origins.
#[must_use]
pub fn backends(origins: &[&Origin]) -> Value {
    origins.iter().map(|origin| json!({ "url": origin.url() })).collect()
}

/// An app.
#[derive(Debug, Clone)]
pub struct App {
    /// `a_…`
    pub id: String,
    /// Its name on the marketplace's zone.
    pub hostname: String,
    api: Api,
    edge: Edge,
}

impl App {
    /// The path of the app or of something below it.
    #[must_use]
    pub fn path(&self, below: &str) -> String {
        format!("/apps/{}{below}", self.id)
    }

    /// A request for a path of the app, over HTTPS.
    #[must_use]
    pub fn get(&self, path: &str) -> Curl {
        self.edge.get(&self.hostname, path)
    }

    /// Waits until the edge serves the app.
    ///
    /// # Errors
    /// If it does not in good time; the error tells the last answer.
    pub async fn live(&self) -> Result<()> {
        let look = async || {
            let answer = self.get("/").send().await?;
            ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
            Ok(())
        };
        wait::until(&format!("{} to be live", self.hostname), CHANGE_BOUND, look).await
    }

    /// Replaces the backends.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn set_backends(&self, origins: &[&Origin]) -> Result<()> {
        self.api.patch(&self.path(""), json!({ "backends": backends(origins) })).await?.ok().map(drop)
    }

    /// Uploads a certificate.
    ///
    /// # Errors
    /// If the API is out of reach; a refusal is an answer.
    pub async fn upload(&self, chain_pem: &str, key_pem: &str) -> Result<Answer> {
        self.api.post(&self.path("/certificates"), json!({ "chain": chain_pem, "key": key_pem })).await
    }

    /// Connects a domain.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn domain(&self, hostname: &str) -> Result<Domain> {
        let made = self.api.post(&self.path("/domains"), json!({ "hostname": hostname })).await?.ok()?;
        Ok(Domain { id: text(&made, "id")?, hostname: hostname.to_owned(), api: self.api.clone() })
    }
}

/// A creator's own domain.
#[derive(Debug, Clone)]
pub struct Domain {
    /// `dom_…`
    pub id: String,
    /// Its name.
    pub hostname: String,
    api: Api,
}

impl Domain {
    /// What the API says of it now.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn fetch(&self) -> Result<Value> {
        self.api.get(&format!("/domains/{}", self.id)).await?.ok()
    }

    /// Has its records looked at now.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn check(&self) -> Result<()> {
        self.api.post(&format!("/domains/{}/check", self.id), json!({})).await?.ok().map(drop)
    }

    /// Waits until it has the status, and returns it.
    ///
    /// # Errors
    /// After `bound`, with the last state.
    pub async fn until(&self, status: &str, bound: Duration) -> Result<Value> {
        let look = async || {
            let domain = self.fetch().await?;
            ensure!(text(&domain, "status")? == status, "{domain}");
            Ok(domain)
        };
        wait::until(&format!("{} to be {status}", self.hostname), bound, look).await
    }
}
