//! HTTP clients for tests: of the process (reqwest on rustls), which never read proxies from the environment
//! and never follow redirects. The command `curl` is in [`crate::curl`], bare handshakes in [`crate::tls`].

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use reqwest::{Certificate, Client, ClientBuilder, redirect};

/// Longer than anything a test asks for may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client for cleartext.
///
/// # Errors
/// If the TLS library cannot be set up.
pub fn plain() -> Result<Client> {
    Ok(builder().tls_certs_only([]).build()?)
}

/// A client that trusts the roots in `pem` and nobody else.
///
/// # Errors
/// If `pem` holds no certificates.
pub fn trusting(pem: &str) -> Result<Client> {
    Ok(builder().tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes())?).build()?)
}

/// As [`trusting`], with `host` pinned to `address`, whatever the system resolves it to.
///
/// # Errors
/// If `pem` holds no certificates.
pub fn pinned(pem: &str, host: &str, address: SocketAddr) -> Result<Client> {
    let roots = Certificate::from_pem_bundle(pem.as_bytes())?;
    Ok(builder().tls_certs_only(roots).resolve(host, address).build()?)
}

/// As [`pinned`], speaking HTTP/1.1 only.
///
/// # Errors
/// If `pem` holds no certificates.
pub fn pinned_http1(pem: &str, host: &str, address: SocketAddr) -> Result<Client> {
    let roots = Certificate::from_pem_bundle(pem.as_bytes())?;
    Ok(builder().tls_certs_only(roots).resolve(host, address).http1_only().build()?)
}

fn builder() -> ClientBuilder {
    crate::tls::install_provider();
    Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(TIMEOUT)
}

/// Succeeds if the URL answers with a success.
///
/// # Errors
/// If it does not.
pub async fn probe(client: &Client, url: &str) -> Result<()> {
    client.get(url).send().await?.error_for_status()?;
    Ok(())
}
