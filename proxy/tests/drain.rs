//! The end of an edge: what runs ends well, and nothing that was counted is lost.

use std::time::Duration;

use testkit::origin::Origin;
use testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::market::{HOST, Market};

#[tokio::test]
async fn a_request_under_way_ends_well_and_is_metered() {
    let origin = Origin::start("one").await.unwrap();
    let mut market = Market::open(&[origin.url()]);
    let slow = market.visitors.get(HOST, "/slow/1500").http1();
    let under_way = tokio::spawn(slow.send());
    wait::until("the request at the app", wait::LONG, async || {
        anyhow::ensure!(origin.requests() > 0);
        Ok(())
    })
    .await
    .unwrap();
    let metrics = market.running.as_ref().unwrap().metrics_address().unwrap();
    let draining = tokio::spawn(market.running.take().unwrap().drain());
    wait::until("503 from /readyz", wait::LONG, async || {
        let answer = testkit::curl::Curl::get(format!("http://{metrics}/readyz")).send().await?;
        anyhow::ensure!(answer.status == 503);
        Ok(())
    })
    .await
    .unwrap();
    let answer = under_way.await.unwrap().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "one"));
    assert_eq!(answer.header("connection"), Some("close"));
    draining.await.unwrap();
    assert!(TcpStream::connect(market.visitors.https).await.is_err());
    assert_eq!(market.rows.all().iter().map(|row| row.counters.requests).sum::<u64>(), 1);
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_end_up() {
    let origin = Origin::start("one").await.unwrap();
    let mut market = Market::open(&[origin.url()]);
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"one") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
    let drained = tokio::time::timeout(Duration::from_secs(10), market.running.take().unwrap().drain()).await;
    assert!(drained.is_ok());
}

#[tokio::test]
async fn what_does_not_end_is_cut_at_the_limit() {
    let origin = Origin::start("one").await.unwrap();
    let mut market =
        Market::open_with(&[origin.url()], |settings| settings.drain_limit = Duration::from_secs(1));
    let under_way = tokio::spawn(market.visitors.get(HOST, "/slow/20000").send());
    wait::until("the request at the app", wait::LONG, async || {
        anyhow::ensure!(origin.requests() > 0);
        Ok(())
    })
    .await
    .unwrap();
    let drained = tokio::time::timeout(Duration::from_secs(10), market.running.take().unwrap().drain()).await;
    assert!(drained.is_ok());
    assert!(under_way.await.unwrap().is_err());
}

/// A connection that has had one answer and is idle.
async fn idle(market: &Market) -> TlsStream<TcpStream> {
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    assert_eq!(ask(&mut stream).await.matches("close").count(), 0);
    stream
}

/// One request and the whole answer.
async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"one") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap().to_lowercase()
}

#[tokio::test]
async fn a_silent_visitor_gets_one_more_answer_after_the_hand_over() {
    let origin = Origin::start("one").await.unwrap();
    let mut market = Market::open(&[origin.url()]);
    let mut kept = idle(&market).await;
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut silent = client.connect(market.visitors.https, HOST).await.unwrap();
    let https = market.visitors.https;
    let ending = tokio::spawn(market.running.take().unwrap().hand_over(std::future::pending()));
    wait::until("the listener's end", wait::LONG, async || {
        anyhow::ensure!(TcpStream::connect(https).await.is_err());
        Ok(())
    })
    .await
    .unwrap();
    for stream in [&mut kept, &mut silent] {
        assert!(ask(stream).await.contains("connection: close"));
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
    tokio::time::timeout(wait::LONG, ending).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_visitor_who_stays_silent_is_cut_at_half_of_the_limit_or_when_there_is_hurry() {
    let origin = Origin::start("one").await.unwrap();
    for hurry in [false, true] {
        let limit = if hurry { 3600 } else { 1 };
        let mut market =
            Market::open_with(&[origin.url()], |settings| settings.drain_limit = Duration::from_secs(limit));
        let mut kept = idle(&market).await;
        let (now, asked) = tokio::sync::oneshot::channel::<()>();
        let ending = market.running.take().unwrap().hand_over(async { drop(asked.await) });
        let ending = tokio::spawn(ending);
        if hurry {
            now.send(()).unwrap();
            assert_eq!(kept.read(&mut [0]).await.unwrap_or(0), 0);
        } else {
            assert_eq!(kept.read(&mut [0]).await.unwrap_or(0), 0);
            drop(now);
        }
        tokio::time::timeout(wait::LONG, ending).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn another_edge_takes_the_sockets_with_who_waits_in_them() {
    let origin = Origin::start("one").await.unwrap();
    let mut first = Market::open(&[origin.url()]);
    let running = first.running.take().unwrap();
    let sockets = running.sockets().unwrap();
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["http", "https", "metrics"]);
    let (https, metrics) = (first.visitors.https, running.metrics_address().unwrap());
    running.hand_over(std::future::ready(())).await;
    // Nobody accepts, and nobody is turned away.
    let waiting = TcpStream::connect(https).await.unwrap();
    let mut given = sockets.into_iter().map(|(_, socket)| socket).collect();
    let second = Market::open_on(&[origin.url()], &mut given, |settings| {
        settings.https = vec![https];
        settings.metrics = Some(metrics);
    });
    assert_eq!(given.len(), 1, "the http socket is not in its settings");
    let mut kept = idle(&second).await;
    assert!(!ask(&mut kept).await.is_empty());
    drop(waiting);
}
