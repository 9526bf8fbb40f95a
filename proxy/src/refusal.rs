//! Every way in which the edge says no, and what each means to the visitor, the log and the meter.
//!
//! One exhaustive `match` maps a refusal to its status, code, usage class and log level; the words that a
//! visitor reads are in [`crate::page`]. The codes are stable: log, metric and page show the same one.

use std::fmt;

use model::usage::UsageClass;
use tracing::Level;

/// Seconds after which to ask a busy app again: longer than the queue's default wait, so that who obeys does not
/// come back to the same queue.
const BUSY_SECONDS: u64 = 2;

/// Why a request is not served by its app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request breaks HTTP or our stricter reading of it; says how, in our words.
    BadRequest(&'static str),
    /// The header section is larger than we take.
    HeaderTooLarge,
    /// The request target is longer than we take.
    UriTooLong,
    /// TRACE, CONNECT or an unknown method.
    MethodNotAllowed,
    /// A version of HTTP/1's form that is neither 1.0 nor 1.1.
    VersionNotSupported,
    /// A transfer coding other than `chunked`.
    CodingNotSupported,
    /// An expectation other than `100-continue`.
    ExpectationFailed,
    /// The visitor sent too slowly; says what.
    RequestTimeout(&'static str),
    /// No site answers at the host.
    UnknownHost,
    /// The host is not the one that the TLS connection was made for (RFC 9110 §15.5.20).
    Misdirected,
    /// A request that cannot be redirected came in the clear.
    HttpsRequired,
    /// A GET or HEAD came in the clear.
    RedirectToHttps {
        /// The same address with `https`.
        location: String,
    },
    /// The tenant is suspended.
    Suspended,
    /// This visitor asks too fast.
    VisitorLimit {
        /// How far the limit is used.
        policy: LimitAnswer,
    },
    /// All visitors of the tenant together ask too fast.
    TenantLimit {
        /// How far the limit is used.
        policy: LimitAnswer,
    },
    /// The firewall stopped it; the reason is for the log only.
    Blocked {
        /// Name of what matched.
        reason: &'static str,
    },
    /// The app works on as many requests as it may.
    AppBusy,
    /// The app has no backend that takes traffic.
    NoBackend,
    /// No backend could be reached.
    BackendDown,
    /// A backend did not answer in time.
    BackendTimeout,
    /// A backend's answer was no HTTP or broke off.
    BackendBroken,
    /// This edge is about to end.
    ShuttingDown,
}

/// What a limit answered, as the `RateLimit` fields tell it (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitAnswer {
    /// Requests allowed in a window.
    pub(crate) limit: u32,
    /// Requests still allowed now.
    pub(crate) remaining: u32,
    /// Seconds until more is allowed again.
    pub(crate) reset_seconds: u64,
    /// Seconds until a retry makes sense.
    pub(crate) retry_after_seconds: u64,
    /// Length of the window in seconds.
    pub(crate) window_seconds: u64,
    /// Name of the policy: `visitor` or `tenant`.
    pub(crate) policy: &'static str,
}

impl LimitAnswer {
    /// Value of `RateLimit-Policy`, e.g. `"visitor";q=50;w=60`.
    pub(crate) fn policy_field(&self) -> String {
        format!("\"{}\";q={};w={}", self.policy, self.limit, self.window_seconds)
    }

    /// Value of `RateLimit`, e.g. `"visitor";r=0;t=3`.
    pub(crate) fn state_field(&self) -> String {
        format!("\"{}\";r={};t={}", self.policy, self.remaining, self.reset_seconds)
    }

    /// Seconds for `Retry-After`: at least 1, and never earlier than the `t` of [`Self::state_field`].
    pub(crate) fn wait_seconds(&self) -> u64 {
        self.retry_after_seconds.max(self.reset_seconds).max(1)
    }
}

/// What a refusal means to everybody but the visitor.
struct Meaning {
    status: u16,
    code: &'static str,
    class: UsageClass,
    level: Level,
}

const fn refused(status: u16, code: &'static str, level: Level) -> Meaning {
    Meaning { status, code, class: UsageClass::Refused, level }
}

const fn blocked(status: u16, code: &'static str) -> Meaning {
    Meaning { status, code, class: UsageClass::Blocked, level: Level::INFO }
}

impl Refusal {
    /// Strangers' mistakes are logged at debug, because anybody can make them by the thousand; what a creator
    /// should repair at warn; the rest at info.
    const fn meaning(&self) -> Meaning {
        match self {
            Self::BadRequest(_) => refused(400, "bad_request", Level::DEBUG),
            Self::HeaderTooLarge => refused(431, "header_too_large", Level::DEBUG),
            Self::UriTooLong => refused(414, "uri_too_long", Level::DEBUG),
            Self::MethodNotAllowed => refused(405, "method_not_allowed", Level::DEBUG),
            Self::VersionNotSupported => refused(505, "version_not_supported", Level::DEBUG),
            Self::CodingNotSupported => refused(501, "coding_not_supported", Level::DEBUG),
            Self::ExpectationFailed => refused(417, "expectation_failed", Level::DEBUG),
            Self::RequestTimeout(_) => refused(408, "request_timeout", Level::DEBUG),
            Self::UnknownHost => refused(404, "unknown_host", Level::DEBUG),
            Self::Misdirected => refused(421, "misdirected", Level::DEBUG),
            Self::HttpsRequired => refused(403, "https_required", Level::DEBUG),
            Self::RedirectToHttps { .. } => refused(308, "https_required", Level::DEBUG),
            Self::Suspended => refused(403, "suspended", Level::INFO),
            Self::VisitorLimit { .. } => blocked(429, "visitor_limit"),
            Self::TenantLimit { .. } => blocked(429, "tenant_limit"),
            Self::Blocked { .. } => blocked(403, "blocked"),
            Self::AppBusy => refused(503, "app_busy", Level::INFO),
            Self::NoBackend => refused(503, "no_backend", Level::INFO),
            Self::BackendDown => refused(502, "backend_down", Level::WARN),
            Self::BackendTimeout => refused(504, "backend_timeout", Level::WARN),
            Self::BackendBroken => refused(502, "backend_broken", Level::WARN),
            Self::ShuttingDown => refused(503, "shutting_down", Level::INFO),
        }
    }

