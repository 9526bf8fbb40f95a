//! The control plane over HTTP: what is asked, and what each answer means.

use std::time::Duration;

use feed::http::HttpOrigin;
use feed::{Origin, OriginError};
use model::Timestamp;
use model::change::{Batch, Lineage, Revision};
use model::edge::EdgeReport;
use model::id::EdgeId;
use model::secret::Secret;
use model::usage::UsageBatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A control plane that gives one answer and tells what it was asked.
struct Plane {
    origin: HttpOrigin,
    asked: JoinHandle<String>,
}

async fn answering(answer: Vec<u8>) -> Plane {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/base/", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !is_whole(&asked) {
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            asked.extend_from_slice(&buffer[..read]);
        }
        let _ = stream.write_all(&answer).await;
        String::from_utf8(asked).unwrap()
    });
    Plane { origin: HttpOrigin::new(&base, Secret::new("sk_edge".to_owned()), None).unwrap(), asked }
}

fn is_whole(asked: &[u8]) -> bool {
    let text = String::from_utf8_lossy(asked).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|n| n.parse().unwrap());
    body.len() >= length.unwrap_or(0_usize)
}

fn with_status(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

fn edge() -> EdgeId {
    EdgeId::generate(Timestamp::from_unix_millis(1))
}

async fn changes(origin: &HttpOrigin) -> Result<Batch, OriginError> {
    origin.changes(&Lineage("a b&c".to_owned()), Revision(7), Duration::from_secs(5)).await
}

#[tokio::test]
async fn changes_are_asked_for_with_key_lineage_and_revision() {
    let batch = Batch { next: Revision(9), ..Batch::default() };
    let plane = answering(with_status("200 OK", &serde_json::to_string(&batch).unwrap())).await;
    assert_eq!(changes(&plane.origin).await.unwrap(), batch);
    let asked = plane.asked.await.unwrap();
    assert!(asked.starts_with("GET /base/v1/edge/changes?lineage=a+b%26c&after=7&wait_ms=5000 "), "{asked}");
    assert!(asked.to_lowercase().contains("authorization: bearer sk_edge"), "{asked}");
}

#[tokio::test]
async fn usage_and_reports_go_up_as_json() {
    let plane = answering(with_status("204 No Content", "")).await;
    let batch = UsageBatch { edge: edge(), sequence: 3, rows: Vec::new() };
    plane.origin.usage(&batch).await.unwrap();
    let asked = plane.asked.await.unwrap();
    assert!(asked.starts_with("POST /base/v1/edge/usage ") && asked.contains(r#""sequence":3"#), "{asked}");

    let plane = answering(with_status("200 OK", "{}")).await;
    let report = EdgeReport {
        edge: edge(),
        revision: Revision(4),
        version: "1".to_owned(),
        started_at: Timestamp::from_unix_millis(0),
        sites: 0,
        certificates: 0,
    };
    plane.origin.report(&report).await.unwrap();
    assert!(plane.asked.await.unwrap().contains(r#""revision":4"#));
}

#[tokio::test]
async fn a_refusal_tells_the_problem_and_the_rest_is_worth_another_try() {
    for (status, refused) in [
        ("401 Unauthorized", true),
        ("403 Forbidden", true),
        ("404 Not Found", true),
        ("422 Unprocessable Content", true),
        ("429 Too Many Requests", false),
        ("500 Internal Server Error", false),
        ("302 Found", false),
    ] {
        let plane = answering(with_status(status, r#"{"detail":"the edge key was deleted"}"#)).await;
        let error = changes(&plane.origin).await.unwrap_err();
        assert_eq!(matches!(error, OriginError::Refused(_)), refused, "{status}: {error}");
        assert!(error.to_string().contains("the edge key was deleted"), "{error}");
    }
}

#[tokio::test]
async fn a_batch_is_refused_for_its_content_only() {
    for (status, refused) in [("401 Unauthorized", false), ("422 Unprocessable Content", true)] {
        let plane = answering(with_status(status, "<html>")).await;
        let batch = UsageBatch { edge: edge(), sequence: 3, rows: Vec::new() };
        let error = plane.origin.usage(&batch).await.unwrap_err();
        assert_eq!(matches!(error, OriginError::Refused(_)), refused, "{status}: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_understood_is_worth_another_try() {
    let plane = answering(with_status("200 OK", "<html>hello</html>")).await;
    let error = changes(&plane.origin).await.unwrap_err();
    assert!(matches!(&error, OriginError::Unavailable(text) if text.contains("not understood")), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize((64 << 20) + 100_000, b' ');
    let plane = answering(endless).await;
    let error = changes(&plane.origin).await.unwrap_err();
    assert!(error.to_string().contains("more than 67108864 bytes"), "{error}");
}

#[tokio::test]
async fn a_closed_port_is_out_of_reach() {
    let plane = answering(Vec::new()).await;
    plane.asked.abort();
    let _ = plane.asked.await;
    let error = changes(&plane.origin).await.unwrap_err();
    assert!(matches!(error, OriginError::Unavailable(_)), "{error}");
}

#[test]
fn neither_key_nor_clear_text_gets_out() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let new = |base: &str, key: &str| HttpOrigin::new(base, Secret::new(key.to_owned()), None);
    assert!(new("http://control.example.com", "sk").unwrap_err().to_string().contains("use https"));
    assert!(new("http://127.0.0.1:1", "sk\nx").is_err());
    let printed = format!("{:?}", new("http://127.0.0.1:1", "sk_live_hunter2").unwrap());
    assert!(!printed.contains("hunter2"), "{printed}");
}
