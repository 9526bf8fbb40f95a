//! gRPC calls through the edge: a visitor speaks HTTP/2 frame by frame, or is Python's gRPC library.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use testkit::authority::Authority;
use testkit::command::run_command;
use testkit::wait;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::h2_origin::H2Origin;
use crate::http2_backends::trusting;
use crate::market::{HOST, Market};

/// A visitor's connection.
pub(crate) async fn visitor(market: &Market) -> SendRequest<Bytes> {
    let tls = market.visitors.tls().unwrap().offering(&["h2"]);
    let stream = tls.connect(market.visitors.https, HOST).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests
}

/// Begins a call.
async fn call(visitor: &mut SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("https://{HOST}{path}"))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("grpc-timeout", "5S")
        .body(())
        .unwrap();
    let mut ready = visitor.clone().ready().await.unwrap();
    ready.send_request(request, false).unwrap()
}

async fn piece(body: &mut RecvStream) -> Option<Bytes> {
    let piece = body.data().await?.unwrap();
    body.flow_control().release_capacity(piece.len()).unwrap();
    Some(piece)
}

async fn rest(body: &mut RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(more) = piece(body).await {
        all.extend_from_slice(&more);
    }
    (all, body.trailers().await.unwrap())
}

#[tokio::test]
async fn messages_pass_both_ways_as_they_come_and_trailers_arrive() {
    let (authority, clear) = (Authority::new().unwrap(), H2Origin::clear().await);
    let secure = H2Origin::tls(&authority).await;
    for url in [clear.h2c(), secure.https()] {
        let market = trusting(&authority, &[url]);
        let (answer, mut messages) = call(&mut visitor(&market).await, "/echo").await;
        messages.send_data(Bytes::from_static(b"one"), false).unwrap();
        let mut answer = answer.await.unwrap();
        assert_eq!(answer.headers()["x-te"], "trailers");
        assert_eq!(piece(answer.body_mut()).await.unwrap(), "one");
        messages.send_data(Bytes::from_static(b"two"), false).unwrap();
        assert_eq!(piece(answer.body_mut()).await.unwrap(), "two");
        messages.send_data(Bytes::new(), true).unwrap();
        let (_, trailers) = rest(answer.body_mut()).await;
        let trailers = trailers.unwrap();
        assert_eq!(
            (&trailers["grpc-status"], &trailers["x-last"]),
            (&"0".parse().unwrap(), &"word".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_status_without_a_body_stays_one_header_section() {
    let origin = H2Origin::clear().await;
    let market = Market::open(&[origin.h2c()]);
    let (answer, mut messages) = call(&mut visitor(&market).await, "/status/5").await;
    messages.send_data(Bytes::new(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"5".parse().unwrap()));
    assert!(answer.body().is_end_stream());
}

#[tokio::test]
async fn calls_of_an_app_share_a_connection_and_outlive_every_limit_of_a_request() {
    let origin = H2Origin::clear().await;
    let market = Market::open_with(&[origin.h2c()], |settings| settings.workers = 1);
    market.set_site(|site| {
        site.settings.first_byte_timeout_ms = 100;
        site.settings.total_timeout_ms = 200;
    });
    let mut visitor = visitor(&market).await;
    let (silent, _messages) = call(&mut visitor, "/silent").await;
    wait::until("the first call", wait::LONG, async || {
        anyhow::ensure!(origin.seen.requests.load(Relaxed) == 1);
        Ok(())
    })
    .await
    .unwrap();
    let (answer, mut messages) = call(&mut visitor, "/other").await;
    messages.send_data(Bytes::new(), true).unwrap();
    let mut answer = answer.await.unwrap();
    assert_eq!(rest(answer.body_mut()).await.0, b"1", "the first connection");
    // Its silence is what is tested.
    assert!(tokio::time::timeout(Duration::from_millis(600), silent).await.is_err());
}

#[tokio::test]
async fn a_visitor_who_hangs_up_frees_the_stream_and_nothing_else() {
    let origin = H2Origin::clear().await;
    let market = Market::open_with(&[origin.h2c()], |settings| settings.workers = 1);
    let mut visitor = visitor(&market).await;
    let (echo, mut echoed) = call(&mut visitor, "/echo").await;
    echoed.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut echo = echo.await.unwrap();
    assert_eq!(piece(echo.body_mut()).await.unwrap(), "one");
    let (silent, mut messages) = call(&mut visitor, "/silent").await;
    wait::until("the call", wait::LONG, async || {
        anyhow::ensure!(origin.seen.requests.load(Relaxed) == 2);
        Ok(())
    })
    .await
    .unwrap();
    messages.send_reset(h2::Reason::CANCEL);
    drop(silent);
    wait::until("the reset", wait::LONG, async || {
        anyhow::ensure!(origin.seen.resets.load(Relaxed) == 1);
        Ok(())
    })
    .await
    .unwrap();
    echoed.send_data(Bytes::from_static(b"two"), true).unwrap();
    assert_eq!(rest(echo.body_mut()).await.0, b"two");
    assert_eq!(origin.seen.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn a_call_that_is_refused_gets_a_grpc_status_and_the_log_our_code() {
    let market = Market::open(&["h2c://127.0.0.1:1".to_owned()]);
    let (answer, mut messages) = call(&mut visitor(&market).await, "/a.B/C").await;
    messages.send_data(Bytes::new(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    assert!(answer.body().is_end_stream());
    let line = market.logged(|line| line["refusal"] == "backend_down").await;
    assert_eq!(line["status"], 502);
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("status=\"5xx\"") || metrics.contains("502"), "{metrics}");
}

/// Python with its gRPC library: one that was installed with pip, or Debian's python3-grpcio.
fn python() -> &'static str {
    let has_grpc = |python: &&str| {
        let found = std::process::Command::new(python).args(["-c", "import grpc"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_grpc);
    found.ok_or("install the package python3-grpcio").unwrap()
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/grpc/echo.py")
}

/// Python's server and its port.
async fn served(arguments: &[&Path]) -> (Child, u16) {
    let mut command = Command::new(python());
    command.arg(script()).arg("serve").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = command.kill_on_drop(true).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    (server, line.trim().parse().unwrap())
}

#[tokio::test]
async fn pythons_grpc_library_notices_no_edge_between_its_client_and_its_server() {
    let (authority, folder) = (Authority::new().unwrap(), tempfile::tempdir().unwrap());
    let issued = authority.issue(&["127.0.0.1"]).unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, &issued.chain_pem).unwrap();
    std::fs::write(&key, &issued.key_pem).unwrap();
    let (_clear, clear_port) = served(&[]).await;
    let (_secure, secure_port) = served(&[&certificate, &key]).await;
    for url in [format!("h2c://127.0.0.1:{clear_port}"), format!("https://127.0.0.1:{secure_port}")] {
        let market = trusting(&authority, std::slice::from_ref(&url));
        let mut command = std::process::Command::new(python());
        command.arg(script()).arg("call").arg(market.visitors.https.to_string());
        let said = run_command({
            command.arg(&market.visitors.roots).arg(HOST);
            command
        })
        .await
        .unwrap();
        assert_eq!(said.output.lines().count(), 6, "{url}: {} {}", said.output, said.errors);
    }
}
