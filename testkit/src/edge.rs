//! The visitors' side of an installation: where it listens, and whom its visitors trust.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::client;
use crate::curl::Curl;
use crate::load::Load;
use crate::tls::Tls;

/// An edge as visitors reach it.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The HTTPS listener.
    pub https: SocketAddr,
    /// The cleartext listener.
    pub http: SocketAddr,
    /// The roots that visitors trust, PEM.
    pub roots: PathBuf,
}

impl Edge {
    /// The same edge for visitors who trust other roots.
    #[must_use]
    pub fn trusting(&self, roots: PathBuf) -> Self {
        Self { roots, ..self.clone() }
    }

    /// A request over HTTPS.
    #[must_use]
    pub fn get(&self, host: &str, path: &str) -> Curl {
        Curl::get(format!("https://{host}:{}{path}", self.https.port())).cacert(&self.roots)
    }

    /// A request in the clear.
    #[must_use]
    pub fn get_cleartext(&self, host: &str, path: &str) -> Curl {
        Curl::get(format!("http://{host}:{}{path}", self.http.port()))
    }

    /// The roots that visitors trust, PEM.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn roots_pem(&self) -> Result<String> {
        let shown = || format!("no roots in {}", self.roots.display());
        std::fs::read_to_string(&self.roots).with_context(shown)
    }

    /// A visitor's TLS client.
    ///
    /// # Errors
    /// If the roots cannot be read.
    pub fn tls(&self) -> Result<Tls> {
        Tls::trusting(&self.roots_pem()?)
    }

    /// A visitor of one host that keeps connections.
    ///
    /// # Errors
    /// If the roots cannot be read.
    pub fn visitor(&self, host: &str) -> Result<Visitor> {
        let client = client::pinned(&self.roots_pem()?, host, self.https)?;
        Ok(Visitor { client, base: format!("https://{host}:{}", self.https.port()) })
    }

    /// As [`Self::visitor`], over HTTP/1.1.
    ///
    /// # Errors
    /// If the roots cannot be read.
    pub fn visitor_http1(&self, host: &str) -> Result<Visitor> {
        let client = client::pinned_http1(&self.roots_pem()?, host, self.https)?;
        Ok(Visitor { client, base: format!("https://{host}:{}", self.https.port()) })
    }
}

/// A visitor of one host that keeps connections.
#[derive(Debug, Clone)]
pub struct Visitor {
    client: reqwest::Client,
    base: String,
}

impl Visitor {
    /// The body of a path.
    ///
    /// # Errors
    /// If the answer is no success, or none.
    pub async fn get(&self, path: &str) -> Result<String> {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    /// Asks for `/` from so many workers, until told to stop.
    #[must_use]
    pub fn load(&self, workers: usize) -> Load {
        let visitor = self.clone();
        Load::start(workers, move || {
            let visitor = visitor.clone();
            async move { visitor.get("/").await.map(drop) }
        })
    }
}
