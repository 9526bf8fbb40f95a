//! The request as a backend gets it (RFC 9110 §7.6, RFC 7239).
//!
//! Called from pingora's `upstream_request_filter`. By then pingora 0.9.1 has removed the hop-by-hop fields
//! and what `Connection` nominates, and has rewritten a WebSocket handshake to `Connection: Upgrade` and
//! `Upgrade: websocket` (`HttpUpstreamRequestPolicy::standard`). The same is done here once more, so that
//! it does not hang on a default of a library; `Transfer-Encoding` alone is left to pingora, which frames
//! the body.

use std::net::IpAddr;

use http::header::{CONNECTION, HOST, HeaderName, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};
use model::id::RequestId;
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
    let is_dropped = |name: &HeaderName| match name.as_str() {
        "connection" | "upgrade" => !keeps_upgrade,
        // It is answered here, so that no visitor waits for what a backend never says.
        "expect" => true,
        other => is_hop_by_hop(other) || is_claim(other) || imitates(other),
    };
    let dropped: Vec<HeaderName> = req.headers.keys().filter(|name| is_dropped(name)).cloned().collect();
    for name in &dropped {
        req.remove_header(name);
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

fn state_facts(req: &mut RequestHeader, facts: &ForwardFacts<'_>) -> Result<()> {
    let host = host_field(facts)?;
    let proto = if facts.https { "https" } else { "http" };
    let client = facts.client.to_canonical();
    req.insert_header("Forwarded", forwarded(client, &host, proto)?)?;
    req.insert_header("X-Forwarded-For", client.to_string())?;
    req.insert_header("X-Forwarded-Proto", HeaderValue::from_static(proto))?;
    req.insert_header("X-Forwarded-Host", host.clone())?;
    req.insert_header("X-Forwarded-Port", port_field(facts))?;
    req.insert_header("X-Request-Id", facts.request.to_string())?;
    if let Some(certificate) = facts.client_certificate {
        req.insert_header("X-Client-Cert-Subject", certificate.subject.clone())?;
        req.insert_header("X-Client-Cert-Fingerprint", certificate.fingerprint.clone())?;
        if let Some(whole) = &certificate.certificate {
            req.insert_header("Client-Cert", whole.clone())?;
        }
    }
    req.insert_header(HOST, host)
}

/// `Host` with the port that the visitor wrote, so that the app's own links lead back here.
fn host_field(facts: &ForwardFacts<'_>) -> Result<HeaderValue> {
    let value = match facts.port {
        Some(port) => HeaderValue::try_from(format!("{}:{port}", facts.host)),
        None => HeaderValue::from_str(facts.host),
    };
    value.or_err(ErrorType::InvalidHTTPHeader, "the host cannot stand in a header")
}

fn port_field(facts: &ForwardFacts<'_>) -> HeaderValue {
    match facts.port {
        Some(port) => HeaderValue::from(port),
        None if facts.https => HeaderValue::from_static("443"),
        None => HeaderValue::from_static("80"),
    }
}

/// One element of `Forwarded`; an IPv6 address and a host with a port must be quoted (RFC 7239 §4, §6).
fn forwarded(client: IpAddr, host: &HeaderValue, proto: &str) -> Result<HeaderValue> {
    let host = host.to_str().or_err(ErrorType::InvalidHTTPHeader, "the host is not ASCII")?;
    let quote = if host.contains(':') { "\"" } else { "" };
    let element = match client {
        IpAddr::V4(v4) => format!("for={v4};host={quote}{host}{quote};proto={proto}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]\";host={quote}{host}{quote};proto={proto}"),
    };
    HeaderValue::try_from(element)
        .or_err(ErrorType::InvalidHTTPHeader, "the address cannot stand in a header")
}

#[cfg(test)]
mod tests;
