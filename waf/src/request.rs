//! What an engine sees of a request: borrowed, in the form in which the edge forwards it.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use model::Host;

/// A request without its body.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// The method.
    pub method: &'r Method,
    /// The app's host, already parsed and bound to the connection's SNI.
    pub host: &'r Host,
    /// The path as it was sent, percent-encoded, without the query.
    pub path: &'r str,
    /// What follows the `?`, as it was sent.
    pub query: Option<&'r str>,
    /// The fields as they were received.
    pub headers: &'r HeaderMap,
    /// The visitor's address, not what a header claims it to be.
    pub client: IpAddr,
    /// JA4 of the TLS client: which program speaks, e.g. `t13d1516h2_8daaf6152771_e5627efa2ab1`; none in the
    /// clear. Behind a proxy that ends TLS it is the proxy's.
    pub ja4: Option<&'r str>,
}