    /// Status of the response.
    pub(crate) fn status(&self) -> u16 {
        self.meaning().status
    }

    /// Stable word for page, log and metric.
    pub(crate) fn code(&self) -> &'static str {
        self.meaning().code
    }

    /// What the meter counts it as; never a billable class.
    pub(crate) fn usage_class(&self) -> UsageClass {
        self.meaning().class
    }

    /// Level at which the access log tells it.
    pub(crate) fn level(&self) -> Level {
        self.meaning().level
    }

    /// Why, in words, where the code alone does not say it.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::BadRequest(reason) | Self::RequestTimeout(reason) | Self::Blocked { reason } => {
                Some(reason)
            }
            _ => None,
        }
    }

    /// Whether what was sent makes one doubt where the next request begins, or whom it is from.
    pub(crate) fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::HeaderTooLarge
                | Self::UriTooLong
                | Self::MethodNotAllowed
                | Self::VersionNotSupported
                | Self::CodingNotSupported
                | Self::ExpectationFailed
                | Self::RequestTimeout(_)
                | Self::ShuttingDown
        )
    }

    /// Seconds after which the same request may succeed; none where waiting does not help or nobody knows.
    pub(crate) fn wait_seconds(&self) -> Option<u64> {
        match self {
            Self::VisitorLimit { policy } | Self::TenantLimit { policy } => Some(policy.wait_seconds()),
            Self::AppBusy => Some(BUSY_SECONDS),
            Self::ShuttingDown => Some(1),
            _ => None,
        }
    }
}

/// For the log: the code, and the reason where there is one.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            Some(reason) => write!(f, "{}: {reason}", self.code()),
            None => f.write_str(self.code()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const ANSWER: LimitAnswer = LimitAnswer {
        limit: 50,
        remaining: 0,
        reset_seconds: 3,
        retry_after_seconds: 2,
        window_seconds: 60,
        policy: "visitor",
    };

    /// One of each.
    pub(crate) fn all() -> Vec<Refusal> {
        vec![
            Refusal::BadRequest("the host is empty"),
            Refusal::HeaderTooLarge,
            Refusal::UriTooLong,
            Refusal::MethodNotAllowed,
            Refusal::VersionNotSupported,
            Refusal::CodingNotSupported,
            Refusal::ExpectationFailed,
            Refusal::RequestTimeout("the body came too slowly"),
            Refusal::UnknownHost,
            Refusal::Misdirected,
            Refusal::HttpsRequired,
            Refusal::RedirectToHttps { location: "https://a.test/x?y".to_owned() },
            Refusal::Suspended,
            Refusal::VisitorLimit { policy: ANSWER },
            Refusal::TenantLimit { policy: LimitAnswer { policy: "tenant", ..ANSWER } },
            Refusal::Blocked { reason: "sql injection" },
            Refusal::AppBusy,
            Refusal::NoBackend,
            Refusal::BackendDown,
            Refusal::BackendTimeout,
            Refusal::BackendBroken,
            Refusal::ShuttingDown,
        ]
    }

    #[test]
    fn no_refusal_is_billable() {
        assert!(all().iter().all(|refusal| !refusal.usage_class().is_billable()));
    }

    #[test]
    fn only_limits_and_the_firewall_count_as_blocked() {
        let blocked: Vec<_> = all()
            .iter()
            .filter(|refusal| refusal.usage_class() == UsageClass::Blocked)
            .map(Refusal::code)
            .collect();
        assert_eq!(blocked, ["visitor_limit", "tenant_limit", "blocked"]);
    }

    #[test]
    fn rate_limit_fields_are_structured_fields() {
        assert_eq!(ANSWER.policy_field(), "\"visitor\";q=50;w=60");
        assert_eq!(ANSWER.state_field(), "\"visitor\";r=0;t=3");
    }

    #[test]
    fn a_retry_is_never_invited_before_the_limit_resets() {
        assert_eq!(ANSWER.wait_seconds(), 3);
        assert_eq!(LimitAnswer { reset_seconds: 0, retry_after_seconds: 0, ..ANSWER }.wait_seconds(), 1);
    }

    #[test]
    fn the_log_tells_the_reason_after_the_code() {
        assert_eq!(Refusal::Blocked { reason: "sql injection" }.to_string(), "blocked: sql injection");
        assert_eq!(Refusal::BackendDown.to_string(), "backend_down");
    }
}
