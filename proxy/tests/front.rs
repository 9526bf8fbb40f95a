//! What stands in front of the edge: senders of PROXY headers, proxies that are trusted, and those that are not.

use std::net::SocketAddr;
use std::time::Duration;

use model::net::Networks;
use serde_json::Value;
use testkit::curl::Curl;
use testkit::haproxy::Haproxy;
use testkit::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::market::{HOST, Market};

const LINE: &str = "PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n";

fn networks(texts: &[&str]) -> Networks {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A market whose loopback is one of senders of PROXY headers.
fn announced(origin: &Origin) -> Market {
    Market::open_with(&[origin.url()], |settings| {
        settings.proxy_protocol = networks(&["127.0.0.0/8"]);
        settings.deadlines.proxy_header = Duration::from_millis(500);
    })
}

/// What comes back in the clear to these bytes until the connection ends.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset has no farewell.
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn count(market: &Market, metric: &str) -> u64 {
    let (_, text) = market.probe("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn haproxy_tells_of_both_listeners_in_both_versions_whom_a_connection_is_from() {
    let origin = Origin::start("one").await.unwrap();
    let market = announced(&origin);
    let (http, https) = (market.visitors.http, market.visitors.https);
    let backends = [
        (http, "send-proxy"),
        (http, "send-proxy-v2 proxy-v2-options crc32c,unique-id check"),
        (https, "send-proxy check"),
        (https, "send-proxy-v2 proxy-v2-options crc32c,ssl,cert-cn"),
        (https, "send-proxy-v2-ssl-cn check-send-proxy check"),
    ];
    let balancer = Haproxy::start(&backends).await.unwrap();
    for (address, (backend, words)) in balancer.addresses().into_iter().zip(backends) {
        let scheme = if backend == https { "https" } else { "http" };
        // From another address of loopback than HAProxy's own, so that the two can be told apart.
        let curl = Curl::get(format!("{scheme}://{HOST}:{}/echo", address.port()));
        let curl = curl.args(["--interface", "127.0.0.9"]).cacert(&market.visitors.roots);
        let answer = curl.send().await.unwrap();
        assert_eq!(answer.status, if backend == https { 200 } else { 308 }, "{words}");
        if backend == https {
            assert_eq!(answer.json().unwrap()["headers"]["x-forwarded-for"], "127.0.0.9", "{words}");
        }
        let id = answer.header("x-request-id").unwrap().to_owned();
        let line = market.logged(|line| line["request_id"] == *id).await;
        assert_eq!((&line["client"], &line["peer"]), (&"127.0.0.9".into(), &"127.0.0.1".into()), "{words}");
    }
    assert_eq!(count(&market, "stoa_connections_refused_total{reason=\"proxy_header\"}").await, 0);
}

#[tokio::test]
async fn from_a_listed_sender_the_header_is_required() {
    let origin = Origin::start("one").await.unwrap();
    let market = announced(&origin);
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let http = market.visitors.http;
    assert!(answer(http, format!("{LINE}{request}").as_bytes()).await.starts_with("HTTP/1.1 308 "));
    assert!(
        answer(http, format!("PROXY UNKNOWN\r\n{request}").as_bytes()).await.starts_with("HTTP/1.1 308 ")
    );
    assert_eq!(answer(http, request.as_bytes()).await, "");
    assert_eq!(answer(http, b"PROXY TCP4 nobody\r\n").await, "");
    // Neither in time nor at all: half a header, and silence.
    assert_eq!(answer(http, b"PROXY TCP4 198").await, "");
    assert_eq!(answer(market.visitors.https, b"").await, "");
    assert!(market.visitors.tls().unwrap().handshake(market.visitors.https, HOST).await.is_err());
    assert_eq!(count(&market, "stoa_connections_refused_total{reason=\"proxy_header\"}").await, 3);
    assert_eq!(count(&market, "stoa_connections_refused_total{reason=\"proxy_header_late\"}").await, 2);
}

#[tokio::test]
async fn from_anybody_else_the_header_is_never_read() {
    let market = Market::open_with(&[], |settings| settings.proxy_protocol = networks(&["192.0.2.0/24"]));
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let text = answer(market.visitors.http, format!("{LINE}{request}").as_bytes()).await;
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{text}");
    answer(market.visitors.https, LINE.as_bytes()).await;
    assert_eq!(count(&market, "stoa_handshakes_total{result=\"not_tls\"}").await, 1);
    let answer = market.visitors.get_cleartext(HOST, "/").send().await.unwrap();
    let id = answer.header("x-request-id").unwrap().to_owned();
    let line = market.logged(|line| line["request_id"] == *id).await;
    assert_eq!((&line["client"], line.get("peer")), (&"127.0.0.1".into(), None));
}

/// What the app saw of a request in the clear with these fields, and the line in the log.
async fn seen(market: &Market, fields: &[&str]) -> (u16, Option<Value>, Value) {
    let curl = market.visitors.get_cleartext(HOST, "/echo");
    let answer = fields.iter().fold(curl, |curl, field| curl.header(field)).send().await.unwrap();
    let id = answer.header("x-request-id").unwrap().to_owned();
    let line = market.logged(|line| line["request_id"] == *id).await;
    (answer.status, answer.json().ok(), line)
}

#[tokio::test]
async fn behind_a_trusted_balancer_that_ends_tls_the_app_is_served_as_over_https() {
    let origin = Origin::start("one").await.unwrap();
    let trusted = networks(&["127.0.0.1", "10.0.0.0/8"]);
    let market = Market::open_with(&[origin.url()], |settings| settings.trusted_proxies = trusted);
    let list = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.1.1";
    let (status, seen_by_app, line) = seen(&market, &[list, "X-Forwarded-Proto: https"]).await;
    assert_eq!((status, &line["client"], &line["peer"]), (200, &"203.0.113.9".into(), &"127.0.0.1".into()));
    assert_eq!(line["scheme"], "https");
    let headers = seen_by_app.unwrap()["headers"].clone();
    assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
    assert_eq!(headers["x-forwarded-proto"], "https");
    let (status, _, line) = seen(&market, &[list]).await;
    assert_eq!((status, &line["client"], &line["scheme"]), (308, &"203.0.113.9".into(), &"http".into()));
}

#[tokio::test]
async fn nobody_who_is_not_trusted_can_claim_an_address_or_https() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let (status, _, line) =
        seen(&market, &["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"]).await;
    assert_eq!((status, &line["client"], line.get("peer")), (308, &"127.0.0.1".into(), None));
}
