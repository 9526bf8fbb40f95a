//! Stoa: domains through the admin API, as creators' clients connect them.

use std::path::Path;

use anyhow::Context as _;
use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Proxy, Scene};
use crate::stoa::{Stoa, field};

/// Domains of one app; less than an app may have.
const EACH: usize = 50;

pub(super) struct Ours {
    stoa: Stoa,
    tenant: String,
    app: String,
    domains: usize,
}

impl Ours {
    /// An empty installation in `folder`.
    pub(super) async fn start(scene: &Scene, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (directory, ca_file) = (&scene.pebble.directory_url, &scene.pebble.ca_file);
        let more = format!(
            "[acme]\ndirectory = {directory:?}\nca_file = {ca_file:?}\n[dns]\nresolvers = [\"{}\"]\n",
            scene.dns.resolver()
        );
        let stoa = Stoa::start_at(folder, 0, (scene.http, &more)).await?;
        let tenant = stoa.tenant("creators").await?;
        Ok(Self { stoa, tenant, app: String::new(), domains: 0 })
    }
}

#[async_trait]
impl Proxy for Ours {
    fn name(&self) -> &'static str {
        "stoa"
    }

    fn port(&self) -> u16 {
        self.stoa.https
    }

    async fn connect(&mut self, scene: &Scene, host: &str, is_sound: bool) -> anyhow::Result<()> {
        if self.domains.is_multiple_of(EACH) {
            self.app = self.stoa.app(&self.tenant, &format!("app-{}", self.domains), 9).await?;
        }
        self.domains += 1;
        let path = format!("/apps/{}/domains", self.app);
        let domain = self.stoa.call(Method::POST, &path, Some(json!({"hostname": host}))).await?;
        if is_sound {
            let records = domain.get("records").and_then(Value::as_array).context("no records")?;
            let alias = records.iter().find(|record| record.get("type") == Some(&json!("CNAME")));
            let target = field(alias.context("no alias is asked for")?, "value")?;
            scene.dns.add_a(&target, [127, 0, 0, 1].into()).await?;
            scene.dns.set_cname(host, &target).await?;
        }
        // A creator who has changed the records says so, whether they are right or not.
        let path = format!("/domains/{}/check", field(&domain, "id")?);
        self.stoa.call(Method::POST, &path, Some(json!({}))).await.map(drop)
    }

    async fn connected(&mut self, _: &Scene) -> anyhow::Result<()> {
        Ok(())
    }
}
