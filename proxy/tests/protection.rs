//! Visitors who are slow on purpose, and visitors who are too many.

use std::time::Duration;

use testkit::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::market::{HOST, Market};

/// Sends a byte every 50 ms until the other side ends it; the time that took.
async fn drip(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> Duration {
    let started = Instant::now();
    let mut answer = [0; 1];
    while started.elapsed() < Duration::from_secs(10) {
        if stream.write_all(b"x").await.is_err() || stream.flush().await.is_err() {
            break;
        }
        let ended = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut answer)).await;
        if ended.is_ok() {
            break;
        }
    }
    started.elapsed()
}

#[tokio::test]
async fn a_header_section_that_drips_is_ended_in_the_clear_and_over_tls() {
    let market = Market::open(&[]);
    let mut clear = TcpStream::connect(market.visitors.http).await.unwrap();
    clear.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    assert!(drip(clear).await < Duration::from_secs(8));
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut secure = client.connect(market.visitors.https, HOST).await.unwrap();
    secure.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    assert!(drip(secure).await < Duration::from_secs(8));
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_connections_cut_total{reason=\"header\"} 2"), "{metrics}");
    assert!(metrics.contains("stoa_refusals_total{code=\"request_timeout\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_second_header_section_has_the_same_deadline() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"one") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    assert!(drip(stream).await < Duration::from_secs(8));
}

#[tokio::test]
async fn an_idle_http_2_connection_is_closed() {
    let market = Market::open_with(&[], |settings| {
        settings.deadlines.idle = Duration::from_secs(1);
        settings.deadlines.header = Duration::from_secs(60);
    });
    let client = market.visitors.tls().unwrap().offering(&["h2"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn a_connection_too_many_is_dropped_and_the_others_go_on() {
    let market = Market::open_with(&[], |settings| settings.max_connections = 2);
    let held = [
        TcpStream::connect(market.visitors.http).await.unwrap(),
        TcpStream::connect(market.visitors.http).await.unwrap(),
    ];
    testkit::wait::until("two connections", testkit::wait::LONG, async || {
        anyhow::ensure!(market.probe("/metrics").await.1.contains("\nstoa_connections 2"));
        Ok(())
    })
    .await
    .unwrap();
    // It is reset at once, which may even be before the system says that it came about.
    let mut rest = Vec::new();
    if let Ok(mut third) = TcpStream::connect(market.visitors.http).await {
        let _ended = third.read_to_end(&mut rest).await;
    }
    assert!(rest.is_empty());
    assert!(
        market.probe("/metrics").await.1.contains("stoa_connections_refused_total{reason=\"connections\"} 1")
    );
    drop(held);
}

/// Whether the edge ends this connection, and not the visitor, within a time that no test needs.
async fn is_ended(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn a_client_hello_that_drips_or_never_begins_is_ended() {
    let market = Market::open_with(&[], |settings| {
        settings.deadlines.client_hello = Duration::from_millis(500);
        settings.deadlines.handshake = Duration::from_secs(60);
    });
    let address = market.visitors.https;
    assert!(is_ended(TcpStream::connect(address).await.unwrap()).await);
    let mut drop_by_drop = TcpStream::connect(address).await.unwrap();
    // A record of 512 bytes that begins a ClientHello of 508.
    drop_by_drop.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await.unwrap();
    assert!(drip(drop_by_drop).await < Duration::from_secs(8));
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_handshakes_total{result=\"hello_timed_out\"} 2"), "{metrics}");
}

#[tokio::test]
async fn one_address_that_opens_many_connections_leaves_the_others_served() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open_with(&[origin.url()], |settings| settings.max_connections_per_address = 4);
    let mut held = Vec::new();
    for _ in 0..20 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
        // One that is reset at once may not even have come about.
        held.extend(socket.connect(market.visitors.https).await.ok());
    }
    testkit::wait::until("16 refusals", testkit::wait::LONG, async || {
        let (_, metrics) = market.probe("/metrics").await;
        let wanted = "stoa_connections_refused_total{reason=\"address\"} 16";
        anyhow::ensure!(metrics.contains(wanted), "{metrics}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(market.visitors.get(HOST, "/").send().await.unwrap().body, "one");
    drop(held);
    testkit::wait::until("a place for the same address", testkit::wait::LONG, async || {
        let curl = market.visitors.get(HOST, "/").args(["--interface", "127.0.0.66"]);
        anyhow::ensure!(curl.send().await?.status == 200);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_handshake_too_many_is_reset_before_it_costs_anything() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open_with(&[origin.url()], |settings| settings.max_handshakes = 0);
    assert!(market.visitors.tls().unwrap().handshake(market.visitors.https, HOST).await.is_err());
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_connections_refused_total{reason=\"handshakes\"} 1"), "{metrics}");
    assert!(!metrics.contains("stoa_handshakes_total{"), "{metrics}");
}

#[tokio::test]
async fn a_client_hello_without_end_is_cut_off() {
    let market = Market::open(&[]);
    let mut stream = TcpStream::connect(market.visitors.https).await.unwrap();
    // A ClientHello of 16 MiB, in full records of zeros.
    let mut record = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff, 3, 3];
    record.resize(5 + (16 << 10), 0);
    stream.write_all(&record).await.unwrap();
    record[5..11].fill(0);
    for _ in 0..64 {
        if stream.write_all(&record).await.is_err() {
            break;
        }
    }
    assert!(is_ended(stream).await);
    testkit::wait::until("a failure", testkit::wait::LONG, async || {
        let (_, metrics) = market.probe("/metrics").await;
        anyhow::ensure!(metrics.contains("stoa_handshakes_total{result=\"failed\"} 1"), "{metrics}");
        Ok(())
    })
    .await
    .unwrap();
}
