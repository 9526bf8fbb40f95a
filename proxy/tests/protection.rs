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
    assert!(metrics.contains("stoa_connections_cut_total 2"), "{metrics}");
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
    let mut third = TcpStream::connect(market.visitors.http).await.unwrap();
    let mut rest = Vec::new();
    let count = third.read_to_end(&mut rest).await.unwrap_or(0);
    assert_eq!(count, 0);
    assert!(market.probe("/metrics").await.1.contains("stoa_connections_over_cap_total 1"));
    drop(held);
}
