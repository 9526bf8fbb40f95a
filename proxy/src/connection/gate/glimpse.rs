//! What can be read of a request that is refused for its form: enough for its page, its log line and its owner.
//!
//! Nothing is decided by it. Each piece is there only if it can be read without doubt.

use http::HeaderValue;

use super::field::{self, Field};
use super::head::{Line, lines};

/// Longest path that is kept: the log is no store for what a stranger likes to send.
const MOST_PATH_BYTES: usize = 1 << 10;

/// The readable pieces.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Glimpse<'a> {
    /// Empty if it cannot be read.
    pub(super) method: &'a str,
    /// Without the query; empty if it cannot be read.
    pub(super) path: &'a str,
    /// Whether the version is 1.0.
    pub(super) is_http_10: bool,
    /// None if there is none, or more than one.
    pub(super) host: Option<&'a str>,
    pub(super) user_agent: Option<&'a str>,
    pub(super) accept: Option<HeaderValue>,
}

impl<'a> Glimpse<'a> {
    /// Looks at the bytes of a connection from a request's first byte on, whether or not its header section is
    /// whole.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let mut glimpse = Self::default();
        if let Some(line) = lines_of(bytes).next().and_then(Line::split) {
            glimpse.method = text(line.method).filter(|_| field::is_token(line.method)).unwrap_or_default();
            glimpse.path = text(line.target).map(path).unwrap_or_default();
            glimpse.is_http_10 = line.version == b"HTTP/1.0";
        }
        let mut hosts = 0;
        for field in fields(bytes) {
            match field.name {
                name if name.eq_ignore_ascii_case(b"host") => {
                    hosts += 1;
                    glimpse.host = text(field.value).filter(|_| hosts == 1);
                }
                name if name.eq_ignore_ascii_case(b"user-agent") => glimpse.user_agent = text(field.value),
                name if name.eq_ignore_ascii_case(b"accept") => {
                    glimpse.accept = HeaderValue::from_bytes(field.value).ok();
                }
                _ => {}
            }
        }
        glimpse
    }
}

/// The fields that are well formed.
pub(super) fn fields(bytes: &[u8]) -> impl Iterator<Item = Field<'_>> {
    lines_of(bytes).skip(1).filter_map(|line| field::parse(line).ok())
}

fn lines_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(bytes.strip_prefix(b"\r\n").unwrap_or(bytes))
}

/// Visible ASCII and spaces, as header fields that are logged are held to.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
}

fn path(target: &str) -> &str {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    path.get(..MOST_PATH_BYTES).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_is_read_and_secrets_are_not() {
        let bytes = b"GET /a?token=1 HTTP/1.0\r\nhost: a.test\r\nUSER-AGENT: x\r\nbad line\r\nAccept: text/html\r\nUser-A";
        let glimpse = Glimpse::of(bytes);
        assert_eq!((glimpse.method, glimpse.path, glimpse.is_http_10), ("GET", "/a", true));
        assert_eq!((glimpse.host, glimpse.user_agent), (Some("a.test"), Some("x")));
        assert_eq!(glimpse.accept, Some(HeaderValue::from_static("text/html")));
    }

    #[test]
    fn what_is_doubtful_is_left_out() {
        assert_eq!(Glimpse::of(b"\x16\x03\x01\n"), Glimpse::default());
        assert_eq!(Glimpse::of(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n").host, None);
        assert_eq!(Glimpse::of(b"GET / HTTP/1.1\r\nHost: \xe9\r\n").host, None);
    }
}
