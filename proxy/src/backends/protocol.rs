//! Which HTTP a request is sent to a backend in, and whether its connection may carry others beside it.
//!
//! A request whose wait is bounded by [`super::Line`] has its HTTP/2 connection to itself while it lasts: the
//! line cuts the whole connection, and pingora 0.9.1 has no way to reset one stream from outside. gRPC calls
//! have no such wait (silence is theirs to define, by `grpc-timeout`), so calls of one app share connections.

use model::backend::{Protocol, Scheme};
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::PeerOptions;

/// Calls that share a connection. Below the 100 that servers allow by default (RFC 9113 §6.5.2 recommends no
/// less), so that a server's own limit is not met.
const SHARED_STREAMS: usize = 32;
/// Bytes that a backend may send ahead of one visitor, who may read slowly. Half a gigabyte a second at 1 ms.
const STREAM_WINDOW: u32 = 512 << 10;
/// The same for a shared connection: the sum of its streams', so that visitors who do not read never stop the
/// others. 16 MiB.
const SHARED_WINDOW: u32 = 32 * STREAM_WINDOW;

/// What a request needs of its connection to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Any HTTP.
    Exchange,
    /// HTTP/1.1 if it can be had: it alone can become a WebSocket here, or an answer without chunks for a visitor
    /// who speaks HTTP/1.0.
    Http1,
    /// HTTP/2, for a gRPC call.
    Call,
}

/// The protocols that a backend is offered. Without TLS, HTTP/2 is offered alone or not at all.
pub(super) fn versions(scheme: Scheme, protocol: Protocol, need: Need) -> ALPN {
    match (scheme, protocol, need) {
        (Scheme::H2c, _, _) | (_, Protocol::Http2, _) => ALPN::H2,
        (Scheme::Http, _, _) | (_, Protocol::Http1, _) => ALPN::H1,
        (Scheme::Https, Protocol::Auto, Need::Exchange) => ALPN::H2H1,
        (Scheme::Https, Protocol::Auto, Need::Http1) => ALPN::H1,
        (Scheme::Https, Protocol::Auto, Need::Call) => ALPN::H2,
    }
}

/// Sets what depends on the protocol.
pub(super) fn apply(options: &mut PeerOptions, scheme: Scheme, protocol: Protocol, need: Need) {
    options.alpn = versions(scheme, protocol, need);
    let is_shared = need == Need::Call && options.alpn == ALPN::H2;
    options.max_h2_streams = if is_shared { SHARED_STREAMS } else { 1 };
    options.h2_stream_window_size = Some(STREAM_WINDOW);
    options.h2_connection_window_size = Some(if is_shared { SHARED_WINDOW } else { STREAM_WINDOW });
}

/// Whether a connection of a peer with these options carries requests of several visitors at a time.
pub(crate) fn is_shared(options: &PeerOptions) -> bool {
    options.max_h2_streams > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_says_which_http_is_believed_and_the_setting_decides_the_rest() {
        use Need::{Call, Exchange, Http1 as Wants1};
        use Protocol::{Auto, Http1, Http2};
        for (scheme, protocol, need, offered) in [
            (Scheme::Http, Auto, Exchange, ALPN::H1),
            (Scheme::Http, Auto, Call, ALPN::H1),
            (Scheme::Http, Http2, Exchange, ALPN::H2),
            (Scheme::H2c, Auto, Exchange, ALPN::H2),
            (Scheme::H2c, Http1, Exchange, ALPN::H2),
            (Scheme::Https, Auto, Exchange, ALPN::H2H1),
            (Scheme::Https, Auto, Wants1, ALPN::H1),
            (Scheme::Https, Auto, Call, ALPN::H2),
            (Scheme::Https, Http1, Call, ALPN::H1),
            (Scheme::Https, Http2, Exchange, ALPN::H2),
        ] {
            assert_eq!(versions(scheme, protocol, need), offered, "{scheme:?} {protocol:?} {need:?}");
        }
    }

    #[test]
    fn only_calls_over_http2_share_a_connection() {
        for (scheme, need, shared) in [
            (Scheme::H2c, Need::Call, true),
            (Scheme::Https, Need::Call, true),
            (Scheme::Http, Need::Call, false),
            (Scheme::H2c, Need::Exchange, false),
            (Scheme::Https, Need::Http1, false),
        ] {
            let mut options = PeerOptions::new();
            apply(&mut options, scheme, Protocol::Auto, need);
            assert_eq!(is_shared(&options), shared, "{scheme:?} {need:?}");
        }
    }

    #[test]
    fn the_windows_of_all_streams_fit_into_the_connections() {
        assert_eq!(u64::from(STREAM_WINDOW) * SHARED_STREAMS as u64, u64::from(SHARED_WINDOW));
    }
}
