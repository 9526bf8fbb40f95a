//! Why a step of an order failed, sorted by what is done about it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use instant_acme::{Error, Problem};
use model::Timestamp;
use model::chain::InspectError;
use model::seal::SealError;
use store::StoreError;

use super::transport::Heard;
use crate::adapters::ProofError;

/// Longest text of an authority that is kept: it is shown to people.
const MAX_REASON: usize = 300;
/// Longest wait that an authority may ask for; more is taken for a mistake.
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why an order did not come to its certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority is away, broken or slow: try again later.
    #[error("the certificate authority is not available: {reason}")]
    Busy {
        /// What happened.
        reason: String,
        /// When it asks to be asked again.
        retry_at: Option<Timestamp>,
    },
    /// A limit of the authority is reached: do not ask before then.
    #[error("the certificate authority asks to wait: {reason}")]
    Limited {
        /// Which limit.
        reason: String,
        /// When it asks to be asked again.
        retry_at: Option<Timestamp>,
    },
    /// The authority could not see the proof at the name.
    #[error("the certificate authority could not check `{host}`: {reason}")]
    Validation {
        /// The name.
        host: String,
        /// What it saw instead.
        reason: String,
    },
    /// The records cannot be told, or not all servers show them yet: nothing was asked of the authority.
    #[error("`{host}` cannot be told to point here yet: {reason}")]
    NotYet {
        /// The name.
        host: String,
        /// What was seen.
        reason: String,
    },
    /// The records do not, or no longer, point here with a proved claim.
    #[error("`{host}` is not proved to point here: {reason}")]
    NotHere {
        /// The name.
        host: String,
        /// What was seen.
        reason: String,
    },
    /// The authority refuses; asking again does not help.
    #[error("the certificate authority refuses: {0}")]
    Refused(String),
    /// The authority does not know the account.
    #[error("the certificate authority does not know our account: {0}")]
    UnknownAccount(String),
    /// The domain's CAA records let none of our authorities make its certificate.
    #[error("the CAA records of `{host}` let other authorities make its certificate only")]
    Forbidden {
        /// The name.
        host: String,
    },
    /// The authority has the order and does not come to an end with it.
    #[error("the certificate authority is not available: {reason}")]
    Unfinished {
        /// What it says.
        reason: String,
    },
    /// The authority no longer knows the order: begin a new one.
    #[error("the certificate authority no longer knows the order")]
    OrderGone,
    /// What the authority made cannot be used.
    #[error("the certificate authority's certificate cannot be used: {0}")]
    Unusable(String),
    /// One of its limits is used up, by our own account of it: nothing was sent.
    #[error("the certificate authority makes no more certificates for this name before {until}")]
    Spent {
        /// When the order may be sent.
        until: Timestamp,
    },
    /// The certificate that was to be replaced has been replaced already.
    #[error("the certificate was replaced already: {0}")]
    Replaced(String),
    /// The proof cannot be set in a zone of ours, or is not shown by its servers.
    #[error("the names could not be proved: {0}")]
    Proof(#[from] ProofError),
    /// Our account got another key while the order was under way.
    #[error("our account with the certificate authority got another key meanwhile")]
    KeyChanged,
    /// Another process has taken the order over.
    #[error("another process has taken the order over")]
    Fenced,
    /// Our store does not answer.
    #[error(transparent)]
    Store(StoreError),
    /// A stored key does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A key or a request could not be made.
    #[error("a key or a request could not be made: {0}")]
    Crypto(String),
}

impl From<StoreError> for AcmeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced { .. } => Self::Fenced,
            error => Self::Store(error),
        }
    }
}

impl From<rcgen::Error> for AcmeError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

impl From<InspectError> for AcmeError {
    fn from(error: InspectError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// Sorts an error of the library by what the last answer said. The status of a problem document is not
/// looked at: some authorities leave it out.
pub(crate) fn classify(error: Error, heard: &Heard, now: Timestamp) -> AcmeError {
    let retry_at = heard.retry_after.as_deref().and_then(|text| retry_at(text, now));
    let waiting = matches!(heard.status, Some(StatusCode::TOO_MANY_REQUESTS));
    let failing = heard.status.is_some_and(|status| status.is_server_error());
    match error {
        Error::Api(problem) => by_problem(&problem, retry_at, (waiting, failing)),
        Error::Json(_) => {
            let status = heard.status.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
            let reason = format!("it answered {status} without the JSON that RFC 8555 asks for");
            if waiting {
                AcmeError::Limited { reason, retry_at }
            } else {
                AcmeError::Busy { reason, retry_at }
            }
        }
        Error::InvalidUri(error) => AcmeError::Refused(format!("it names an address that is none: {error}")),
        Error::Unsupported(what) => AcmeError::Refused(format!("it does not support {what}")),
        Error::Crypto | Error::KeyRejected => AcmeError::Crypto(error.to_string()),
        error => AcmeError::Busy { reason: shortened(&with_causes(&error)), retry_at },
    }
}

fn by_problem(problem: &Problem, retry_at: Option<Timestamp>, (waiting, failing): (bool, bool)) -> AcmeError {
    let reason = reason_of(problem);
    match kind(problem) {
        "accountDoesNotExist" => AcmeError::UnknownAccount(reason),
        "alreadyReplaced" => AcmeError::Replaced(reason),
        "rateLimited" => AcmeError::Limited { reason, retry_at },
        _ if waiting => AcmeError::Limited { reason, retry_at },
        "serverInternal" | "badNonce" | "orderNotReady" => AcmeError::Busy { reason, retry_at },
        _ if failing => AcmeError::Busy { reason, retry_at },
        _ => AcmeError::Refused(reason),
    }
}

/// Whether the authority refused the nonce only: the same step may be sent again at once (RFC 8555 §6.5).
pub(crate) fn is_bad_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "badNonce")
}

/// Whether a refusal of an order is about the certificate that it was said to replace (RFC 9773 §5), and not about
/// the order: some authorities say so in the text only.
pub(super) fn is_about_replacement(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    let kinds = ["(malformed)", "(unauthorized)", "(conflict)"];
    let words = ["replac", "ari certid", "authority key identifier"];
    kinds.iter().any(|kind| reason.ends_with(kind)) && words.iter().any(|word| reason.contains(word))
}

/// The last part of the type's URN: `rateLimited`.
fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().and_then(|urn| urn.rsplit(':').next()).unwrap_or_default()
}

/// What a problem says, in at most [`MAX_REASON`] characters.
pub(crate) fn reason_of(problem: &Problem) -> String {
    let detail = problem.detail.as_deref().unwrap_or("no detail");
    shortened(&format!("{detail} ({})", kind(problem)))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let mut text = error.to_string();
    for cause in causes.map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn shortened(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect()
}

/// `Retry-After` as a moment: seconds or an HTTP date (RFC 9110 §10.2.3).
pub(super) fn retry_at(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    let at = match text.parse::<u64>() {
        Ok(seconds) => now.plus(Duration::from_secs(seconds)),
        Err(_) => moment(httpdate::parse_http_date(text).ok()?)?,
    };
    Some(at.clamp(now, now.plus(MAX_WAIT)))
}

fn moment(at: SystemTime) -> Option<Timestamp> {
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_unix_seconds(i64::try_from(since.as_secs()).ok()?))
}
