//! The request as a backend gets it (RFC 9110 §7.6, RFC 7239).
//!
//! Called from pingora's `upstream_request_filter`. By then pingora 0.9.1 has removed the hop-by-hop fields
//! and what `Connection` nominates, and has rewritten a WebSocket handshake to `Connection: Upgrade` and
//! `Upgrade: websocket` (`HttpUpstreamRequestPolicy::standard`). The same is done here once more, so that
//! it does not hang on a default of a library; `Transfer-Encoding` alone is left to pingora, which frames
//! the body.

use std::net::IpAddr;

use http::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};
use model::id::RequestId;
use model::push::Push as _;
use pingora_core::{ErrorType, OrErr, Result};
use pingora_http::RequestHeader;

use crate::client_auth::ClientFields;

/// What the edge knows about a request that its app should know.
pub(crate) struct ForwardFacts<'a> {
    /// Address of the visitor.
    pub(crate) client: IpAddr,
    /// Whether the visitor came over TLS.
    pub(crate) https: bool,
    /// The host in its canonical form.
    pub(crate) host: &'a str,
    /// The port that the visitor wrote, if any.
    pub(crate) port: Option<u16>,
    /// The reference code.
    pub(crate) request: RequestId,
    /// The certificate that the visitor showed, if the host asks for one.
    pub(crate) client_certificate: Option<&'a ClientFields>,
}

/// Takes out what only an edge may say, and says it.
///
/// # Errors
/// If a fact cannot stand in a header field, which no canonical host can cause.
pub(crate) fn rebuild_request(req: &mut RequestHeader, facts: &ForwardFacts<'_>) -> Result<()> {
    remove_nominated(req);
    remove_untrusted(req);
    state_facts(req, facts)
}

/// Removes what `Connection` nominates, but for fields that frame the message or that are set anew anyway.
fn remove_nominated(req: &mut RequestHeader) {
    for name in &nominated(&req.headers) {
        req.remove_header(name);
    }
}

/// What `Connection` nominates, but for fields that frame a message or that have a rule of their own.
pub(super) fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let is_kept = |name: &HeaderName| {
        matches!(name.as_str(), "close" | "upgrade" | "host" | "content-length" | "transfer-encoding")
    };
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| !is_kept(name))
        .collect()
}

fn remove_untrusted(req: &mut RequestHeader) {
    let keeps_upgrade = is_websocket(req);
    let dropped: Vec<HeaderName> =
        req.headers.keys().filter(|name| is_dropped(name.as_str(), keeps_upgrade)).cloned().collect();
    for name in &dropped {
        req.remove_header(name);
    }
}

/// Whether no app sees the field `name` of a request, which may keep those of an upgrade.
pub(super) fn is_dropped(name: &str, keeps_upgrade: bool) -> bool {
    match name {
        "connection" | "upgrade" => !keeps_upgrade,
        // It is answered here, so that no visitor waits for what a backend never says.
        "expect" => true,
        other => is_hop_by_hop(other) || is_claim(other) || imitates(other),
    }
}

/// Whether it is the handshake of a WebSocket (RFC 6455 §4.1) as browsers make it. Nothing else is upgraded.
pub(crate) fn is_websocket(req: &RequestHeader) -> bool {
    let headers = &req.headers;
    let has_token = |name: HeaderName, wanted: &[u8]| {
        let mut tokens =
            headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
    };
    req.method == Method::GET
        && req.version == Version::HTTP_11
        && headers.contains_key(SEC_WEBSOCKET_KEY)
        && has_token(UPGRADE, b"websocket")
        && has_token(CONNECTION, b"upgrade")
}

/// Fields of one connection (RFC 9110 §7.6.1) other than `Connection`, `Upgrade` and `Transfer-Encoding`.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "http2-settings"
    )
}

