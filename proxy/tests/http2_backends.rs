//! Apps whose backends speak HTTP/2.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use testkit::authority::Authority;
use testkit::origin::Origin;
use testkit::wait;
use testkit::websocket::Socket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::h2_origin::{H2Origin, acceptor};
use crate::market::{HOST, Market};

/// An edge that trusts `authority`.
pub(crate) fn trusting(authority: &Authority, urls: &[String]) -> Market {
    let mut pem = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut pem, authority.pem().as_bytes()).unwrap();
    Market::open_with(urls, |settings| settings.backend_ca_file = Some(pem.path().to_owned()))
}

/// TLS in front of `inner`, taking the protocols `alpn`; its URL.
pub(crate) async fn in_front_of(inner: std::net::SocketAddr, authority: &Authority, alpn: &[&str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let tls = acceptor(authority.issue(&["127.0.0.1", "backend.internal"]).unwrap(), alpn);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                let Ok(mut outer) = tls.accept(tcp).await else { return };
                let Ok(mut inner) = TcpStream::connect(inner).await else { return };
                let _ended = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn a_backend_gets_http2_where_its_url_or_the_app_says_so() {
    let (authority, clear) = (Authority::new().unwrap(), H2Origin::clear().await);
    let secure = H2Origin::tls(&authority).await;
    let market = trusting(&authority, &[clear.h2c()]);
    let urls = [clear.h2c(), secure.https(), format!("http://{}", clear.address)];
    for (url, scheme) in urls.iter().zip(["http", "https", "http"]) {
        market.set_site(|site| {
            site.backends[0].url = url.parse().unwrap();
            if url.starts_with("http://") {
                site.settings.protocol = model::backend::Protocol::Http2;
            }
        });
        let body = "x".repeat(100_000);
        for curl in [market.visitors.get(HOST, "/echo").http1(), market.visitors.get(HOST, "/echo").http2()] {
            let answer = curl.header("Expect:").body(&body).send().await.unwrap();
            // curl prints the trailers after the body.
            assert_eq!(answer.status, 200);
            assert!(answer.body.starts_with(&body) && answer.body.len() < body.len() + 50, "{url}");
            assert_eq!(answer.header("x-scheme"), Some(scheme), "{url}");
            assert_eq!(answer.header("x-te"), Some("none"), "{url}");
        }
    }
}

#[tokio::test]
async fn an_https_backend_that_speaks_http1_only_is_spoken_to_in_it() {
    let (authority, origin) = (Authority::new().unwrap(), Origin::start("one").await.unwrap());
    for alpn in [&["http/1.1"][..], &[]] {
        let market = trusting(&authority, &[in_front_of(origin.address(), &authority, alpn).await]);
        assert_eq!(market.visitors.get(HOST, "/").send().await.unwrap().body, "one", "{alpn:?}");
    }
}

#[tokio::test]
async fn a_web_socket_reaches_an_https_backend_that_would_rather_speak_http2() {
    let (authority, origin) = (Authority::new().unwrap(), Origin::start("one").await.unwrap());
    let market =
        trusting(&authority, &[in_front_of(origin.address(), &authority, &["h2", "http/1.1"]).await]);
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let mut socket = Socket::open(stream, HOST, "/ws").await.unwrap();
    socket.send("hello").await.unwrap();
    assert_eq!(socket.receive().await.unwrap(), "hello");
}

#[tokio::test]
async fn a_request_that_is_given_up_takes_no_other_with_it() {
    let (authority, clear) = (Authority::new().unwrap(), H2Origin::clear().await);
    let secure = H2Origin::tls(&authority).await;
    for url in [clear.h2c(), secure.https()] {
        let market = trusting(&authority, std::slice::from_ref(&url));
        market.set_site(|site| site.settings.first_byte_timeout_ms = 200);
        let silent = async { market.visitors.get(HOST, "/silent").http2().send().await.unwrap() };
        let other = async { market.visitors.get(HOST, "/drip").http2().send().await.unwrap() };
        let (silent, other) = tokio::join!(silent, other);
        assert_eq!((silent.status, silent.json().unwrap()["code"].as_str()), (504, Some("backend_timeout")));
        assert_eq!((other.status, other.body.as_str()), (200, "xxxxxxxxxx"), "{url}");
        assert_eq!(market.visitors.get(HOST, "/").send().await.unwrap().status, 200, "{url}");
    }
}

#[tokio::test]
async fn an_https_backend_that_is_silent_is_given_up_in_time() {
    let (authority, origin) = (Authority::new().unwrap(), Origin::start("one").await.unwrap());
    let market = trusting(&authority, &[in_front_of(origin.address(), &authority, &["http/1.1"]).await]);
    market.set_site(|site| site.settings.first_byte_timeout_ms = 200);
    for _ in 0..2 {
        let answer = market.visitors.get(HOST, "/slow/60000").send().await.unwrap();
        assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (504, Some("backend_timeout")));
        assert_eq!(market.visitors.get(HOST, "/slow/1").send().await.unwrap().body, "one");
    }
}

#[tokio::test]
async fn an_event_stream_over_http2_may_be_silent_for_longer_than_any_request() {
    let origin = H2Origin::clear().await;
    let market = Market::open(&[origin.h2c()]);
    market.set_site(|site| {
        site.settings.first_byte_timeout_ms = 200;
        site.settings.total_timeout_ms = 400;
    });
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    stream.write_all(format!("GET /sse HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("data: 1") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "it ended: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    let mut rest = [0; 64];
    assert!(tokio::time::timeout(Duration::from_millis(900), stream.read(&mut rest)).await.is_err());
}

#[tokio::test]
async fn a_request_that_the_backend_did_not_look_at_is_sent_again_with_its_body() {
    let origin = H2Origin::clear().await;
    let market = Market::open(&[origin.h2c()]);
    let answer = market.visitors.get(HOST, "/refuse").header("Expect:").body("a body").send().await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(origin.seen.requests.load(Relaxed), 2);
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_backends{state=\"down\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_health_check_speaks_http2_where_requests_do() {
    let (authority, clear) = (Authority::new().unwrap(), H2Origin::clear().await);
    let secure = H2Origin::tls(&authority).await;
    for (origin, url) in [(&clear, clear.h2c()), (&secure, secure.https())] {
        let market = trusting(&authority, &[url]);
        market.set_site(|site| {
            site.settings.health_path = Some("/health".to_owned());
            site.settings.health_interval_ms = 200;
        });
        let before = origin.seen.requests.load(Relaxed);
        market.visitors.get(HOST, "/").send().await.unwrap();
        wait::until("three checks", wait::LONG, async || {
            anyhow::ensure!(origin.seen.requests.load(Relaxed) > before + 3);
            Ok(())
        })
        .await
        .unwrap();
        let (_, metrics) = market.probe("/metrics").await;
        assert!(metrics.contains("stoa_backends{state=\"up\"} 1"), "{metrics}");
    }
}
