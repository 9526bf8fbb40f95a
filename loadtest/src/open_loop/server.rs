//! A server for the generator's own tests: HTTP/1.1 and HTTP/2 over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// `/` answers 4 bytes, `/long` 8, `/last` 4 and ends the connection, everything else 404.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    _accepting: JoinSet<()>,
}

fn answer(path: &str) -> (u16, &'static str) {
    match path {
        "/" | "/last" => (200, "fine"),
        "/long" => (200, "too long"),
        _ => (404, "none"),
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        testkit::tls::install_provider();
        let made = rcgen::generate_simple_self_signed(vec!["server.test".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                serving.spawn(serve(tcp, acceptor.clone()));
            }
        });
        Self { address, _accepting: accepting }
    }
}

/// A client that goes away is none of the server's business.
async fn serve(tcp: TcpStream, acceptor: TlsAcceptor) {
    let Ok(stream) = acceptor.accept(tcp).await else { return };
    let _ended = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2(stream).await,
        _ => http1(stream).await,
    };
}

async fn http1(mut stream: TlsStream<TcpStream>) -> anyhow::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let text = String::from_utf8(std::mem::take(&mut head))?;
        let path = text.split(' ').nth(1).unwrap_or_default();
        let (status, body) = answer(path);
        let connection = if path == "/last" { "close" } else { "keep-alive" };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: {connection}\r\n\r\n{body}"
        );
        stream.write_all(answer.as_bytes()).await?;
        if path == "/last" {
            return Ok(stream.shutdown().await?);
        }
    }
}

async fn http2(stream: TlsStream<TcpStream>) -> anyhow::Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let (status, body) = answer(request.uri().path());
        let head = Response::builder().status(status).body(())?;
        respond.send_response(head, false)?.send_data(Bytes::from_static(body.as_bytes()), true)?;
    }
    Ok(())
}
