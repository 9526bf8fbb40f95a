//! pingora's hooks, each of which calls one thing. What they do is told where they call.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::context::Context;
use crate::direct::{self, Lines};
use crate::edge::Shared;
use crate::headers::clean_trailers;
use crate::{answer, ending, forward};

/// The edge as pingora sees it.
pub(crate) struct Hooks {
    pub(crate) edge: Arc<Shared>,
    /// The connections of the direct way.
    pub(crate) lines: Arc<Lines>,
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.edge.state.clock.now())
    }

    /// None: compression would cost each request a module that is off.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        answer::begin(session, context, &self.edge);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        Ok(answer::receive(session, context, &self.edge).await?
            || direct::forward(session, context, &self.edge, &self.lines).await?)
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        forward::choose(session, context, &self.edge).await
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _: bool,
        _: &HttpPeer,
        _: RawFd,
        digest: Option<&Digest>,
        context: &mut Context,
    ) -> Result<()> {
        forward::connected(session, digest, context, &self.edge);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        forward::send(session, request, context, &self.edge)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        context: &mut Context,
    ) -> Result<()> {
        ending::flow(session, context, &self.edge)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        forward::relay(session, response, context, &self.edge)
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Context,
    ) -> Result<Option<Bytes>> {
        clean_trailers(trailers);
        Ok(None)
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        _: &mut Option<Bytes>,
        is_last: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        forward::relay_body(session, context, is_last, &self.edge).map(|()| None)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        context: &mut Context,
        error: Box<Error>,
    ) -> Box<Error> {
        forward::connect_failed(context, error, &self.edge)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Context,
        was_reused: bool,
    ) -> Box<Error> {
        forward::exchange_failed(session, context, error, was_reused, &self.edge)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        answer::fail(session, error, context, &self.edge).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        ending::end(session, error, context, &self.edge);
    }

    /// The ending logs it, once and with its reference code.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Context, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
