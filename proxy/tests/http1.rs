//! HTTP/1 as visitors speak it who mean no harm: kept connections, requests sent ahead, bodies in every form.

use std::time::Duration;

use serde_json::json;
use testkit::origin::Origin;
use testkit::websocket::Socket;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::market::{HOST, Market};
use crate::raw_origin::{After, RawOrigin};

/// A visitor's connection over TLS.
async fn connect(market: &Market) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    client.connect(market.visitors.https, HOST).await.unwrap()
}

/// Reads until `wanted` has come `count` times.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), wanted: &str, count: usize) -> String {
    let mut text = String::new();
    while text.matches(wanted).count() < count {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    text
}

/// Everything until the end, which must come without a reset.
async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A visitor of TLS may miss the farewell.
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let mut stream = connect(&market).await;
    let bodies = ["first", "second", "third"];
    let requests: String = bodies
        .iter()
        .map(|body| {
            let length = body.len();
            format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n{body}")
        })
        .collect();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let text = read_until(&mut stream, "\"third\"", 1).await;
    let places: Vec<_> = bodies.iter().map(|body| text.find(&format!("\"{body}\"")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!(text.matches("HTTP/1.1 200 ").count(), 3, "{text}");
}

#[tokio::test]
async fn a_request_sent_ahead_of_a_slow_one_is_served_after_it() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let mut stream = connect(&market).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(get("/slow/200").as_bytes()).await.unwrap();
    stream.write_all(get("/status/204").as_bytes()).await.unwrap();
    let text = read_until(&mut stream, "HTTP/1.1 204 ", 1).await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[tokio::test]
async fn a_visitor_that_waits_for_a_go_ahead_gets_it_and_then_sends() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let mut stream = connect(&market).await;
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let interim = read_until(&mut stream, "\r\n\r\n", 1).await;
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    stream.write_all(b"sent").await.unwrap();
    let answer = read_until(&mut stream, "\"sent\"", 1).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_passes_with_extensions_and_trailers() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let mut stream = connect(&market).await;
    let request = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in [request.as_str(), "3;a=\"b\"\r\nabc\r", "\n3\r\nd", "ef\r\n0\r\nX: y\r\n\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    read_until(&mut stream, "\"abcdef\"", 1).await;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    read_until(&mut stream, "one", 1).await;
}

#[tokio::test]
async fn a_large_upload_streams_through() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let length = 8 << 20;
    let mut stream = connect(&market).await;
    let head = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sent = tokio::spawn(async move {
        writer.write_all(&vec![b'x'; length]).await.unwrap();
        writer
    });
    let (mut got, mut piece) = (0, vec![0; 64 << 10]);
    while got < length {
        let count = reader.read(&mut piece).await.unwrap();
        assert!(count > 0, "it ended after {got} bytes");
        got += piece[..count].iter().filter(|byte| **byte == b'x').count();
    }
    drop(sent.await.unwrap());
}

#[tokio::test]
async fn frames_right_behind_the_handshake_of_a_web_socket_arrive() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let mut stream = connect(&market).await;
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3RvYSB0ZXN0IGNsaWVudA==\r\n\r\n"
    );
    // A text frame "hi" with the mask 0.
    let frame = b"\x81\x82\0\0\0\0hi";
    stream.write_all(&[handshake.as_bytes(), frame].concat()).await.unwrap();
    let text = read_until(&mut stream, "hi", 1).await;
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
}

