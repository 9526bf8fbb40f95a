//! What becomes of answers that are no HTTP, or not quite: a page while nothing has gone out, a cut after that,
//! and never a byte of one answer in another.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use model::backend::Backend;
use testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::grpc::visitor;
use crate::market::{HOST, Market};
use crate::raw_origin::{After, RawOrigin, head};

/// What a visitor gets over HTTP/1.1 until the connection ends.
async fn over_http1(market: &Market, request: &str) -> String {
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    // A connection that is cut ends without a farewell.
    let _ended = tokio::time::timeout(wait::LONG, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get() -> String {
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")
}

/// Status and body that a visitor gets over HTTP/2, or that the stream was reset.
async fn over_http2(market: &Market, method: &str) -> Result<(u16, Vec<u8>), h2::Error> {
    let request = Request::builder().method(method).uri(format!("https://{HOST}/")).body(()).unwrap();
    let mut ready = visitor(market).await.ready().await?;
    let mut answer = ready.send_request(request, true)?.0.await?;
    let mut body = Vec::new();
    while let Some(piece) = answer.body_mut().data().await {
        let piece: Bytes = piece?;
        answer.body_mut().flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok((answer.status().as_u16(), body))
}

/// Sends requests to `origin` from now on, without checks that would change the outcome.
fn point(market: &Market, origin: &RawOrigin) {
    market.set_site(|site| {
        site.backends = vec![Backend { url: origin.url().parse().unwrap(), weight: 1 }];
        site.settings.health_interval_ms = 600_000;
        site.settings.first_byte_timeout_ms = 3_000;
    });
}

fn market(origin: &RawOrigin) -> Market {
    let market = Market::open(&[]);
    point(&market, origin);
    market
}

fn head_with(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\nleaked").into_bytes()
}

#[tokio::test]
async fn an_answer_that_is_no_http_becomes_a_page_of_ours() {
    let many = (0..300).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    let vectors: Vec<(&str, Vec<u8>)> = vec![
        ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("nothing", Vec::new()),
        ("half a status line", b"HTTP/1.1 20".to_vec()),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-".to_vec()),
        ("HTTP/0.9", b"<html>hello</html>".to_vec()),
        ("HTTP/2", b"HTTP/2 200\r\n\r\n".to_vec()),
        ("no space", b"HTTP/1.1200 OK\r\n\r\n".to_vec()),
        ("no number", b"HTTP/1.1 2x0 OK\r\n\r\n".to_vec()),
        ("status 99", b"HTTP/1.1 99 Low\r\n\r\n".to_vec()),
        ("status 099", b"HTTP/1.1 099 Low\r\n\r\n".to_vec()),
        ("status 1000", b"HTTP/1.1 1000 High\r\n\r\n".to_vec()),
        ("status -1", b"HTTP/1.1 -1 Minus\r\n\r\n".to_vec()),
        ("a NUL in the reason", b"HTTP/1.1 200 O\0K\r\n\r\n".to_vec()),
        ("a length that is text", head_with("Content-Length: six\r\n")),
        ("a negative length", head_with("Content-Length: -6\r\n")),
        ("a length with a sign", head_with("Content-Length: +6\r\n")),
        ("a hexadecimal length", head_with("Content-Length: 0x6\r\n")),
        ("an empty length", head_with("Content-Length: \r\n")),
        ("a length beyond numbers", head_with("Content-Length: 99999999999999999999999\r\n")),
        ("two lengths", head_with("Content-Length: 6\r\nContent-Length: 7\r\n")),
        ("two lengths in a line", head_with("Content-Length: 6, 7\r\n")),
        ("an unknown coding", head_with("Transfer-Encoding: gzip\r\n")),
        ("a coding before chunked", head_with("Transfer-Encoding: gzip, chunked\r\n")),
        ("chunked twice", head_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
        ("a field without a colon", head_with("Hello\r\n")),
        ("a field without a name", head_with(": x\r\n")),
        ("a space in a name", head_with("X Y: z\r\n")),
        ("a NUL in a value", head_with("X: a\0b\r\n")),
        ("a bare CR in a value", head_with("X: a\rSet-Cookie: b=c\r\n")),
        ("300 fields", head_with(&many)),
        ("a field of 70 KB", head_with(&format!("X: {}\r\n", "y".repeat(70_000)))),
        ("a field of 2 MB", head_with(&format!("X: {}\r\n", "y".repeat(2_000_000)))),
        (
            "an upgrade that nobody asked for",
            b"HTTP/1.1 101 Hm\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nleaked".to_vec(),
        ),
        ("a hundred times 100", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
        ("a hundred times 103", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100)),
    ];
    let market = Market::open(&[]);
    for (what, bytes) in vectors {
        let origin = RawOrigin::saying(bytes, After::Close).await;
        point(&market, &origin);
        let answer = over_http1(&market, &get()).await;
        let last = answer.rsplit("HTTP/1.1 ").next().unwrap();
        assert!(last.starts_with("502 ") && last.contains("\"backend_broken\""), "{what}: {answer}");
        assert!(!answer.contains("leaked") && !answer.contains("b=c"), "{what}: {answer}");
        let (status, body) = over_http2(&market, "GET").await.unwrap();
        assert_eq!(status, 502, "{what}");
        assert!(String::from_utf8_lossy(&body).contains("\"backend_broken\""), "{what}");
        let line = market.logged(|line| line["backend"] == origin.url() && line["protocol"] == "h2").await;
        assert_eq!((line["status"].as_u64(), line["refusal"].as_str()), (Some(502), Some("backend_broken")));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_so_that_every_visitor_notices() {
    for (what, bytes) in [
        ("shorter than its length", &b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"[..]),
        ("without its last chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ("in the middle of a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"),
        (
            "a chunk without a size",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n",
        ),
        (
            "a chunk longer than its size",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalfhalf\r\n0\r\n\r\n",
        ),
        (
            "a size beyond numbers",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nfffffffffffffffff\r\n",
        ),
    ] {
        let origin = RawOrigin::saying(bytes, After::Close).await;
        let market = market(&origin);
        let answer = over_http1(&market, &get()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{what}: {answer}");
        let line = market.logged(|line| line["protocol"] == "http/1.1").await;
        assert_eq!(
            (line["status"].as_u64(), line["refusal"].as_str()),
            (Some(200), Some("backend_broken")),
            "{what}"
        );
        let reset = over_http2(&market, "GET").await.unwrap_err();
        assert!(reset.is_reset(), "{what}: {reset:?}");
    }
}

/// Asks twice over one connection of a visitor; the second answer must be the second.
async fn twice(market: &Market, origin: &RawOrigin) -> String {
    let both = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let mut text = String::new();
    for (before, request) in [both, get()].into_iter().enumerate() {
        wait::until("the backend's unasked bytes", wait::LONG, async || {
            anyhow::ensure!(origin.answers() == before);
            Ok(())
        })
        .await
        .unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    let mut rest = Vec::new();
    let _ended = stream.read_to_end(&mut rest).await;
    text + &String::from_utf8_lossy(&rest)
}

#[tokio::test]
async fn bytes_beyond_an_answer_never_become_part_of_another() {
    const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (what, bytes) in [
        ("longer than its length", format!("{WHOLE}tail")),
        ("another answer", format!("{WHOLE}{POISON}")),
        (
            "after the last chunk",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{POISON}"),
        ),
        ("after an answer without a body", format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}")),
        (
            "a body of what has none",
            format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison{POISON}"),
        ),
        (
            "both framings",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{POISON}"
            ),
        ),
    ] {
        let origin = RawOrigin::saying(bytes, After::Keep).await;
        let market = Market::open_with(&[origin.url()], |settings| settings.workers = 1);
        let text = twice(&market, &origin).await;
        assert_eq!(text.matches("HTTP/1.1 ").count(), 2, "{what}: {text}");
        assert!(!text.contains("poison") && !text.contains("tail"), "{what}: {text}");
        assert_eq!(origin.connections(), 2, "{what}: the connection is not used again");
    }
    let sound = RawOrigin::saying(WHOLE, After::Keep).await;
    let market = Market::open_with(&[sound.url()], |settings| settings.workers = 1);
    twice(&market, &sound).await;
    assert_eq!(sound.connections(), 1, "a sound one is");
}

#[tokio::test]
async fn an_answer_that_came_before_its_request_is_thrown_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let prompt = Arc::<Notify>::default();
    let prompted = Arc::clone(&prompt);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let (tell, prompted) = (tell.clone(), Arc::clone(&prompted));
            tokio::spawn(async move {
                while head(&mut tcp).await.is_some() {
                    tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                    prompted.notified().await;
                    tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").await.unwrap();
                    tell.send(()).unwrap();
                }
            });
        }
    });
    let market = Market::open_with(&[url], |settings| settings.workers = 1);
    for _ in 0..3 {
        assert_eq!(market.visitors.get(HOST, "/").send().await.unwrap().body, "ok");
        prompt.notify_one();
        told.recv().await.unwrap();
    }
}

#[tokio::test]
async fn what_belongs_to_the_backends_connection_stays_there() {
    let fields = "Content-Length: 2\r\nConnection: keep-alive, X-Internal\r\nX-Internal: secret\r\n\
        Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Own: kept\r\n\
        Set-Cookie: a=b; Domain=apps.localhost\r\nSet-Cookie: =; ;;Path=\r\nSet-Cookie: c=\"d;e\"\r\n";
    let origin = RawOrigin::saying(format!("HTTP/1.1 200 OK\r\n{fields}\r\nok"), After::Close).await;
    let market = market(&origin);
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        let answer = curl.send().await.unwrap();
        for gone in ["x-internal", "keep-alive", "proxy-authenticate", "upgrade"] {
            assert_eq!(answer.header(gone), None, "{gone}");
        }
        assert_eq!((answer.header("x-own"), answer.body.as_str()), (Some("kept"), "ok"));
        let cookies: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
        let values: Vec<_> = cookies.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["a=b", "=; ;;Path=", "c=\"d;e\""]);
    }
}

#[tokio::test]
async fn a_value_over_two_lines_becomes_one_line_and_no_second_field() {
    let fields = "X: a\r\n Set-Cookie: b=c\r\nContent-Length: 2\r\n";
    let origin = RawOrigin::saying(format!("HTTP/1.1 200 OK\r\n{fields}\r\nok"), After::Close).await;
    let market = market(&origin);
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        let answer = curl.send().await.unwrap();
        assert_eq!((answer.header("x"), answer.header("set-cookie")), (Some("a Set-Cookie: b=c"), None));
    }
}

#[tokio::test]
async fn a_web_socket_that_the_backend_does_not_open_is_not_opened() {
    for answer in [
        &b"HTTP/1.1 101 Hm\r\nConnection: upgrade\r\n\r\nraw"[..],
        b"HTTP/1.1 101 Hm\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nraw",
    ] {
        let origin = RawOrigin::saying(answer, After::Keep).await;
        let market = market(&origin);
        let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        let key = "Sec-WebSocket-Key: c3RvYSB0ZXN0IGNsaWVudA==\r\n";
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{fields}{key}\r\n");
        let answer = over_http1(&market, &request).await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && !answer.contains("raw"), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_even_if_the_backend_sends_one() {
    let origin = RawOrigin::saying("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", After::Keep).await;
    let market = market(&origin);
    let answer = over_http1(&market, &get().replace("GET", "HEAD")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("content-length: 6"), "{answer}");
    assert_eq!(over_http2(&market, "HEAD").await.unwrap(), (200, Vec::new()));
}
