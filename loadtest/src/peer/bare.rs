//! A bare pingora in the shape of Stoa's edge, so that what everything of Stoa costs is a figure.
//!
//! The same: an accept loop of its own, one single-threaded runtime, rustls with aws-lc-rs and AES-128 first, tickets
//! and no session cache, mimalloc, kept connections to the backend. It finds one certificate by SNI and the backend
//! by host, adds HSTS and two forwarding headers, and is a verb of this program: `loadtest bare PORT BACKEND CHAIN
//! KEY`. Deliberately absent: everything else, deadlines, limits and an access log too.

mod connection;
mod hooks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use pingora_core::apps::ServerApp as _;
use pingora_core::server::ShutdownWatch;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ResolvesServerCertUsingSni};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{HOST, Peer, Plan};
use crate::process;
use connection::{Connection, Joined};
use hooks::Hooks;

/// What it is called in reports.
pub(crate) const NAME: &str = "bare";
/// The pingora that it is made of, which the workspace pins.
pub(super) const PINGORA: &str = "pingora 0.9.1";
/// Connections that the kernel holds while it is busy, as Stoa's.
const BACKLOG: u32 = 4096;
/// Connections to the backend that are kept, as Stoa's.
const KEPT_CONNECTIONS: usize = 256;
/// Writes are joined up to so many bytes, as Stoa's.
const JOIN_BYTES: usize = 16 << 10;

/// What it is told.
#[derive(Debug, PartialEq)]
pub(crate) struct Bare {
    port: u16,
    backend: u16,
    chain: PathBuf,
    key: PathBuf,
}

/// Starts it before the backend, as a process.
///
/// # Errors
/// It does not start.
pub(super) async fn proxy(plan: &Plan<'_>) -> anyhow::Result<Peer> {
    let port = process::free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", &port.to_string(), &plan.backend.to_string()]);
    command.args([&plan.pair.chain, &plan.pair.key]);
    Peer::start(NAME, &command, port, plan).await
}

impl Bare {
    /// Reads the arguments of the verb.
    ///
    /// # Errors
    /// They are not two ports and two paths.
    pub(crate) fn read(arguments: &[String]) -> anyhow::Result<Self> {
        let [port, backend, chain, key] = arguments else { bail!("bare wants PORT BACKEND CHAIN KEY") };
        let number = |text: &str| text.parse().with_context(|| format!("`{text}` is no port"));
        Ok(Self { port: number(port)?, backend: number(backend)?, chain: chain.into(), key: key.into() })
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// It cannot begin.
    pub(crate) fn serve(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.accept())
    }

    async fn accept(&self) -> anyhow::Result<()> {
        let listener = listen(self.port).with_context(|| format!("cannot listen on port {}", self.port))?;
        let tls = TlsAcceptor::from(Arc::new(self.tls()?));
        let conf = ServerConf {
            threads: 1,
            upstream_keepalive_pool_size: KEPT_CONNECTIONS,
            ..ServerConf::default()
        };
        let proxy = Arc::new(http_proxy(&Arc::new(conf), Hooks::new(HOST, self.backend)));
        // Kept for as long as it serves: it never tells connections to end.
        let (_running, draining) = watch::channel(false);
        loop {
            let (tcp, client) = listener.accept().await?;
            let (tls, proxy, draining) = (tls.clone(), Arc::clone(&proxy), draining.clone());
            tokio::spawn(serve(tcp, client, tls, proxy, draining));
        }
    }

    fn tls(&self) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(provider());
        let chain = CertificateDer::pem_file_iter(&self.chain)?.collect::<Result<_, _>>()?;
        let pair = CertifiedKey::from_der(chain, PrivateKeyDer::from_pem_file(&self.key)?, &provider)?;
        let mut names = ResolvesServerCertUsingSni::new();
        names.add(HOST, pair)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(names));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.ignore_client_order = true;
        Ok(config)
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.listen(BACKLOG)
}

/// A connection that fails ends, and nobody is told.
async fn serve(
    tcp: TcpStream,
    client: SocketAddr,
    tls: TlsAcceptor,
    proxy: Arc<HttpProxy<Hooks>>,
    draining: ShutdownWatch,
) {
    let _set = tcp.set_nodelay(true);
    let joined = Joined::with_capacity(JOIN_BYTES, tcp);
    let Ok(stream) = tls.accept(joined).await else { return };
    let Ok(connection) = Connection::new(stream, client) else { return };
    proxy.process_new(Box::new(connection), &draining).await;
}

/// AES-128 before AES-256 and ChaCha20, as Stoa's.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        (!name.starts_with("TLS13"), !name.contains("AES_128"))
    });
    provider
}

#[cfg(test)]
mod tests;
