//! The form of a request, before anything is made of it: method, target, sizes; and the sizes themselves.
//!
//! This is the check of HTTP/2. In HTTP/1 it finds nothing any more: [`crate::connection`]'s gate has checked
//! the bytes before pingora saw them, by the same constants. Refuses; reads the request only; there is nothing
//! that could be away.

use http::Method;
use pingora_http::RequestHeader;

use crate::refusal::Refusal;

/// Longest target in bytes: what browsers and other servers agree on.
pub(crate) const MOST_TARGET_BYTES: usize = 8 << 10;
/// Largest header section in bytes, names and values: room for cookies, not for an attack.
pub(crate) const MOST_HEADER_BYTES: usize = 32 << 10;
/// Most fields of a header section: browsers send some thirty.
pub(crate) const MOST_FIELDS: usize = 128;
/// What a field costs beside its name and value (`: ` and the line's end).
const FIELD_BYTES: usize = 4;

/// Refuses what no app should see.
///
/// # Errors
/// [`Refusal::MethodNotAllowed`], [`Refusal::UriTooLong`], [`Refusal::HeaderTooLarge`], or
/// [`Refusal::BadRequest`] for a target that is no path.
pub(crate) fn check(head: &RequestHeader) -> Result<(), Refusal> {
    check_method(&head.method)?;
    if head.raw_path().len() > MOST_TARGET_BYTES {
        return Err(Refusal::UriTooLong);
    }
    let size: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum();
    if size > MOST_HEADER_BYTES || head.headers.len() > MOST_FIELDS {
        return Err(Refusal::HeaderTooLarge);
    }
    check_target(head)
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    if is_method_known(method) { Ok(()) } else { Err(Refusal::MethodNotAllowed) }
}

/// Whether apps are asked with it. TRACE tells a script what it may not read, CONNECT is for other proxies.
pub(crate) fn is_method_known(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::PATCH
            | Method::DELETE
            | Method::OPTIONS
    )
}

/// A path, or `*` for OPTIONS.
fn check_target(head: &RequestHeader) -> Result<(), Refusal> {
    let target = head.raw_path();
    match target.first() {
        Some(b'/') => Ok(()),
        Some(b'*') if target.len() == 1 && head.method == Method::OPTIONS => Ok(()),
        _ => Err(Refusal::BadRequest("the target is not a path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(method: &str, target: &str, fields: &[(&'static str, usize)]) -> Result<(), Refusal> {
        let mut head = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for (name, length) in fields {
            head.append_header(*name, "v".repeat(*length)).unwrap();
        }
        check(&head)
    }

    #[test]
    fn only_methods_of_the_web_pass() {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            assert_eq!(checked(method, "/", &[]), Ok(()));
        }
        for method in ["TRACE", "CONNECT", "get", "PURGE", "PRI"] {
            assert_eq!(checked(method, "/", &[]), Err(Refusal::MethodNotAllowed), "{method}");
        }
    }

    #[test]
    fn sizes_are_bounded_to_the_byte() {
        assert_eq!(checked("GET", &format!("/{}", "a".repeat(MOST_TARGET_BYTES - 1)), &[]), Ok(()));
        let long = format!("/{}", "a".repeat(MOST_TARGET_BYTES));
        assert_eq!(checked("GET", &long, &[]), Err(Refusal::UriTooLong));
        let room = MOST_HEADER_BYTES - FIELD_BYTES - 1;
        assert_eq!(checked("GET", "/", &[("x", room)]), Ok(()));
        assert_eq!(checked("GET", "/", &[("x", room), ("y", 0)]), Err(Refusal::HeaderTooLarge));
    }

    #[test]
    fn a_target_is_a_path() {
        for target in ["/", "/a?b=c"] {
            assert_eq!(checked("GET", target, &[]), Ok(()), "{target}");
        }
        assert_eq!(checked("OPTIONS", "*", &[]), Ok(()));
        for target in
            ["*", "a", "a.test:80", "http://a.test/", "HTTPS://a.test/x", "ftp://a.test/", "mailto:a"]
        {
            let bad = Err(Refusal::BadRequest("the target is not a path"));
            assert_eq!(checked("GET", target, &[]), bad, "{target}");
        }
    }
}
