//! An HTTPS server that is not what its client takes it for: every request gets an HTML page. It stands for
//! the captive portals and error pages that answer in place of an API.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::ports::Port;

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 29\r\n\
Connection: close\r\n\r\n<html>Please sign in.</html>\r\n";

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct Impostor {
    /// `https://localhost:<port>/dir`
    pub url: String,
    /// A PEM file with the root of its certificate.
    pub ca_file: PathBuf,
    accepting: JoinHandle<()>,
    _port: Port,
    _dir: TempDir,
}

impl Impostor {
    /// Starts the server.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> Result<Self> {
        crate::tls::install_provider();
        let authority = Authority::new()?;
        let issued = authority.issue(&["localhost", "127.0.0.1"])?;
        let dir = tempfile::tempdir()?;
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, authority.pem())?;
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![issued.der], issued.key)?;
        let port = Port::lease()?;
        let listener = TcpListener::bind(port.address()).await?;
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config))));
        let url = format!("https://localhost:{}/dir", port.number());
        Ok(Self { url, ca_file, accepting, _port: port, _dir: dir })
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        // A client that goes away takes its answer with it.
        tokio::spawn(async move { answer(stream, acceptor).await.ok() });
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut request = [0; 4096];
    anyhow::ensure!(stream.read(&mut request).await? > 0, "no request came");
    stream.write_all(PAGE).await?;
    Ok(stream.shutdown().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_request_gets_a_page() {
        let impostor = Impostor::start().await.unwrap();
        let roots = std::fs::read_to_string(&impostor.ca_file).unwrap();
        let answer = crate::client::trusting(&roots).unwrap().get(&impostor.url).send().await.unwrap();
        assert!(answer.text().await.unwrap().starts_with("<html>"));
    }
}
