//! The firewall's place on the way. The engine answers from memory and has no error; what it does in trouble
//! is in its verdict (see [`waf`]), so this stage itself is neither open nor closed.

use model::Host;
use waf::{Engine, Verdict};

use crate::refusal::Refusal;
use crate::way::Arrival;

/// Asks the engine.
///
/// # Errors
/// [`Refusal::Blocked`]. The finding is logged here, for the tenant's owner; the visitor never sees it.
pub(crate) fn inspect(arrival: &Arrival<'_>, host: &Host, engine: &dyn Engine) -> Result<(), Refusal> {
    let request = waf::Request {
        method: &arrival.head.method,
        host,
        path: arrival.head.uri.path(),
        query: arrival.head.uri.query(),
        headers: &arrival.head.headers,
        client: arrival.visitor.address,
        ja4: arrival.connection.ja4(),
    };
    let verdict = engine.inspect(&request);
    if let Some(finding) = verdict.finding() {
        tracing::info!(%host, rule = %finding.rule, reason = %finding.reason, passes = verdict.passes(), "firewall rule matched");
    }
    match verdict {
        Verdict::Allow | Verdict::Log(_) => Ok(()),
        Verdict::Block(_) => Err(Refusal::Blocked { reason: "a firewall rule matched" }),
    }
}
