//! A refusal by the gate: the same page and the same ending as that of any other request.

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::{CONNECTION, DATE};
use http::{HeaderName, HeaderValue};
use model::Host;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_http::{RequestHeader, ResponseHeader};

use super::glimpse::{self, Glimpse};
use crate::connection::Carrier;
use crate::context::Context;
use crate::edge::Shared;
use crate::ending::{self, Asked, Outcome};
use crate::refusal::Refusal;
use crate::state::SiteEntry;
use crate::visitor::Visitor;
use crate::way::Stopped;
use crate::{host, page, routing};

/// Ends the request that begins with `bytes`, and returns the answer as it goes over the wire.
pub(super) fn refuse(refusal: Refusal, bytes: &[u8], carrier: &Arc<Carrier>, edge: &Shared) -> Vec<u8> {
    let glimpse = Glimpse::of(bytes);
    let mut context = Context::new(edge.state.clock.now());
    context.connection = Some(Arc::clone(carrier));
    context.visitor = Some(visitor(bytes, carrier, edge));
    let is_head = glimpse.method == "HEAD";
    let (mut response, body) = page::response(&refusal, context.id, glimpse.accept.as_ref(), is_head);
    context.stop(Stopped { refusal, site: owner(&glimpse, carrier, edge) });
    context.first_byte = Some(context.arrived.elapsed());
    // Names and values that always can stand in a header.
    let _dated = response.insert_header(DATE, get_cached_date());
    let _closing = response.insert_header(CONNECTION, "close");
    let asked = Asked {
        method: glimpse.method,
        host: glimpse.host,
        path: glimpse.path,
        user_agent: glimpse.user_agent,
        protocol: if glimpse.is_http_10 { "http/1.0" } else { "http/1.1" },
    };
    let sent = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let status = response.status.as_u16();
    ending::close(
        &Outcome { asked, status, is_answered: true, bytes: (0, sent), cause: None },
        &mut context,
        edge,
    );
    serialise(&response, &body)
}

/// Whom it is from: what a trusted proxy says of that is read from whatever can be read.
fn visitor(bytes: &[u8], carrier: &Carrier, edge: &Shared) -> Visitor {
    let mut head = RequestHeader::from(http::Request::new(()).into_parts().0);
    if carrier.ends.is_trusted {
        for field in glimpse::fields(bytes) {
            let name = HeaderName::from_bytes(field.name)
                .ok()
                .filter(|name| name.as_str().starts_with("x-forwarded-"));
            if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
                // What cannot be added is not believed either.
                let _added = head.append_header(name, value);
            }
        }
    }
    Visitor::of(&head, carrier, &edge.front.trusted)
}

/// Whose request it would have been, as [`crate::way`] would have found it.
fn owner(glimpse: &Glimpse<'_>, carrier: &Carrier, edge: &Shared) -> Option<Arc<SiteEntry>> {
    let (host, _) = Host::parse_authority(glimpse.host?).ok()?;
    host::bind(&host, carrier).ok()?;
    routing::find(&host, &edge.state).ok().map(|route| route.site)
}

fn serialise(response: &ResponseHeader, body: &[u8]) -> Vec<u8> {
    let reason = response.status.canonical_reason().unwrap_or_default();
    let mut start = String::new();
    // Writing to a string cannot fail.
    let _written = write!(start, "HTTP/1.1 {} {reason}\r\n", response.status.as_str());
    let mut bytes = start.into_bytes();
    response.header_to_h1_wire(&mut bytes);
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}
