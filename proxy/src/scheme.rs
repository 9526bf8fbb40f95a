//! Everything is served over TLS: what comes in the clear is sent there, or refused.
//!
//! GET and HEAD are redirected with 308, which keeps the method. Anything else has told its secrets already
//! and is refused with 403, so that somebody notices. A host that no site answers at goes on to be told so:
//! over TLS there would be no certificate for it. Reads memory only.

use std::sync::atomic::Ordering::Relaxed;

use http::Method;
use model::Host;

use crate::refusal::Refusal;
use crate::state::State;
use crate::way::Arrival;

/// Lets TLS pass.
///
/// # Errors
/// [`Refusal::RedirectToHttps`] or [`Refusal::HttpsRequired`].
pub(crate) fn check(arrival: &Arrival<'_>, host: &Host, state: &State) -> Result<(), Refusal> {
    if arrival.visitor.is_https || !state.knows(host.as_str()) {
        return Ok(());
    }
    if !matches!(arrival.head.method, Method::GET | Method::HEAD) {
        return Err(Refusal::HttpsRequired);
    }
    let path = arrival.head.uri.path_and_query().map_or("/", |path| path.as_str());
    Err(Refusal::RedirectToHttps { location: location(host, state.https_port.load(Relaxed), path) })
}

fn location(host: &Host, port: u16, path: &str) -> String {
    match port {
        443 => format!("https://{host}{path}"),
        _ => format!("https://{host}:{port}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_keeps_the_query_and_names_an_unusual_port() {
        let host = Host::parse("a.test").unwrap();
        assert_eq!(location(&host, 443, "/x?y=1"), "https://a.test/x?y=1");
        assert_eq!(location(&host, 8443, "/"), "https://a.test:8443/");
    }
}
