//! Where an app's requests go: `http://`, `h2c://` or `https://`, a host or an address, a port; or `unix:` and
//! the path of a socket. No path of a page, no secrets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::host::{Host, HostError};

/// Most backends an app may have.
pub const MAX_PER_APP: usize = 32;
/// Longest path of a Unix socket in bytes: `sun_path` has 108, the last one zero (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;
/// Highest weight of a backend.
pub const MAX_WEIGHT: u16 = 1000;

/// One backend of an app with its share of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backend {
    /// Where it listens.
    pub url: BackendUrl,
    /// Its share relative to the app's other backends, 0 (drained) to [`MAX_WEIGHT`]. Default 1.
    #[serde(default = "one")]
    pub weight: u16,
}

fn one() -> u16 {
    1
}

/// How an edge speaks to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Cleartext: HTTP/1.1 unless the app says otherwise.
    Http,
    /// Cleartext HTTP/2 without asking (prior knowledge, RFC 9113 §3.3), as gRPC servers speak it.
    H2c,
    /// HTTP over TLS, the certificate verified for the host.
    Https,
}

/// Which HTTP an app's backends are spoken to in, where their URLs leave it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `https` backends choose between HTTP/2 and HTTP/1.1 (ALPN, RFC 7301); `http` ones get HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, in cleartext without asking.
    Http2,
}

/// The host of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendHost {
    /// A name, resolved by the edge off the request's way.
    Name(Host),
    /// An address.
    Address(IpAddr),
    /// A Unix socket of the edge's machine.
    Socket(SocketPath),
}

/// Where a Unix socket is: an absolute path without `.` and `..`, of at most [`MAX_SOCKET_PATH`] bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SocketPath(String);

impl SocketPath {
    fn parse(path: &str) -> Option<Self> {
        let is_name = |name: &str| !name.is_empty() && name != "." && name != "..";
        let has_names = path.strip_prefix('/').is_some_and(|names| names.split('/').all(is_name));
        let is_sound = has_names && path.len() <= MAX_SOCKET_PATH && !path.chars().any(char::is_control);
        is_sound.then(|| Self(path.to_owned()))
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A validated backend URL, e.g. `http://127.0.0.1:3000`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackendUrl {
    /// Cleartext or TLS.
    pub scheme: Scheme,
    /// Name or address.
    pub host: BackendHost,
    /// Port, 80 or 443 if the URL has none; 0 for a Unix socket.
    pub port: u16,
}

/// Why a text is no backend URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Not a URL at all.
    #[error("backend `{0}` is not a URL: write it as http://127.0.0.1:3000")]
    NotAUrl(String),
    /// Another scheme.
    #[error("backend `{0}` must begin with http://, https://, h2c:// or unix:")]
    Scheme(String),
    /// No path that a socket can have.
    #[error(
        "backend `{0}` is no socket: write unix:/run/apps/app.sock, an absolute path of at most 107 bytes without . and .."
    )]
    Socket(String),
    /// A path, a query, a fragment or a user name.
    #[error("backend `{0}` may have a scheme, a host and a port only")]
    Extra(String),
    /// The host is no host.
    #[error("backend `{0}`: {1}")]
    Host(String, #[source] HostError),
    /// An address no backend can have: unspecified, multicast, broadcast or link-local.
    #[error("backend `{0}` is an address that no app can listen on")]
    Address(String),
    /// The port is 0.
    #[error("backend `{0}` has port 0")]
    Port(String),
}

/// Whether a backend may live at `address`: not unspecified, multicast, broadcast, or link-local (where
/// clouds keep their metadata service, 169.254.169.254).
#[must_use]
pub fn is_allowed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_allowed_v4(v4),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or_else(|| is_allowed_v6(v6), is_allowed_v4),
    }
}

fn is_allowed_v4(v4: Ipv4Addr) -> bool {
    !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() || v4.is_link_local())
}

fn is_allowed_v6(v6: Ipv6Addr) -> bool {
    !(v6.is_unspecified() || v6.is_multicast() || v6.is_unicast_link_local())
}

impl FromStr for BackendUrl {
    type Err = BackendError;

