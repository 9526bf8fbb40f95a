//! What is made of an authority's bad days: scripted answers behind the library.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use instant_acme::{Account, BodyWrapper, BytesResponse, Error, HttpClient, Key, NewOrder};
use model::Timestamp;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::time::Instant;

use super::AcmeError;
use super::account::Line;
use super::transport::{Recorder, Transport};

/// What the authority does with one POST.
#[derive(Clone)]
enum Act {
    Answer(u16, Vec<(&'static str, String)>, &'static str),
    Hang,
    Break,
}

/// Gives a directory and nonces to whoever asks, and acts as scripted on each POST; the last act stays.
#[derive(Clone)]
struct Ca(Arc<Mutex<VecDeque<Act>>>);

const DIRECTORY: &str = r#"{"newNonce":"https://ca.test/nonce","newAccount":"https://ca.test/account",
    "newOrder":"https://ca.test/order"}"#;

impl HttpClient for Ca {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let act = match *request.method() {
            Method::HEAD => Act::Answer(200, Vec::new(), ""),
            Method::GET => Act::Answer(200, Vec::new(), DIRECTORY),
            _ => {
                let mut acts = self.0.lock().unwrap();
                if acts.len() > 1 { acts.pop_front().unwrap() } else { acts.front().unwrap().clone() }
            }
        };
        Box::pin(async move {
            match act {
                Act::Hang => std::future::pending().await,
                Act::Break => Err(Error::Other("connection refused".into())),
                Act::Answer(status, headers, body) => {
                    let mut answer = Response::builder().status(status).header("Replay-Nonce", "n");
                    for (name, value) in headers {
                        answer = answer.header(name, value);
                    }
                    Ok(BytesResponse::from(
                        answer.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap(),
                    ))
                }
            }
        })
    }
}

fn now() -> Timestamp {
    "2026-11-22T18:00:00Z".parse().unwrap()
}

/// What comes of asking for a new order.
async fn asked(acts: impl IntoIterator<Item = Act>) -> Result<String, AcmeError> {
    let recorder =
        Recorder::new(Arc::new(Ca(Arc::new(Mutex::new(acts.into_iter().collect())))), Arc::default());
    let (_, key) = Key::generate_pkcs8().unwrap();
    let builder = Account::builder_with_http(Box::new(recorder.clone()));
    let key = PrivatePkcs8KeyDer::from(key.secret_pkcs8_der());
    let account = builder
        .from_parts("https://ca.test/me".to_owned(), key, "https://ca.test/dir".to_owned())
        .await
        .unwrap();
    let line = Line { recorder, clock: Arc::new(now) };
    let order = step!(line, account.new_order(&NewOrder::new(&[])));
    order.map(|order| order.url().to_owned())
}

fn answer(status: u16, body: &'static str) -> Act {
    Act::Answer(status, Vec::new(), body)
}

fn waiting(status: u16, retry_after: &str, body: &'static str) -> Act {
    Act::Answer(status, vec![("Retry-After", retry_after.to_owned())], body)
}

const HTML: &str = "<html><body>Service unavailable</body></html>";
const LIMITED: &str = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates"}"#;
const BAD_NONCE: &str = r#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"bad nonce"}"#;

