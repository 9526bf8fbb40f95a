//! What an answer of the control plane means: a body of bounded size, or why there is none.

use std::error::Error;

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::OriginError;

/// Largest answer that is read.
const MAX_BODY_BYTES: usize = 64 << 20;
/// Largest problem (RFC 9457) that is read.
const MAX_PROBLEM_BYTES: usize = 64 << 10;
/// How much of a stranger's text goes into a log line.
const MAX_SHOWN_CHARS: usize = 300;

/// Why there is no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Out of reach, busy or broken.
    Unavailable(String),
    /// The key is not good (401, 403), or this is no control plane (404).
    Edge(String),
    /// The message is not good, and will not be.
    Message(String),
}

impl Refusal {
    pub(super) fn no_answer(error: &reqwest::Error) -> Self {
        Self::Unavailable(chain(error))
    }

    /// For a message that can be sent again once the edge is welcome: only the message itself is refused.
    pub(super) fn of_message(self) -> OriginError {
        match self {
            Self::Unavailable(reason) | Self::Edge(reason) => OriginError::Unavailable(reason),
            Self::Message(reason) => OriginError::Refused(reason),
        }
    }
}

impl From<Refusal> for OriginError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unavailable(reason) => Self::Unavailable(reason),
            Refusal::Edge(reason) | Refusal::Message(reason) => Self::Refused(reason),
        }
    }
}

/// The body of a success.
pub(super) async fn read(response: Response) -> Result<Vec<u8>, Refusal> {
    let status = response.status();
    if status.is_success() {
        return read_body(response, MAX_BODY_BYTES).await;
    }
    let body = read_body(response, MAX_PROBLEM_BYTES).await.unwrap_or_default();
    let reason = format!("{status}: {}", detail(&body));
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Refusal::Edge(reason),
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Refusal::Message(reason),
        _ => Refusal::Unavailable(reason),
    })
}

async fn read_body(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Refusal::no_answer(&error))? {
        if body.len() + chunk.len() > max_bytes {
            return Err(Refusal::Unavailable(format!("the answer has more than {max_bytes} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
    title: Option<String>,
}

/// What a problem says, or what else stands there.
fn detail(body: &[u8]) -> String {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let said = problem.and_then(|problem| problem.detail.or(problem.title));
    let text =
        said.unwrap_or_else(|| format!("it is no problem document: {}", String::from_utf8_lossy(body)));
    let shown = text.chars().map(|char| if char.is_control() { ' ' } else { char });
    shown.take(MAX_SHOWN_CHARS).collect()
}

/// An error and its causes; reqwest's own text leaves the causes out.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_by_its_detail() {
        assert_eq!(detail(br#"{"title":"t","detail":"the key was\nrevoked"}"#), "the key was revoked");
        assert_eq!(detail(b"<html>"), "it is no problem document: <html>");
        assert_eq!(detail(&[b'x'; 9000]).len(), MAX_SHOWN_CHARS);
    }

    #[test]
    fn a_refused_key_does_not_condemn_a_batch() {
        let refusal = || Refusal::Edge("401".to_owned());
        assert!(matches!(refusal().of_message(), OriginError::Unavailable(_)));
        assert!(matches!(OriginError::from(refusal()), OriginError::Refused(_)));
    }
}