    fn from_str(text: &str) -> Result<Self, BackendError> {
        let own = || text.to_owned();
        if let Some(path) = text.strip_prefix("unix:") {
            let path = SocketPath::parse(path).ok_or_else(|| BackendError::Socket(own()))?;
            return Ok(Self { scheme: Scheme::Http, host: BackendHost::Socket(path), port: 0 });
        }
        // The URL standard knows no `h2c`, and would not read its host as one.
        let h2c = text.get(..6).filter(|start| start.eq_ignore_ascii_case("h2c://")).and(text.get(6..));
        let url = h2c.map_or_else(|| Url::parse(text), |rest| Url::parse(&format!("http://{rest}")));
        let url = url.map_err(|_| BackendError::NotAUrl(own()))?;
        let scheme = match url.scheme() {
            _ if h2c.is_some() => Scheme::H2c,
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(BackendError::Scheme(own())),
        };
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(BackendError::Extra(own()));
        }
        let host = match url.host() {
            Some(url::Host::Domain(name)) => {
                BackendHost::Name(Host::parse(name).map_err(|error| BackendError::Host(own(), error))?)
            }
            Some(url::Host::Ipv4(v4)) => BackendHost::Address(v4.into()),
            Some(url::Host::Ipv6(v6)) => BackendHost::Address(v6.into()),
            None => return Err(BackendError::NotAUrl(own())),
        };
        if matches!(host, BackendHost::Address(address) if !is_allowed(address)) {
            return Err(BackendError::Address(own()));
        }
        match url.port_or_known_default() {
            Some(port) if port > 0 => Ok(Self { scheme, host, port }),
            _ => Err(BackendError::Port(own())),
        }
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
        };
        match &self.host {
            BackendHost::Socket(path) => write!(f, "unix:{}", path.as_str()),
            BackendHost::Name(name) => write!(f, "{scheme}://{name}:{}", self.port),
            BackendHost::Address(IpAddr::V4(v4)) => write!(f, "{scheme}://{v4}:{}", self.port),
            BackendHost::Address(IpAddr::V6(v6)) => write!(f, "{scheme}://[{v6}]:{}", self.port),
        }
    }
}

impl fmt::Debug for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for BackendUrl {
    type Error = BackendError;

    fn try_from(text: String) -> Result<Self, BackendError> {
        text.parse()
    }
}

impl From<BackendUrl> for String {
    fn from(url: BackendUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        text.parse::<BackendUrl>().map(String::from).map_err(|error| error.to_string())
    }

    #[test]
    fn a_port_is_always_written() {
        assert_eq!(parsed("http://App.internal"), Ok("http://app.internal:80".to_owned()));
        assert_eq!(parsed("https://[::1]/"), Ok("https://[::1]:443".to_owned()));
        assert_eq!(parsed("H2C://127.0.0.1:50051"), Ok("h2c://127.0.0.1:50051".to_owned()));
    }

    #[test]
    fn a_socket_has_an_absolute_path_without_detours() {
        assert_eq!(parsed("unix:/run/apps/a.sock"), Ok("unix:/run/apps/a.sock".to_owned()));
        let longest = format!("unix:/{}", "a".repeat(106));
        assert_eq!(parsed(&longest), Ok(longest.clone()));
        for path in
            ["", "/", "run/a", "/run/../a", "/run/./a", "/run//a", "/run/", "//run/a", "/run/\0a", "/a\n"]
        {
            let text = format!("unix:{path}");
            assert_eq!(text.parse::<BackendUrl>(), Err(BackendError::Socket(text.clone())));
        }
        assert!(parsed(&format!("{longest}a")).is_err());
    }

    #[test]
    fn what_cannot_be_a_backend_is_refused_by_name() {
        for (text, error) in [
            ("127.0.0.1:3000", "backend `127.0.0.1:3000` is not a URL: write it as http://127.0.0.1:3000"),
            ("ftp://a.test", "backend `ftp://a.test` must begin with http://, https://, h2c:// or unix:"),
            ("http://a.test/x", "backend `http://a.test/x` may have a scheme, a host and a port only"),
            ("http://u:p@a.test", "backend `http://u:p@a.test` may have a scheme, a host and a port only"),
            ("h2c://", "backend `h2c://` is not a URL: write it as http://127.0.0.1:3000"),
            ("h2c://a.test/x", "backend `h2c://a.test/x` may have a scheme, a host and a port only"),
            ("h2c://0.0.0.0:80", "backend `h2c://0.0.0.0:80` is an address that no app can listen on"),
            (
                "http://169.254.169.254",
                "backend `http://169.254.169.254` is an address that no app can listen on",
            ),
            (
                "http://[::ffff:169.254.169.254]",
                "backend `http://[::ffff:169.254.169.254]` is an address that no app can listen on",
            ),
            ("http://a.test:0", "backend `http://a.test:0` has port 0"),
        ] {
            assert_eq!(parsed(text), Err(error.to_owned()));
        }
    }
}
