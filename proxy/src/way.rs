//! A request's way: one line a stage, from top to bottom; a stage takes what earlier ones proved.
//!
//! Nothing on the way waits: each stage answers from memory. What is admitted here may have to wait for its turn
//! at the app ([`crate::queue`]). The order is what makes the bill right: what a
//! limit or the firewall stops never reaches the tenant's quota.

use std::sync::Arc;

use bytes::Bytes;
use model::Host;
use pingora_http::RequestHeader;

use crate::client_auth::{self, Proof};
use crate::connection::Carrier;
use crate::edge::Shared;
use crate::headers::Hsts;
use crate::refusal::Refusal;
use crate::state::SiteEntry;
use crate::visitor::Visitor;
use crate::{acme, drain, firewall, head, host, quota, routing, scheme, standing, throttle};

/// A request as the stages see it.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// Its header section.
    pub(crate) head: &'a RequestHeader,
    /// The connection that it came over.
    pub(crate) connection: &'a Carrier,
    /// Whom it is from.
    pub(crate) visitor: Visitor,
}

/// Where the way ends well.
pub(crate) enum Passage {
    /// An http-01 answer.
    Challenge(Bytes),
    /// To the app.
    Forward(Admitted),
}

/// What a request has proved that goes to its app.
pub(crate) struct Admitted {
    /// The host that it is for.
    pub(crate) host: Host,
    /// The port that the visitor wrote.
    pub(crate) port: Option<u16>,
    /// The site at the host.
    pub(crate) site: Arc<SiteEntry>,
    /// Which HSTS its response carries.
    pub(crate) hsts: Hsts,
    /// The certificate that its visitor showed, if the host asks for one.
    pub(crate) client: Option<Arc<Proof>>,
}

/// Where the way ended, and whose request it was if that was known by then.
pub(crate) struct Stopped {
    /// Why.
    pub(crate) refusal: Refusal,
    /// The site.
    pub(crate) site: Option<Arc<SiteEntry>>,
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, site: None }
    }
}

/// Brings a request to its app, or says why not.
///
/// # Errors
/// [`Stopped`] by the first stage that refuses.
pub(crate) fn admit(arrival: &Arrival<'_>, edge: &Shared) -> Result<Passage, Stopped> {
    let state = &*edge.state;
    drain::check(&state.course)?;
    head::check(arrival.head)?;
    let (host, port) = host::read(arrival)?;
    host::bind(&host, arrival.connection)?;
    if let Some(answer) = acme::answer(arrival.head, &host, state) {
        return Ok(Passage::Challenge(answer));
    }
    scheme::check(arrival, &host, state)?;
    let route = routing::find(&host, state)?;
    let at_site = |refusal| Stopped { refusal, site: Some(Arc::clone(&route.site)) };
    let client = client_auth::check(&route, arrival.connection).map_err(at_site)?;
    let tenant = standing::check(&route.site).map_err(at_site)?;
    throttle::check(arrival.visitor, &tenant, state).map_err(at_site)?;
    firewall::inspect(arrival, &host, &*edge.firewall).map_err(at_site)?;
    quota::take(&route.site, &tenant, state).map_err(at_site)?;
    Ok(Passage::Forward(Admitted { host, port, hsts: route.hsts, client, site: route.site }))
}

#[cfg(test)]
pub(crate) mod tests;