#[tokio::test]
async fn a_web_socket_that_nobody_uses_is_closed() {
    let origin = Origin::start("one").await.unwrap();
    let market =
        Market::open_with(&[origin.url()], |settings| settings.deadlines.stream = Duration::from_millis(400));
    let mut socket = Socket::open(connect(&market).await, HOST, "/ws").await.unwrap();
    socket.send("one").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), "one");
    let ended = tokio::time::timeout(Duration::from_secs(20), socket.receive()).await.unwrap();
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_body_that_drips_is_answered_with_408_and_never_reaches_the_app_whole() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open_with(&[origin.url()], |settings| {
        settings.deadlines.grace = Duration::from_millis(300);
    });
    let mut stream = connect(&market).await;
    let head = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\nslow");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
    let line = market.logged(|line| line["status"] == 408).await;
    assert_eq!(
        (line["reason"].as_str(), line["host"].as_str()),
        (Some("the body came too slowly"), Some(HOST))
    );
    testkit::wait::until("the cut connection to be counted", testkit::wait::LONG, async || {
        let (_, metrics) = market.probe("/metrics").await;
        anyhow::ensure!(metrics.contains("stoa_connections_cut_total{reason=\"body\"} 1"), "{metrics}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn chunks_that_break_in_the_middle_are_answered_with_400() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let mut stream = connect(&market).await;
    let head =
        format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    testkit::wait::until("the app to have the request", testkit::wait::LONG, async || {
        anyhow::ensure!(origin.requests() > 0);
        Ok(())
    })
    .await
    .unwrap();
    stream.write_all(b"0x5\r\nhello\r\n0\r\n\r\n").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let line = market.logged(|line| line["status"] == 400).await;
    assert_eq!(line["reason"], "a chunk's size is not a hexadecimal number");
}

#[tokio::test]
async fn who_is_refused_in_the_middle_of_an_upload_still_reads_the_page() {
    let market = Market::open(&[]);
    let mut stream = TcpStream::connect(market.visitors.http).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 900000\r\nContent-Length: 900000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 900_000]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_refusal_for_form_is_counted_for_its_tenant() {
    let market = Market::open(&[]);
    let mut stream = connect(&market).await;
    let request =
        format!("GET /?secret HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: me\r\nContent-Length: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    let line = market.logged(|line| line["status"] == 400).await;
    assert!(answer.contains(line["request_id"].as_str().unwrap()), "{answer}");
    let seen = ["path", "user_agent", "method", "protocol", "sni"]
        .map(|name| line[name].as_str().unwrap().to_owned());
    assert_eq!(seen, ["/", "me", "GET", "http/1.1", HOST]);
    assert_eq!(line["tenant"], market.tenant.id.to_string());
    let (_, metrics) = market.probe("/metrics").await;
    assert!(
        metrics.contains("stoa_requests_total{class=\"refused\",status=\"4xx\",tenant=\"acme-inc\"} 1"),
        "{metrics}"
    );
    testkit::wait::until("the usage", testkit::wait::LONG, async || {
        let rows = market.rows.all();
        let refused = rows.iter().filter(|row| row.key.class == model::usage::UsageClass::Refused);
        anyhow::ensure!(refused.map(|row| row.counters.requests).sum::<u64>() == 1, "{rows:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn options_of_the_whole_server_are_the_apps_answer_and_need_tls() {
    let origin = RawOrigin::saying("HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n", After::Keep).await;
    let market = Market::open(&[origin.url()]);
    let request = format!("OPTIONS * HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let mut stream = connect(&market).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 204 ") && answer.contains("\r\nallow: get\r\n"), "{answer}");
    assert!(origin.heads()[0].starts_with("OPTIONS * HTTP/1.1\r\n"), "{:?}", origin.heads());

    let mut stream = TcpStream::connect(market.visitors.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(origin.heads().len(), 1, "it is not passed on");

    let line = market.logged(|line| line["scheme"] == "https").await;
    assert_eq!(
        (&line["method"], &line["path"], &line["status"]),
        (&json!("OPTIONS"), &json!("*"), &json!(204))
    );
    let line = market.logged(|line| line["scheme"] == "http").await;
    assert_eq!((&line["path"], &line["refusal"]), (&json!("*"), &json!("https_required")));
    let (_, metrics) = market.probe("/metrics").await;
    for line in [
        "stoa_requests_total{class=\"visitor\",status=\"2xx\",tenant=\"acme-inc\"} 1\n",
        "stoa_refusals_total{code=\"https_required\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}
