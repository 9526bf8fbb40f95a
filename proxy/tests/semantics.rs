//! HTTP as it should pass (RFC 9110, RFC 9112), over HTTP/1.1 and HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use testkit::origin::Origin;
use testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::grpc::visitor;
use crate::market::{HOST, Market};
use crate::raw_origin::{After, RawOrigin, head};

async fn connected(market: &Market) -> TlsStream<TcpStream> {
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    client.connect(market.visitors.https, HOST).await.unwrap()
}

async fn say(stream: &mut TlsStream<TcpStream>, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads on until `wanted` is there.
async fn hear(stream: &mut TlsStream<TcpStream>, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let mut piece = [0; 4096];
        let read = tokio::time::timeout(wait::LONG, stream.read(&mut piece));
        let count = read.await.map_err(|_| format!("no `{wanted}` in `{text}`")).unwrap().unwrap();
        assert!(count > 0, "no `{wanted}` in `{text}`");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    text
}

#[tokio::test]
async fn a_visitor_who_waits_for_100_gets_it_whatever_the_backend_says() {
    for own in ["", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let origin =
            RawOrigin::saying(format!("{own}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), After::Close)
                .await;
        let market = Market::open(&[origin.url()]);
        let mut stream = connected(&market).await;
        say(
            &mut stream,
            &format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n"),
        )
        .await;
        let first = hear(&mut stream, "\r\n\r\n").await;
        assert!(first.starts_with("HTTP/1.1 100 Continue\r\n"), "{first}");
        say(&mut stream, "body").await;
        hear(&mut stream, "\r\n\r\nok").await;
        assert!(!origin.heads()[0].to_ascii_lowercase().contains("expect:"), "{:?}", origin.heads());
    }
}

#[tokio::test]
async fn a_visitor_who_is_refused_is_not_asked_for_the_body() {
    let market = Market::open(&[]);
    market.set_tenant(|tenant| tenant.standing = model::tenant::Standing::Suspended);
    let mut stream = connected(&market).await;
    say(
        &mut stream,
        &format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"),
    )
    .await;
    let answer = hear(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn early_hints_reach_http1_visitors_with_their_links_and_nothing_else() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nSet-Cookie: a=b\r\nX-Stoa-Tenant: t\r\n\r\n";
    let origin =
        RawOrigin::saying(format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), After::Close)
            .await;
    let market = Market::open(&[origin.url()]);
    let mut stream = connected(&market).await;
    say(&mut stream, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let text = hear(&mut stream, "\r\n\r\nok").await;
    let (hint, rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(hint.starts_with("HTTP/1.1 103 ") && rest.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(hint.to_ascii_lowercase().contains("link: </a.css>; rel=preload"), "{text}");
    assert!(!hint.to_ascii_lowercase().contains("cookie") && !hint.contains("tenant"), "{text}");
    // pingora 0.9.1 leaves them out over HTTP/2.
    assert_eq!(market.visitors.get(HOST, "/").http2().send().await.unwrap().body, "ok");
    let mut stream = connected(&market).await;
    say(&mut stream, &format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    let text = hear(&mut stream, "ok").await;
    assert!(!text.contains(" 103 "), "HTTP/1.0 knows no such thing: {text}");
}

/// A backend that sends one event for each line it is told.
async fn events() -> (String, tokio::sync::mpsc::UnboundedSender<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    tokio::spawn(async move {
        // What ends before a head is a health check.
        while let Ok((mut tcp, _)) = listener.accept().await {
            if head(&mut tcp).await.is_none() {
                continue;
            }
            tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.unwrap();
            while let Some(event) = told.recv().await {
                if event == "end" {
                    break;
                }
                tcp.write_all(event.as_bytes()).await.unwrap();
            }
        }
    });
    (url, tell)
}

#[tokio::test]
async fn each_event_arrives_before_the_next_is_sent() {
    let (url, tell) = events().await;
    let market = Market::open(&[url]);
    let mut stream = connected(&market).await;
    say(&mut stream, &format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        tell.send(event).unwrap();
        hear(&mut stream, event).await;
    }
    tell.send("end").unwrap();
    let request = Request::get(format!("https://{HOST}/")).body(()).unwrap();
    let mut ready = visitor(&market).await.ready().await.unwrap();
    let mut answer = ready.send_request(request, true).unwrap().0.await.unwrap();
    for event in ["data: 4\n\n", "data: 5\n\n"] {
        tell.send(event).unwrap();
        let piece =
            tokio::time::timeout(wait::LONG, answer.body_mut().data()).await.unwrap().unwrap().unwrap();
        assert_eq!(piece, event);
    }
}

#[tokio::test]
async fn a_body_reaches_the_backend_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let market = Market::open(&[format!("http://{}", listener.local_addr().unwrap())]);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut piece = [0; 1024];
                while let Ok(count) = tcp.read(&mut piece).await {
                    if count == 0 || tell.send(String::from_utf8_lossy(&piece[..count]).into_owned()).is_err()
                    {
                        break;
                    }
                }
            });
        }
    });
    let mut arrived = async |wanted: &str| {
        let mut text = String::new();
        while !text.contains(wanted) {
            text += &tokio::time::timeout(wait::LONG, told.recv()).await.unwrap().unwrap();
        }
    };
    let mut stream = connected(&market).await;
    say(
        &mut stream,
        &format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"),
    )
    .await;
    arrived("first").await;
    say(&mut stream, "6\r\nsecond\r\n0\r\n\r\n").await;
    arrived("second").await;
    let request = Request::post(format!("https://{HOST}/")).body(()).unwrap();
    let mut ready = visitor(&market).await.ready().await.unwrap();
    let (_answer, mut body) = ready.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"third"), false).unwrap();
    arrived("third").await;
}

