//! The response as a visitor gets it.
//!
//! Owned by the platform, so set or taken out whatever the backend says: `Content-Security-Policy`,
//! `Referrer-Policy`, `X-Content-Type-Options`, `Strict-Transport-Security`, `X-Request-Id`, `X-Stoa-*`,
//! and `Alt-Svc`, which would lead visitors past the edge. `X-Powered-By` is taken out, and so is what belongs
//! to the backend's connection (RFC 9110 §7.6.1); `Server` and every other field are the app's. `Set-Cookie`:
//! see [`super::cookie`].

use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, LINK, REFERRER_POLICY, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use model::Host;
use model::id::RequestId;
use model::site::HeaderPolicy;
use pingora_core::{ErrorType, OrErr as _, Result};
use pingora_http::ResponseHeader;

use super::cookie;
use super::request::{is_hop_by_hop, nominated};

/// A year, the shortest time that browsers' preload lists accept, for our zone and all apps below it.
const ZONE_HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");
/// The names below a creator's domain are not ours to promise for.
const DOMAIN_HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Which `Strict-Transport-Security` goes out (RFC 6797).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hsts {
    /// None: in development, in the clear, or while a domain is not live.
    Off,
    /// That of a name on one of our zones.
    Zone,
    /// That of a creator's own domain.
    Domain,
}

/// An app's header policy as values that can be sent.
#[derive(Debug, Clone)]
pub(crate) struct PreparedPolicy {
    content_security_policy: Option<HeaderValue>,
    referrer_policy: HeaderValue,
}

impl PreparedPolicy {
    /// Writes the values once, so that a response only counts a reference up.
    pub(crate) fn new(policy: &HeaderPolicy) -> Self {
        let csp = policy.content_security_policy.to_string();
        Self {
            content_security_policy: (!csp.is_empty()).then(|| HeaderValue::try_from(csp).ok()).flatten(),
            referrer_policy: HeaderValue::from_static(policy.referrer_policy.as_str()),
        }
    }
}

/// Makes a backend's response one of the platform. `zones` are the names under which apps live side by side.
///
/// # Errors
/// None that a request or a backend can cause; pingora's way to set a field has them in its type.
pub(crate) fn secure_response(
    resp: &mut ResponseHeader,
    policy: &PreparedPolicy,
    zones: &[Host],
    hsts: Hsts,
    request: RequestId,
) -> Result<()> {
    remove_foreign(resp);
    confine_cookies(resp, zones)?;
    match &policy.content_security_policy {
        Some(value) => resp.insert_header("Content-Security-Policy", value.clone())?,
        None => drop(resp.remove_header(&CONTENT_SECURITY_POLICY)),
    }
    resp.insert_header("Referrer-Policy", policy.referrer_policy.clone())?;
    resp.insert_header("X-Content-Type-Options", NOSNIFF)?;
    resp.insert_header("X-Request-Id", unique(request)?)?;
    match hsts {
        Hsts::Off => Ok(()),
        Hsts::Zone => resp.insert_header("Strict-Transport-Security", ZONE_HSTS),
        Hsts::Domain => resp.insert_header("Strict-Transport-Security", DOMAIN_HSTS),
    }
}

/// A value that no other response has. Marked as one that HTTP/2 does not put into its table of fields (RFC 7541
/// §7.1), where it would push out those that come again.
fn unique(request: RequestId) -> Result<HeaderValue> {
    let value = HeaderValue::try_from(request.to_string());
    let mut value = value.or_err(ErrorType::InvalidHTTPHeader, "an id cannot stand in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Makes a backend's informational response one of the platform: hints of what to load (103, RFC 8297) are the
/// app's, and nothing else is.
pub(crate) fn hint_response(resp: &mut ResponseHeader) {
    let dropped: Vec<HeaderName> = resp.headers.keys().filter(|name| **name != LINK).cloned().collect();
    for name in &dropped {
        resp.remove_header(name);
    }
}

/// Takes out of a backend's trailers what frames a message, what is the platform's and what sets cookies: a
/// program that merges trailers into the head would take it for ours (RFC 9110 §6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let is_dropped = |name: &HeaderName| {
        let other = matches!(
            name.as_str(),
            "connection" | "upgrade" | "transfer-encoding" | "content-length" | "host" | "set-cookie"
        );
        other || is_hop_by_hop(name.as_str()) || is_reserved(name) || *name == CONTENT_SECURITY_POLICY
    };
    let dropped: Vec<HeaderName> = trailers.keys().filter(|name| is_dropped(name)).cloned().collect();
    for name in &dropped {
        trailers.remove(name);
    }
}

/// Takes out what is the backend's connection's and what is the platform's. Without an upgrade, `Connection` and
/// `Upgrade` go too: pingora says its own.
fn remove_foreign(resp: &mut ResponseHeader) {
    let keeps_upgrade = resp.status == StatusCode::SWITCHING_PROTOCOLS;
    let is_dropped = |name: &HeaderName| match name.as_str() {
        "connection" | "upgrade" => !keeps_upgrade,
        // Which fields come at the end is the message's.
        "trailer" => false,
        other => is_hop_by_hop(other) || is_reserved(name),
    };
    let mut dropped = nominated(&resp.headers);
    dropped.extend(resp.headers.keys().filter(|name| is_dropped(name)).cloned());
    for name in &dropped {
        resp.remove_header(name);
    }
}

fn is_reserved(name: &HeaderName) -> bool {
    *name == STRICT_TRANSPORT_SECURITY
        || *name == REFERRER_POLICY
        || matches!(name.as_str(), "alt-svc" | "x-powered-by")
        || name.as_str().starts_with("x-stoa-")
}

/// Rewrites the cookies that are set for a whole zone; leaves the response as it is if there are none.
fn confine_cookies(resp: &mut ResponseHeader, zones: &[Host]) -> Result<()> {
    let is_wide = |value: &HeaderValue| cookie::confine(value.as_bytes(), zones).is_some();
    if !resp.headers.get_all(SET_COOKIE).iter().any(is_wide) {
        return Ok(());
    }
    let cookies: Vec<HeaderValue> = resp.headers.get_all(SET_COOKIE).iter().cloned().collect();
    resp.remove_header(&SET_COOKIE);
    for value in cookies {
        match cookie::confine(value.as_bytes(), zones) {
            Some(confined) => resp.append_header("Set-Cookie", confined)?,
            None => resp.append_header("Set-Cookie", value)?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
