//! The demo app of a first start: two small origins in this process, and the app that points at them.
//!
//! They are real backends on loopback ports, so that everything a creator's app meets, the demo meets too.
//! Deliberately absent: a second seeding. Who deletes the demo has deleted it.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use crate::succession::Heritage;

/// Serves the demo page on `listener` until the process ends.
pub(crate) async fn serve(listener: TcpListener, name: &'static str) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "demo origin could not accept a connection");
                tokio::task::yield_now().await;
                continue;
            }
        };
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, name));
            let connection = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "demo origin lost a connection");
            }
        });
    }
}

/// Takes a loopback port: the wanted one if it is free, else any.
///
/// # Errors
/// No loopback port can be had.
pub(crate) async fn listen(wanted: Option<u16>, heritage: &mut Heritage) -> anyhow::Result<TcpListener> {
    if let Some(port) = wanted
        && let Ok(listener) = heritage.listen(SocketAddr::from(([127, 0, 0, 1], port))).await
    {
        return Ok(listener);
    }
    TcpListener::bind(("127.0.0.1", 0)).await.context("cannot listen on a loopback port for the demo app")
}

async fn answer(request: Request<Incoming>, name: &'static str) -> Result<Response<Full<Bytes>>, Infallible> {
    let visitor = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let page = page(name, visitor.unwrap_or("somebody"));
    let mut response = Response::new(Full::new(Bytes::from(page)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Ok(response)
}

fn page(name: &str, visitor: &str) -> String {
    let visitor: String =
        visitor.chars().filter(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':')).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Hello from Stoa</title></head>\n\
         <body><h1>Hello from Stoa</h1>\n<p>This page came from {name}, one of two demo backends, for {visitor}.</p>\n\
         <p>Reload it to meet the other one.</p></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn what_a_visitor_sends_cannot_become_markup() {
        assert!(!page("backend A", "<script>").contains("<script>"));
    }
}
