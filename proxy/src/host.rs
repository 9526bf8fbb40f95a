//! The host that a request is for, read strictly (RFC 9110 §7.2), and bound to the TLS connection.
//!
//! `Host` or `:authority`, one of them, in canonical form: IDNA, lower case, no trailing dot, the port apart.
//! Over TLS it must be the name that the connection was made for, else one site's certificate would vouch
//! for another's content. Reads the request only; there is nothing that could be away.

use http::Version;
use http::header::HOST;
use http::uri::Authority;
use model::Host;
use model::host::HostError;
use pingora_http::RequestHeader;

use crate::connection::Carrier;
use crate::refusal::Refusal;
use crate::way::Arrival;

/// The host and the port that the visitor wrote.
///
/// # Errors
/// [`Refusal::BadRequest`] if there is none, more than one, or no host name; [`Refusal::UnknownHost`] for an
/// IP address, which is a well-formed host at which no site answers.
pub(crate) fn read(arrival: &Arrival<'_>) -> Result<(Host, Option<u16>), Refusal> {
    let text = authority(arrival.head)?;
    if let Some(tls) = &arrival.connection.tls
        && let Some(port) = port_behind(&tls.sni, text.as_bytes())
    {
        return Ok((tls.sni.clone(), port));
    }
    Host::parse_authority(text).map_err(|error| refusal(&error))
}

/// The port in `text`, or that there is none, if it is plain to see that it names the host `known`: which is
/// almost always so, and costs much less to see than to parse. None says nothing.
pub(crate) fn port_behind(known: &Host, text: &[u8]) -> Option<Option<u16>> {
    match text.strip_prefix(known.as_str().as_bytes())? {
        [] => Some(None),
        [b':', digits @ ..] if matches!(digits, [b'1'..=b'9', ..]) => {
            std::str::from_utf8(digits).ok()?.parse().ok().map(Some)
        }
        _ => None,
    }
}

/// Refuses the value of a `Host` field that names no host.
///
/// # Errors
/// [`Refusal::BadRequest`]. An IP address passes: at which no site answers is not a matter of form.
pub(crate) fn check(value: &[u8]) -> Result<(), Refusal> {
    let text = value.is_ascii().then(|| std::str::from_utf8(value).ok()).flatten();
    let text = text.ok_or(Refusal::BadRequest("the host is not ASCII"))?;
    let is_open = text.starts_with('[') && Authority::try_from(text).is_err();
    match Host::parse_authority(text) {
        Err(HostError::IpAddress(_)) if !is_open => Ok(()),
        Err(HostError::IpAddress(_)) => Err(Refusal::BadRequest("the host is not a host name")),
        Err(error) => Err(refusal(&error)),
        Ok(_) => Ok(()),
    }
}

fn refusal(error: &HostError) -> Refusal {
    match error {
        HostError::IpAddress(_) => Refusal::UnknownHost,
        HostError::Port(_) => Refusal::BadRequest("the port of the host is not a port"),
        _ => Refusal::BadRequest("the host is not a host name"),
    }
}

/// Refuses a host that is not the one of the connection. A browser then makes a new connection.
///
/// # Errors
/// [`Refusal::Misdirected`].
pub(crate) fn bind(host: &Host, connection: &Carrier) -> Result<(), Refusal> {
    match &connection.tls {
        Some(tls) if tls.sni != *host => Err(Refusal::Misdirected),
        _ => Ok(()),
    }
}

/// The one authority of a request. `Host` may be missing in HTTP/2 only (RFC 9113 §8.3.1).
fn authority(head: &RequestHeader) -> Result<&str, Refusal> {
    let mut fields = head.headers.get_all(HOST).iter();
    let field = match fields.next() {
        Some(value) => Some(value.to_str().map_err(|_| Refusal::BadRequest("the host is not ASCII"))?),
        None => None,
    };
    if fields.next().is_some() {
        return Err(Refusal::BadRequest("there is more than one Host field"));
    }
    match (field, target_authority(head)?) {
        (None, None) => Err(Refusal::BadRequest("the Host field is missing")),
        (None, Some(_)) if head.version < Version::HTTP_2 => {
            Err(Refusal::BadRequest("the Host field is missing"))
        }
        (Some(field), Some(target)) if !field.eq_ignore_ascii_case(target) => {
            Err(Refusal::BadRequest("the Host field and the target differ"))
        }
        (Some(field), _) => Ok(field),
        (None, Some(target)) => Ok(target),
    }
}

/// `:authority`, which only HTTP/2 has: the gate refuses every target of HTTP/1 that names a host (RFC 9112 §3.2.2
/// would have it win over `Host`; two servers in a row that differ in that are a way around the first).
fn target_authority(head: &RequestHeader) -> Result<Option<&str>, Refusal> {
    match head.uri.authority().map(Authority::as_str) {
        Some(authority) if authority.contains('@') => Err(Refusal::BadRequest("the target has a user name")),
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests;
