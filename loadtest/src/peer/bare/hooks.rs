//! What the bare proxy does to a request: the backend of its host, three headers.

use std::collections::HashMap;
use std::net::SocketAddr;

use async_trait::async_trait;
use http::HeaderValue;
use http::header::{HOST, STRICT_TRANSPORT_SECURITY};
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{ProxyHttp, Session};

/// Backends by host.
#[derive(Debug)]
pub(super) struct Hooks {
    hosts: HashMap<String, SocketAddr>,
}

impl Hooks {
    /// One host before a port of loopback.
    pub(super) fn new(host: &str, backend: u16) -> Self {
        Self { hosts: HashMap::from([(host.to_owned(), SocketAddr::from(([127, 0, 0, 1], backend)))]) }
    }

    fn backend(&self, request: &RequestHeader) -> Option<SocketAddr> {
        // HTTP/2 names it in the target, HTTP/1 in a field that may have a port.
        let host = request.uri.host().or_else(|| {
            let field = request.headers.get(HOST)?.to_str().ok()?;
            field.split(':').next()
        });
        self.hosts.get(host?).copied()
    }
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = ();

    fn new_ctx(&self) {}

    /// None, as Stoa: compression would cost each request a module that is off.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, session: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let backend = self.backend(session.req_header());
        let backend = backend.ok_or_else(|| Error::explain(ErrorType::HTTPStatus(404), "no such host"))?;
        Ok(Box::new(HttpPeer::new(backend, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        (): &mut (),
    ) -> Result<()> {
        let known = session.digest().and_then(|digest| digest.proxy_digest.as_ref()?.user_data.as_ref());
        if let Some(client) = known.and_then(|known| known.downcast_ref::<SocketAddr>()) {
            request.insert_header("X-Forwarded-For", client.ip().to_string())?;
        }
        request.insert_header("X-Forwarded-Proto", HeaderValue::from_static("https"))
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        (): &mut (),
    ) -> Result<()> {
        let year = HeaderValue::from_static("max-age=31536000");
        response.insert_header(STRICT_TRANSPORT_SECURITY, year)
    }
}