#[tokio::test]
async fn a_body_that_the_backend_does_not_take_is_not_held_for_it() {
    const MOST: usize = 100 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let market = Market::open(&[format!("http://{}", listener.local_addr().unwrap())]);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut tcp, _)) = listener.accept().await {
            if head(&mut tcp).await.is_some() {
                held.push(tcp);
            }
        }
    });
    let mut stream = connected(&market).await;
    say(&mut stream, &format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {MOST}\r\n\r\n")).await;
    let (piece, mut sent) = (vec![b'x'; 1 << 20], 0);
    // It stalls when the buffers of three sockets are full.
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(500), stream.write_all(&piece)).await {
        written.unwrap();
        sent += piece.len();
        assert!(sent < MOST / 2, "half of it went somewhere");
    }
}

#[tokio::test]
async fn answers_without_a_length_and_of_http_1_0_reach_every_visitor_whole() {
    for head in
        ["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"]
    {
        let origin = RawOrigin::saying(format!("{head}all of it"), After::Close).await;
        let market = Market::open(&[origin.url()]);
        for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
            assert_eq!(curl.send().await.unwrap().body, "all of it", "{head}");
        }
        let mut stream = connected(&market).await;
        say(&mut stream, &format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
        let mut text = String::new();
        let _ended = stream.read_to_string(&mut text).await;
        assert!(
            text.ends_with("\r\n\r\nall of it") && !text.to_ascii_lowercase().contains("chunked"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn answers_without_a_body_are_framed_as_such() {
    for (head, length) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", None),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Some("9")),
    ] {
        let origin = RawOrigin::saying(head, After::Keep).await;
        let market = Market::open_with(&[origin.url()], |settings| settings.workers = 1);
        for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
            let answer = curl.send().await.unwrap();
            assert_eq!((answer.body.as_str(), answer.header("transfer-encoding")), ("", None), "{head}");
            assert_eq!(answer.header("content-length"), length, "{head}");
        }
        assert_eq!(origin.connections(), 1, "{head}");
    }
}

#[tokio::test]
async fn a_range_is_the_apps_to_answer() {
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-3/9\r\nContent-Length: 2\r\n\r\nll";
    let origin = RawOrigin::saying(part, After::Keep).await;
    let market = Market::open(&[origin.url()]);
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        let answer = curl.header("Range: bytes=2-3").send().await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (206, "ll"));
        assert_eq!(answer.header("content-range"), Some("bytes 2-3/9"));
    }
    let heads = origin.heads();
    assert!(heads.iter().all(|head| head.to_ascii_lowercase().contains("range: bytes=2-3")), "{heads:?}");
}

#[tokio::test]
async fn a_web_socket_over_http2_is_not_offered() {
    // RFC 8441 §3: a server that takes extended CONNECT says so in its settings, and this one does not.
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let mut ready = visitor(&market).await.ready().await.unwrap();
    let request = Request::get(format!("https://{HOST}/")).body(()).unwrap();
    ready.send_request(request, true).unwrap().0.await.unwrap();
    assert!(!ready.is_extended_connect_protocol_enabled());
}