/// Fields in which apps and frameworks believe what an edge in front of them says: about the visitor, about
/// the address, about us. `Proxy` is the one that CGI programs mistake for `HTTP_PROXY` (CVE-2016-5385).
pub(crate) fn is_claim(name: &str) -> bool {
    match name {
        "forwarded" | "x-request-id" | "x-forwarded" | "proxy" => true,
        "x-real-ip" | "x-client-ip" | "x-cluster-client-ip" | "true-client-ip" | "cf-connecting-ip" => true,
        "x-original-url" | "x-rewrite-url" => true,
        "client-cert" | "client-cert-chain" => true,
        _ => ["x-forwarded-", "x-stoa-", "x-client-cert"].iter().any(|prefix| name.starts_with(prefix)),
    }
}

/// Whether `name` becomes one of the names above, or one that frames a message, where `_` and `-` are the
/// same, as in CGI and WSGI: `X_Forwarded_For` is no way around.
fn imitates(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let plain = name.replace('_', "-");
    let frames =
        matches!(plain.as_str(), "host" | "content-length" | "transfer-encoding" | "connection" | "upgrade");
    frames || is_hop_by_hop(&plain) || is_claim(&plain)
}

/// Where the facts are stated, each field once.
pub(super) trait Sink {
    /// A field whose value `write` appends.
    ///
    /// # Errors
    /// If the value cannot stand in a field.
    fn say(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> Result<()>;
}

impl Sink for RequestHeader {
    fn say(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut value = Vec::new();
        write(&mut value);
        let value = HeaderValue::from_bytes(&value);
        self.insert_header(name, value.or_err(ErrorType::InvalidHTTPHeader, "it cannot stand in a header")?)
    }
}

/// States what the edge knows, `Host` first.
pub(super) fn state_facts(sink: &mut impl Sink, facts: &ForwardFacts<'_>) -> Result<()> {
    let proto = if facts.https { "https" } else { "http" };
    let port = facts.port.unwrap_or(if facts.https { 443 } else { 80 });
    let client = facts.client.to_canonical();
    sink.say("Host", |out| push_host(facts, out))?;
    sink.say("Forwarded", |out| push_forwarded(client, proto, facts, out))?;
    sink.say("X-Forwarded-For", |out| client.push_to(out))?;
    sink.say("X-Forwarded-Proto", |out| proto.push_to(out))?;
    sink.say("X-Forwarded-Host", |out| push_host(facts, out))?;
    sink.say("X-Forwarded-Port", |out| port.push_to(out))?;
    sink.say("X-Request-Id", |out| facts.request.push_to(out))?;
    let Some(certificate) = facts.client_certificate else { return Ok(()) };
    let mut repeat = |name, value: &HeaderValue| {
        sink.say(name, |out: &mut Vec<u8>| out.extend_from_slice(value.as_bytes()))
    };
    repeat("X-Client-Cert-Subject", &certificate.subject)?;
    repeat("X-Client-Cert-Fingerprint", &certificate.fingerprint)?;
    certificate.certificate.as_ref().map_or(Ok(()), |whole| repeat("Client-Cert", whole))
}

/// The host with the port that the visitor wrote, so that the app's own links lead back here.
fn push_host(facts: &ForwardFacts<'_>, out: &mut Vec<u8>) {
    facts.host.push_to(out);
    if let Some(port) = facts.port {
        out.push(b':');
        port.push_to(out);
    }
}

/// One element of `Forwarded`; an IPv6 address and a host with a port must be quoted (RFC 7239 §4, §6).
fn push_forwarded(client: IpAddr, proto: &str, facts: &ForwardFacts<'_>, out: &mut Vec<u8>) {
    let quote = if facts.port.is_some() { "\"" } else { "" };
    let (open, close) = if client.is_ipv6() { ("for=\"[", "]\"") } else { ("for=", "") };
    open.push_to(out);
    client.push_to(out);
    close.push_to(out);
    for part in [";host=", quote] {
        part.push_to(out);
    }
    push_host(facts, out);
    for part in [quote, ";proto=", proto] {
        part.push_to(out);
    }
}

#[cfg(test)]
mod tests;
