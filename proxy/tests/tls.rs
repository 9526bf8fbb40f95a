//! Handshakes: which certificate, which protocol, which alert.

use model::change::ObjectId;
use rustls::{AlertDescription, NamedGroup};
use testkit::origin::Origin;
use testkit::tls::{Tls, alert};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::market::{HOST, Market};

#[tokio::test]
async fn both_protocols_and_the_hybrid_key_exchange_are_spoken() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let client = market.visitors.tls().unwrap();
    let settled = client.handshake(market.visitors.https, HOST).await.unwrap();
    assert_eq!(settled.alpn.as_deref(), Some("h2"));
    assert_eq!(settled.group, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(settled.names().unwrap(), ["*.apps.localhost"]);
    for (curl, version) in
        [(market.visitors.get(HOST, "/").http1(), "1.1"), (market.visitors.get(HOST, "/").http2(), "2")]
    {
        let answer = curl.send().await.unwrap();
        assert_eq!(
            (answer.status, answer.http_version.as_str(), answer.body.as_str()),
            (200, version, "one")
        );
    }
}

#[tokio::test]
async fn a_name_without_a_certificate_gets_a_clean_alert_and_no_certificate() {
    let market = Market::open(&[]);
    let anyone = Tls::trusting_anyone();
    for name in ["other.test", "apps.localhost", "x.hello.apps.localhost", "127.0.0.1"] {
        let error = anyone.handshake(market.visitors.https, name).await.unwrap_err();
        assert_eq!(alert(&error), Some(AlertDescription::UnrecognisedName), "{name}: {error}");
    }
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_handshakes_total{result=\"unknown_name\"} 4"), "{metrics}");
}

#[tokio::test]
async fn a_protocol_that_nobody_speaks_here_is_told_so() {
    let market = Market::open(&[]);
    let client = market.visitors.tls().unwrap().offering(&["acme-tls/1"]);
    let error = client.handshake(market.visitors.https, HOST).await.unwrap_err();
    assert_eq!(alert(&error), Some(AlertDescription::NoApplicationProtocol), "{error}");
}

#[tokio::test]
async fn old_clients_get_tls_1_2_and_nothing_older() {
    let market = Market::open(&[]);
    let curl = |flag| market.visitors.get(HOST, "/").args(["--tls-max", flag]);
    assert_eq!(curl("1.2").send().await.unwrap().status, 503);
    assert!(curl("1.1").args(["--ciphers", "ALL:@SECLEVEL=0"]).send().await.is_err());
    let line = market.logged(|line| line["tls_version"] == "TLSv1_2").await;
    assert_eq!(line["sni"], HOST);
}

#[tokio::test]
async fn a_session_is_resumed_on_any_worker() {
    let market = Market::open(&[]);
    let script = format!(
        "cd \"$(mktemp -d)\" && for turn in 1 2 3 4 5 6; do \
         test -f s && in='-sess_in s' || in=''; \
         (printf 'GET / HTTP/1.0\\r\\nHost: {HOST}\\r\\n\\r\\n'; sleep 1) | \
         openssl s_client -connect {} -servername {HOST} -sess_out s $in 2>/dev/null | grep -aE '^(New|Reused),'; done",
        market.visitors.https
    );
    let output = tokio::process::Command::new("sh").args(["-c", &script]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.matches("Reused,").count(), 5, "{text}");
}

#[tokio::test]
async fn a_certificate_is_replaced_under_traffic_without_a_failed_request() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let client = market.visitors.tls().unwrap();
    let visitor = market.visitors.visitor(HOST).unwrap();
    let load = visitor.load(4);
    let mut ids = Vec::new();
    for age in [50, 40, 30, 20, 10, 0] {
        let (id, _) = market.certify(&[HOST], age);
        ids.push(id);
    }
    let (newest, leaf) = market.certify(&[HOST], 0);
    let settled = client.handshake(market.visitors.https, HOST).await.unwrap();
    assert_eq!(settled.leaf.as_ref(), leaf);
    market.remove(ObjectId::Certificate(newest));
    ids.into_iter().for_each(|id| market.remove(ObjectId::Certificate(id)));
    let settled = client.handshake(market.visitors.https, HOST).await.unwrap();
    assert_eq!(settled.names().unwrap(), ["*.apps.localhost"]);
    load.more(20).await.unwrap();
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures);
}

#[tokio::test]
async fn a_failed_handshake_is_counted_by_its_kind() {
    let market = Market::open(&[]);
    let address = market.visitors.https;
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ended = plain.read_to_end(&mut rest).await;
    drop(TcpStream::connect(address).await.unwrap());
    let stranger = Tls::trusting(&Market::open(&[]).visitors.roots_pem().unwrap()).unwrap();
    assert!(stranger.handshake(address, HOST).await.is_err());
    let client = market.visitors.tls().unwrap();
    assert!(client.offering(&["acme-tls/9"]).handshake(address, HOST).await.is_err());
    for kind in ["not_tls", "gone", "alert_received", "incompatible"] {
        let wanted = format!("stoa_handshakes_total{{result=\"{kind}\"}} 1\n");
        testkit::wait::until(kind, testkit::wait::LONG, async || {
            let (_, metrics) = market.probe("/metrics").await;
            anyhow::ensure!(metrics.contains(&wanted), "{metrics}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

/// The fingerprint in the access log of the last request whose path is `path`.
async fn logged_ja4(market: &Market, path: &str) -> String {
    let line = market.logged(|line| line["path"] == *path).await;
    line["ja4"].as_str().unwrap().to_owned()
}

/// Asks for `path` with the command-line client of OpenSSL.
fn openssl(market: &Market, path: &str, arguments: &str) {
    let script = format!(
        "(printf 'GET {path} HTTP/1.0\\r\\nHost: {HOST}\\r\\n\\r\\n'; sleep 1) | \
         openssl s_client -connect {} -servername {HOST} {arguments} 2>/dev/null",
        market.visitors.https
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("HTTP/1.1 503"), "{output:?}");
}

#[tokio::test]
async fn the_log_tells_programs_apart_by_their_client_hello() {
    let market = Market::open(&[]);
    for path in ["/curl1", "/curl2"] {
        market.visitors.get(HOST, path).http2().send().await.unwrap();
    }
    market.visitors.get(HOST, "/curl3").args(["--tls-max", "1.2"]).send().await.unwrap();
    openssl(&market, "/openssl1", "");
    openssl(&market, "/openssl2", "");
    openssl(&market, "/openssl3", "-sigalgs ECDSA+SHA256");
    let curl = logged_ja4(&market, "/curl1").await;
    assert!(curl.starts_with("t13d") && curl.len() == 36, "{curl}");
    assert_eq!(&curl[8..10], "h2");
    assert_eq!(logged_ja4(&market, "/curl2").await, curl);
    let older = logged_ja4(&market, "/curl3").await;
    assert!(older.starts_with("t12d") && older[8..10] == *"h2", "{older}");
    let openssl = logged_ja4(&market, "/openssl1").await;
    assert!(openssl.starts_with("t13d") && openssl[8..10] == *"00", "{openssl}");
    assert_eq!(logged_ja4(&market, "/openssl2").await, openssl);
    assert_ne!(logged_ja4(&market, "/openssl3").await, openssl);
}
