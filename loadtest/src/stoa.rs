//! The real binary with its real configuration, as a process of this run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::process::{self, Process, Successor};
use crate::visitors::Place;

/// The zone of the test installation.
pub(crate) const ZONE: &str = "apps.localhost";

/// A running `stoa up` and the way to its API.
#[derive(Debug)]
pub(crate) struct Stoa {
    /// The process.
    pub(crate) process: Process,
    /// Port of the HTTPS listener.
    pub(crate) https: u16,
    /// Port of the listener in the clear.
    http_port: u16,
    /// The data directory.
    pub(crate) data: PathBuf,
    api: u16,
    key: String,
    http: Client,
    successors: Vec<Successor>,
}

impl Stoa {
    /// Starts the binary that was built beside this one, in `folder`, pinned to `core`. `more` is TOML: further
    /// keys of `[edge]`, then further tables.
    ///
    /// # Errors
    /// The binary is not built, or does not become ready.
    pub(crate) async fn start(folder: &Path, core: usize, more: &str) -> anyhow::Result<Self> {
        Self::start_at(folder, core, (process::free_port()?, more)).await
    }

    /// The same, its listener in the clear at a port that others know already.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn start_at(
        folder: &Path,
        core: usize,
        (http, more): (u16, &str),
    ) -> anyhow::Result<Self> {
        let data = folder.join("stoa-data");
        let [https, metrics, api] = [process::free_port()?, process::free_port()?, process::free_port()?];
        let configuration = format!(
            "[edge]\nhttp = [\"127.0.0.1:{http}\"]\nhttps = [\"127.0.0.1:{https}\"]\nzones = [\"{ZONE}\"]\nmetrics = \"127.0.0.1:{metrics}\"\nworkers = 1\n{more}\n\
             [api]\nlisten = \"127.0.0.1:{api}\"\n"
        );
        let path = folder.join("stoa.toml");
        std::fs::write(&path, configuration)?;
        let mut command = Command::new(binary()?);
        command.arg("up").arg("--config").arg(&path).arg("--data").arg(&data);
        let log = folder.join("stoa.log");
        let process = Process::start(&command, core, &log)?;
        let mut stoa = Self {
            process,
            https,
            http_port: http,
            data,
            api,
            key: String::new(),
            http: Client::new(),
            successors: Vec::new(),
        };
        let ready = stoa.ready(metrics).await;
        ready.with_context(|| format!("stoa said: {}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        let key = std::fs::read_to_string(stoa.data.join("platform-key")).context("no platform key")?;
        stoa.key = key.trim().to_owned();
        Ok(stoa)
    }

    async fn ready(&self, metrics: u16) -> anyhow::Result<()> {
        let url = format!("http://127.0.0.1:{metrics}/readyz");
        for _ in 0..1500 {
            if let Ok(response) = self.http.get(&url).send().await
                && response.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("not ready after 15 s")
    }

    /// Where visitors of `host` find it.
    ///
    /// # Errors
    /// The local authority cannot be read.
    pub(crate) fn place(&self, host: &'static str) -> anyhow::Result<Place> {
        Place::new(host, self.https, &std::fs::read(self.data.join("ca.pem"))?)
    }

    /// The process in charge.
    ///
    /// # Errors
    /// The data directory does not tell.
    pub(crate) fn in_charge(&self) -> anyhow::Result<u32> {
        let lock = std::fs::read_to_string(self.data.join("lock"))?;
        lock.trim().parse().with_context(|| format!("the lock says `{lock}`"))
    }

    /// Asks for another process in the place of the one in charge, and waits until that one is.
    ///
    /// # Errors
    /// The process is gone.
    pub(crate) async fn renew(&mut self) -> anyhow::Result<()> {
        let before = self.in_charge()?;
        let asked = Command::new("kill").args(["-HUP", &before.to_string()]).status()?;
        if !asked.success() {
            bail!("process {before} is gone");
        }
        while self.in_charge()? == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.successors.push(Successor(self.in_charge()?));
        Ok(())
    }

    /// Requests of visitors that were counted for a tenant, once two looks in a row say the same.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(crate) async fn settled_requests(&self, tenant: &str, wanted: Option<u64>) -> anyhow::Result<u64> {
        let mut before = None;
        for _ in 0..30 {
            let usage = self.call(Method::GET, &format!("/tenants/{tenant}/usage"), None).await?;
            let now = usage.pointer("/by_class/visitor/requests").and_then(Value::as_u64);
            if now.is_some() && (now == wanted || (wanted.is_none() && now == before)) {
                return Ok(now.unwrap_or_default());
            }
            before = now;
            tokio::time::sleep(Duration::from_millis(2_000)).await;
        }
        before.context("the API tells no usage")
    }

    /// Calls the admin API.
    ///
    /// # Errors
    /// It is out of reach or answers a problem.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let mut call = self
            .http
            .request(method, format!("http://127.0.0.1:{}/v1{path}", self.api))
            .bearer_auth(&self.key);
        if let Some(body) = body {
            call = call.json(&body);
        }
        let response = call.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{path}: {status}: {text}");
        }
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// A tenant without limits that matter here.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(crate) async fn tenant(&self, slug: &str) -> anyhow::Result<String> {
        let tenant = self.call(Method::POST, "/tenants", Some(json!({"name": slug, "slug": slug}))).await?;
        let id = field(&tenant, "id")?;
        let wide = json!({"requests_per_minute": 60_000_000, "burst": 60_000_000});
        let limits = json!({"tenant": wide, "visitor": wide});
        self.call(Method::PUT, &format!("/tenants/{id}/limits"), Some(limits)).await?;
        Ok(id)
    }

    /// An app at `<name>.<zone>` before one backend.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(crate) async fn app(&self, tenant: &str, name: &str, backend: u16) -> anyhow::Result<String> {
        let body = json!({"name": name, "backends": [{"url": format!("http://127.0.0.1:{backend}")}]});
        let app = self.call(Method::POST, &format!("/tenants/{tenant}/apps"), Some(body)).await?;
        field(&app, "id")
    }

    /// Waits until the app of that host answers.
    ///
    /// # Errors
    /// It does not in ten seconds.
    pub(crate) async fn serves(&self, host: &str) -> anyhow::Result<()> {
        let (visitor, url) = (self.visitor(host)?, format!("https://{host}:{}/", self.https));
        for _ in 0..500 {
            if let Ok(response) = visitor.get(&url).send().await
                && response.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("`{host}` is not served after 10 s")
    }

    /// The same edge as the clients of `testkit` reach it.
    pub(crate) fn edge(&self) -> testkit::edge::Edge {
        let at = |port| ([127, 0, 0, 1], port).into();
        testkit::edge::Edge {
            https: at(self.https),
            http: at(self.http_port),
            roots: self.data.join("ca.pem"),
        }
    }

    /// A client that trusts the local authority and finds every name on loopback.
    ///
    /// # Errors
    /// The authority's file cannot be read.
    pub(crate) fn visitor(&self, host: &str) -> anyhow::Result<Client> {
        let pem = std::fs::read(self.data.join("ca.pem")).context("no ca.pem")?;
        let authority = reqwest::Certificate::from_pem(&pem)?;
        let address = ([127, 0, 0, 1], self.https).into();
        Ok(Client::builder().tls_certs_only([authority]).resolve(host, address).build()?)
    }
}

/// A text field of an answer.
///
/// # Errors
/// The answer has none of that name.
pub(crate) fn field(value: &Value, name: &str) -> anyhow::Result<String> {
    let text = value.get(name).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no `{name}` in {value}"))?.to_owned())
}

/// The `stoa` built beside this program.
///
/// # Errors
/// It is not there.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("stoa");
    if !path.exists() {
        bail!("`{}` is missing: build it with cargo build --release -p stoa", path.display());
    }
    Ok(path)
}
