//! The end of an edge: what runs ends well, and nothing that was counted is lost.

use std::time::Duration;

use testkit::origin::Origin;
use testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

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
