//! A request as bytes for a backend, for the direct way: the same fields as [`super::rebuild_request`] leaves and
//! states, without a second map of them.

use http::header::COOKIE;
use http::{HeaderValue, Version};
use pingora_core::Result;
use pingora_http::{HeaderNameVariant, RequestHeader};

use super::ForwardFacts;
use super::request::{Sink, is_dropped, state_facts};

/// Appends the header section in HTTP/1.1 to `out`. Only for a request without a body, which nominates nothing in
/// `Connection` and asks for no upgrade.
///
/// # Errors
/// None that a visitor can cause.
pub(crate) fn write_request(req: &RequestHeader, facts: &ForwardFacts<'_>, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(req.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target(req));
    out.extend_from_slice(b" HTTP/1.1\r\n");
    state_facts(out, facts)?;
    let mut names = req.headers.iter().map(|(name, _)| name);
    let mut cookies = Cookies::default();
    req.map(|written, value| {
        let Some(name) = names.next() else { return Ok(()) };
        match name.as_str() {
            "host" | "transfer-encoding" => {}
            "cookie" if req.version == Version::HTTP_2 => cookies.add(value, req, out),
            other if is_dropped(other, false) => {}
            _ => field(spelling(&written), value, out),
        }
        Ok(())
    })?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The target as a path (RFC 9112 §3.2.1): in HTTP/2 it comes with the host.
fn target(req: &RequestHeader) -> &[u8] {
    match req.uri.path_and_query() {
        Some(path) if req.uri.authority().is_some() => path.as_str().as_bytes(),
        _ => req.raw_path(),
    }
}

fn spelling<'a>(written: &'a HeaderNameVariant<'_>) -> &'a [u8] {
    match written {
        HeaderNameVariant::Case(name) => name.as_slice(),
        HeaderNameVariant::Titled(name) => name.as_bytes(),
    }
}

fn field(name: &[u8], value: &HeaderValue, out: &mut Vec<u8>) {
    [name, b": ", value.as_bytes(), b"\r\n"].into_iter().for_each(|part| out.extend_from_slice(part));
}

/// HTTP/2 may split cookies over fields, HTTP/1 has them in one (RFC 9113 §8.2.3).
#[derive(Default)]
struct Cookies {
    is_written: bool,
}

impl Cookies {
    fn add(&mut self, first: &HeaderValue, req: &RequestHeader, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_written, true) {
            return;
        }
        out.extend_from_slice(b"Cookie: ");
        out.extend_from_slice(first.as_bytes());
        for more in req.headers.get_all(COOKIE).iter().skip(1) {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(more.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Sink for Vec<u8> {
    fn say(&mut self, name: &'static str, write: impl FnOnce(&mut Self)) -> Result<()> {
        self.extend_from_slice(name.as_bytes());
        self.extend_from_slice(b": ");
        write(self);
        self.extend_from_slice(b"\r\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
