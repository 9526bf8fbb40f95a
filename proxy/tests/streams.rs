//! What lasts: WebSockets and event streams outlive every limit that is meant for requests.

use std::time::Duration;

use testkit::origin::Origin;
use testkit::websocket::Socket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::market::{HOST, Market};

fn market(origin: &Origin) -> Market {
    let market = Market::open_with(&[origin.url()], |settings| {
        settings.deadlines.body = Duration::from_millis(300);
        settings.deadlines.header = Duration::from_millis(300);
    });
    market.set_site(|site| {
        site.settings.first_byte_timeout_ms = 300;
        site.settings.total_timeout_ms = 600;
    });
    market
}

#[tokio::test]
async fn a_web_socket_that_is_silent_for_longer_than_any_limit_still_echoes() {
    let origin = Origin::start("one").await.unwrap();
    let market = market(&origin);
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let mut socket = Socket::open(stream, HOST, "/ws").await.unwrap();
    for text in ["one", "two"] {
        // The silence is what is tested.
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        socket.send(text).await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), text);
    }
    drop(socket);
    let line = market.logged(|line| line["status"] == 101).await;
    assert!(line["total_ms"].as_f64().unwrap() > 2_000.0);
    assert!(line["bytes_in"].as_u64().unwrap() > 0 && line["bytes_out"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn an_event_stream_outlives_the_total_limit() {
    let origin = Origin::start("one").await.unwrap();
    let market = market(&origin);
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let request = format!("GET /sse HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("data: 15\n") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
}

#[tokio::test]
async fn a_request_that_is_no_stream_is_ended_by_the_total_limit() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    market.set_site(|site| site.settings.total_timeout_ms = 300);
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let head = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let answered = tokio::spawn(async move {
        let mut answer = Vec::new();
        // It ends without a farewell: the rest of the body is not read.
        let _ended = reader.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    });
    // A drip, so that no other limit than that of the whole ends it.
    while !answered.is_finished() && writer.write_all(b"d").await.is_ok() && writer.flush().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = answered.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}

/// What a visitor gets to these bytes over HTTP/1.1 until the connection ends.
async fn answer(market: &Market, request: &str) -> String {
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is cut ends without a farewell.
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_visitor_cannot_switch_the_first_byte_timeout_off() {
    let origin = Origin::start("one").await.unwrap();
    let market = market(&origin);
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for fields in [
        "Accept: text/event-stream\r\n".to_owned(),
        "Connection: Upgrade\r\nUpgrade: anything\r\n".to_owned(),
        socket.to_owned(),
        format!("{socket}Sec-WebSocket-Key: c3RvYSB0ZXN0IGNsaWVudA==\r\n"),
    ] {
        let request = format!("GET /slow/60000 HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n");
        let answer = answer(&market, &request).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{fields}{answer}");
    }
}

/// A backend that answers with these bytes and then neither speaks nor closes.
async fn silent(answer: &'static str) -> Market {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let market = Market::open(&[format!("http://{}", listener.local_addr().unwrap())]);
    market.set_site(|site| {
        site.settings.first_byte_timeout_ms = 300;
        site.settings.total_timeout_ms = 900;
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _count = stream.read(&mut request).await;
                let _sent = stream.write_all(answer.as_bytes()).await;
                while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    market
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_is_cut_and_never_looks_whole() {
    for head in ["", "Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let answer_head = format!("HTTP/1.1 200 OK\r\n{head}\r\n4\r\nhalf\r\n");
        let market = silent(answer_head.leak()).await;
        let answer = answer(&market, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("half"), "{head}{answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{head}{answer}");
        let line = market.logged(|line| line["status"] == 200).await;
        assert_eq!(line["refusal"], "backend_timeout", "{head}");
    }
}

#[tokio::test]
async fn an_event_stream_may_be_silent_though_nobody_asked_for_one() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n";
    let market = silent(head).await;
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    stream
        .write_all(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    while !text.contains(": hello") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    // The silence is what is tested: longer than every limit of a request.
    let mut rest = [0; 64];
    let read = stream.read(&mut rest);
    assert!(tokio::time::timeout(Duration::from_millis(1_500), read).await.is_err());
}

#[tokio::test]
async fn a_visitor_who_sends_slowly_is_no_failure_of_the_backend() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    market.set_site(|site| {
        site.settings.first_byte_timeout_ms = 100;
        site.settings.total_timeout_ms = 600;
    });
    let head = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\nbegun");
    for _ in 0..4 {
        let answer = answer(&market, &head).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    }
    let whole = market.visitors.get(HOST, "/").send().await.unwrap();
    assert_eq!((whole.status, whole.body.as_str()), (200, "one"));
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_backends{state=\"down\"} 0"), "{metrics}");
}
