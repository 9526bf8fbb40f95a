//! How the authority finds out whether a client has the name: not at all, over HTTP, or as a test says.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::problem::Problem;

/// Kinds of challenges (RFC 8555 §8, RFC 8737).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the RFCs")]
pub enum ChallengeType {
    Http01,
    Dns01,
    TlsAlpn01,
    DnsPersist01,
}

impl ChallengeType {
    pub(super) const ALL: [Self; 4] = [Self::Http01, Self::Dns01, Self::TlsAlpn01, Self::DnsPersist01];

    /// Whether a wildcard can be proved so.
    pub(super) const fn proves_wildcards(self) -> bool {
        matches!(self, Self::Dns01 | Self::DnsPersist01)
    }

    /// `http-01`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::DnsPersist01 => "dns-persist-01",
        }
    }
}

/// A name that is to be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The name, without a wildcard's star.
    pub name: String,
    /// Whether a wildcard of it is asked for.
    pub wildcard: bool,
    /// How.
    pub kind: ChallengeType,
    /// The challenge's token.
    pub token: String,
    /// `<token>.<thumbprint of the account's key>`
    pub key_authorization: String,
    /// Address of the account.
    pub account_url: String,
    /// Authorization, and challenge in it.
    pub(super) place: (u64, usize),
}

/// How names are checked. Whichever: CAA is looked at first.
#[derive(Clone, Default)]
pub enum Validation {
    /// Everybody has every name.
    #[default]
    AlwaysValid,
    /// http-01 answers are fetched from this port of 127.0.0.1, whatever the name resolves to. Other kinds
    /// of challenges fail.
    Http {
        /// The port.
        port: u16,
    },
    /// Everybody has every name but these, which point nowhere.
    Failing {
        /// The names.
        names: HashSet<String>,
    },
    /// As the function says; it may look at a DNS server of the test. It is called without any lock.
    By(Arc<Judge>),
}

/// Says whether the client has the name, or why not.
pub type Judge = dyn Fn(&Check) -> Result<(), Problem> + Send + Sync;

impl Validation {
    /// As `judge` says.
    pub fn by(judge: impl Fn(&Check) -> Result<(), Problem> + Send + Sync + 'static) -> Self {
        Self::By(Arc::new(judge))
    }

    /// What comes of a check that needs no network; none: it does.
    pub(super) fn judge(&self, check: &Check) -> Option<Result<(), Problem>> {
        match self {
            Self::AlwaysValid => Some(Ok(())),
            Self::Http { .. } if check.kind == ChallengeType::Http01 => None,
            Self::Http { .. } => {
                let detail = format!("{} is not checked here: use http-01", check.kind.as_str());
                Some(Err(Problem::unauthorized(detail)))
            }
            Self::Failing { names } if names.contains(&check.name) => {
                let detail = format!("DNS problem: NXDOMAIN looking up A for {}", check.name);
                Some(Err(Problem::new("dns", detail)))
            }
            Self::Failing { .. } => Some(Ok(())),
            Self::By(judge) => Some(judge(check)),
        }
    }
}

/// Fetches an http-01 answer as RFC 8555 §8.3 tells, without following redirects.
pub(super) async fn fetch(http: &reqwest::Client, port: u16, check: &Check) -> Result<(), Problem> {
    let url = format!("http://127.0.0.1:{port}/.well-known/acme-challenge/{}", check.token);
    let unreachable = |error: reqwest::Error| {
        Problem::new("connection", format!("{}: Fetching {url}: {error}", check.name))
    };
    let answer = http.get(&url).header(http::header::HOST, &check.name).send().await.map_err(unreachable)?;
    let status = answer.status();
    if !status.is_success() {
        let detail = format!("{}: Invalid response from {url}: {}", check.name, status.as_u16());
        return Err(Problem::unauthorized(detail));
    }
    let body = answer.text().await.map_err(unreachable)?;
    if body.trim_end() == check.key_authorization {
        return Ok(());
    }
    let detail = format!(
        "{}: the key authorization file from the server did not match this challenge: {body:.100}",
        check.name
    );
    Err(Problem::unauthorized(detail))
}

impl fmt::Debug for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlwaysValid => f.write_str("AlwaysValid"),
            Self::Http { port } => write!(f, "Http {{ port: {port} }}"),
            Self::Failing { names } => write!(f, "Failing {{ names: {names:?} }}"),
            Self::By(_) => f.write_str("By"),
        }
    }
}
