//! The authority at an address: HTTP/1.1 over TLS on a leased port.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::handler::Handler;
use crate::authority::Issued;

/// Largest request that is read.
const MAX_REQUEST: usize = 256 * 1024;

/// Serves until dropped. Connections end with it.
pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, handler: Arc<Handler>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((tcp, _)) = listener.accept() => {
                connections.spawn(talk(tcp, acceptor.clone(), Arc::clone(&handler)));
            }
            Some(_ended) = connections.join_next() => {}
        }
    }
}

pub(super) fn acceptor(issued: Issued) -> Result<TlsAcceptor> {
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![issued.der], issued.key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn talk(tcp: TcpStream, acceptor: TlsAcceptor, handler: Arc<Handler>) {
    // Small answers: without this each waits for the client's acknowledgement of the one before.
    let _set = tcp.set_nodelay(true);
    // Who does not shake hands, or breaks off, is not our affair.
    let Ok(tls) = acceptor.accept(tcp).await else { return };
    let service = service_fn(|request| respond(request, Arc::clone(&handler)));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tls), service);
    let _ended = connection.await;
}

/// An error closes the connection without an answer.
async fn respond(
    request: Request<Incoming>,
    handler: Arc<Handler>,
) -> std::io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, MAX_REQUEST).collect().await.map_err(std::io::Error::other)?;
    let answer = handler.answer(Request::from_parts(parts, body.to_bytes())).await;
    let answer = answer.ok_or_else(|| std::io::Error::other("scripted: closed without an answer"))?;
    Ok(answer.map(Full::new))
}