#[tokio::test]
async fn html_is_told_by_its_status() {
    let error = asked([answer(503, HTML)]).await.unwrap_err();
    assert!(matches!(&error, AcmeError::Busy { retry_at: None, .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the certificate authority is not available: it answered 503 Service Unavailable without the JSON that RFC 8555 asks for"
    );
    for status in [200, 302, 400, 403, 500, 502] {
        let error = asked([answer(status, HTML)]).await.unwrap_err();
        assert!(matches!(&error, AcmeError::Busy { .. }), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn an_empty_body_is_told_by_its_status() {
    assert!(matches!(asked([answer(500, "")]).await, Err(AcmeError::Busy { .. })));
    assert!(matches!(asked([answer(429, "")]).await, Err(AcmeError::Limited { retry_at: None, .. })));
}

#[tokio::test]
async fn retry_after_is_read_in_seconds_and_as_a_date() {
    let minute = now().plus(Duration::from_secs(60));
    for text in ["60", " 60 ", "Sun, 22 Nov 2026 18:01:00 GMT"] {
        for (status, body) in [(429, LIMITED), (429, HTML), (400, LIMITED)] {
            let error = asked([waiting(status, text, body)]).await.unwrap_err();
            assert!(
                matches!(&error, AcmeError::Limited { retry_at: Some(at), .. } if *at == minute),
                "{status} {text}: {error:?}"
            );
        }
        let error = asked([waiting(503, text, HTML)]).await.unwrap_err();
        assert!(matches!(&error, AcmeError::Busy { retry_at: Some(at), .. } if *at == minute), "{error:?}");
    }
}

#[tokio::test]
async fn a_senseless_retry_after_is_ignored_or_bounded() {
    for text in ["soon", "-5", ""] {
        assert!(matches!(
            asked([waiting(429, text, LIMITED)]).await,
            Err(AcmeError::Limited { retry_at: None, .. })
        ));
    }
    let week = now().plus(Duration::from_secs(7 * 24 * 3600));
    let past = "Sun, 22 Nov 2020 18:01:00 GMT";
    for (text, at) in [("99999999999999", week), (past, now())] {
        let error = asked([waiting(429, text, LIMITED)]).await.unwrap_err();
        assert!(
            matches!(&error, AcmeError::Limited { retry_at: Some(found), .. } if *found == at),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_refused_nonce_is_tried_again_ten_times_and_more() {
    let order = Act::Answer(
        201,
        vec![("Location", "https://ca.test/order/1".to_owned())],
        r#"{"status":"pending","authorizations":[],"finalize":"https://ca.test/f"}"#,
    );
    let acts = std::iter::repeat_n(answer(400, BAD_NONCE), 12).chain([order]);
    assert_eq!(asked(acts).await.unwrap(), "https://ca.test/order/1");
    let error = asked([answer(400, BAD_NONCE)]).await.unwrap_err();
    assert!(matches!(error, AcmeError::Busy { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_hangs_is_given_up_after_half_a_minute() {
    let start = Instant::now();
    let error = asked([Act::Hang]).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    assert_eq!(error.to_string(), "the certificate authority is not available: no answer within 30 s");
}

#[tokio::test]
async fn an_authority_out_of_reach_is_busy_not_final() {
    let error = asked([Act::Break]).await.unwrap_err();
    assert_eq!(error.to_string(), "the certificate authority is not available: connection refused");
}

#[tokio::test]
async fn refusals_are_final_and_tell_the_reason() {
    let refusal = r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"policy forbids it"}"#;
    let error = asked([answer(403, refusal)]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate authority refuses: policy forbids it (rejectedIdentifier)"
    );
    let unknown = r#"{"type":"urn:ietf:params:acme:error:accountDoesNotExist","detail":"who"}"#;
    assert!(matches!(asked([answer(400, unknown)]).await, Err(AcmeError::UnknownAccount(_))));
    let internal = r#"{"type":"urn:ietf:params:acme:error:serverInternal"}"#;
    assert!(matches!(asked([answer(500, internal)]).await, Err(AcmeError::Busy { .. })));
}

#[test]
fn a_trust_anchor_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.pem");
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing here").unwrap();
    for path in [&missing, &empty] {
        let error = Transport::new(Some(path)).err().unwrap().to_string();
        assert!(error.starts_with(&format!("acme.ca_file `{}`: ", path.display())), "{error}");
    }
}

#[tokio::test]
async fn a_problem_without_a_status_of_its_own_is_told_by_the_answers() {
    let bare = r#"{"detail":"please come back"}"#;
    assert!(matches!(asked([answer(503, bare)]).await, Err(AcmeError::Busy { .. })));
    assert!(matches!(asked([answer(429, bare)]).await, Err(AcmeError::Limited { .. })));
    assert!(matches!(asked([answer(403, bare)]).await, Err(AcmeError::Refused(_))));
}
