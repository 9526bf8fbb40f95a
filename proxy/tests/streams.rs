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
    while !answered.is_finished() && writer.write_all(b"d").await.is_ok() && writer.flush().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = answered.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
}
