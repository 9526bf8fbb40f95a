//! Cookies stay with the app that sets them.
//!
//! A cookie whose `Domain` is a zone, or a name above one, would be sent to every app of the marketplace
//! (cookie tossing). The attribute is taken out, which makes the cookie one of its host; all other bytes
//! stay as they are. Attributes are read as browsers read them (RFC 6265 §5.2): quotes do not protect a
//! semicolon, and every `Domain` of a cookie counts.

use model::Host;
use model::host;

/// The value of `Set-Cookie` without the `Domain` attributes that reach beyond one app; none if it has none.
pub(super) fn confine(cookie: &[u8], zones: &[Host]) -> Option<Vec<u8>> {
    let is_wide = |part: &[u8]| is_wide_domain(part, zones);
    if !cookie.split(is_semicolon).skip(1).any(is_wide) {
        return None;
    }
    let mut confined = Vec::with_capacity(cookie.len());
    for (index, part) in cookie.split(is_semicolon).enumerate() {
        if index == 0 {
            confined.extend_from_slice(part);
        } else if !is_wide(part) {
            confined.push(b';');
            confined.extend_from_slice(part);
        }
    }
    Some(confined)
}

fn is_semicolon(byte: &u8) -> bool {
    *byte == b';'
}

/// Whether `attribute` is a `Domain` that is one of `zones` or above one.
fn is_wide_domain(attribute: &[u8], zones: &[Host]) -> bool {
    let mut halves = attribute.splitn(2, |byte| *byte == b'=');
    let (Some(name), Some(value)) = (halves.next(), halves.next()) else { return false };
    if !name.trim_ascii().eq_ignore_ascii_case(b"domain") {
        return false;
    }
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let bare = value.trim().trim_matches('"').trim().trim_start_matches('.');
    host::normalise(bare).is_ok_and(|name| zones.iter().any(|zone| is_at_or_below(zone.as_str(), &name)))
}

fn is_at_or_below(zone: &str, name: &str) -> bool {
    zone.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
