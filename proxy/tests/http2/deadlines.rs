//! Visitors who are slow on purpose over HTTP/2: each is ended by its deadline, and only what is slow.

use std::time::Duration;

use testkit::http2::{self, Client, flag, kind};
use testkit::origin::Origin;
use tokio::time::Instant;

use crate::market::{HOST, Market};

/// Longer than any end here takes on a loaded machine, and shorter than the defaults.
const SOON: Duration = Duration::from_secs(8);

/// An edge whose limits are short, and its honest visitors, who must not notice anything.
async fn short(body: u64, idle: u64) -> (Origin, Market) {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open_with(&[origin.url()], |settings| {
        settings.deadlines.body = Duration::from_millis(body);
        settings.deadlines.idle = Duration::from_millis(idle);
        settings.deadlines.header = Duration::from_millis(700);
    });
    (origin, market)
}

/// The honest visitors.
fn load(market: &Market) -> testkit::load::Load {
    market.visitors.visitor(HOST).unwrap().load(1)
}

async fn check(load: testkit::load::Load) {
    load.more(3).await.unwrap();
    assert_eq!(load.stop().await.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_header_block_that_does_not_end() {
    let (_origin, market) = short(60_000, 60_000).await;
    let load = load(&market);
    let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
    let begun = http2::frame(kind::HEADERS, flag::END_STREAM, 1, &http2::request("GET", HOST, "/", &[]));
    client.send(&begun).await.unwrap();
    let started = Instant::now();
    let farewell = client.farewell().await.unwrap().unwrap();
    assert!(started.elapsed() < SOON);
    assert_eq!(farewell.debug(), "header_overdue");
    // Half a frame is no better.
    let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
    client.send(&http2::get(1, HOST, "/")[..20]).await.unwrap();
    assert_eq!(client.farewell().await.unwrap().unwrap().debug(), "header_overdue");
    check(load).await;
    assert!(market.probe("/metrics").await.1.contains("stoa_connections_cut_total{reason=\"header\"} 2"));
}

#[tokio::test]
async fn first_words_that_do_not_come() {
    let (_origin, market) = short(60_000, 60_000).await;
    for words in [&b""[..], &http2::PREFACE[..10], http2::PREFACE] {
        let mut client = Client::silent(&market.visitors, HOST).await.unwrap();
        client.send(words).await.unwrap();
        let started = Instant::now();
        client.farewell().await.unwrap();
        assert!(started.elapsed() < SOON);
    }
}

#[tokio::test]
async fn a_connection_without_requests() {
    let (_origin, market) = short(60_000, 1_000).await;
    let load = load(&market);
    let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
    assert_eq!(client.answer_to(&http2::get(1, HOST, "/")).await.unwrap().0, 200);
    let farewell = client.farewell().await.unwrap().unwrap();
    assert_eq!((farewell.code(), farewell.debug().as_str()), (Some(0), "idle"));
    // PING does not make a connection useful.
    let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
    let started = Instant::now();
    while client.send(&http2::ping(*b"I'm here")).await.is_ok() && started.elapsed() < SOON {
        // Faster would be a flood.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(started.elapsed() < SOON);
    check(load).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_request_and_no_other() {
    let (_origin, market) = short(500, 60_000).await;
    let load = load(&market);
    let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
    client.send(&http2::get(1, HOST, "/sse")).await.unwrap();
    let nothing = http2::post(3, HOST, "/echo");
    let begun = [http2::post(5, HOST, "/echo"), http2::data(5, b"some", false)].concat();
    client.send(&[nothing, begun].concat()).await.unwrap();
    let mut statuses = Vec::new();
    while statuses.len() < 2 {
        let frame = client.until(|frame| frame.kind == kind::HEADERS && frame.stream > 1).await.unwrap();
        statuses.push(frame.status().unwrap());
    }
    assert_eq!(statuses, [408, 408]);
    // The stream beside them goes on.
    client.until(|frame| frame.kind == kind::DATA && frame.stream == 1).await.unwrap();
    let line = market.logged(|line| line["refusal"] == "request_timeout").await;
    assert_eq!(line["status"], 408);
    check(load).await;
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_backends{state=\"down\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_body_that_flows_slowly_may_take_longer_than_a_piece_of_it() {
    let (_origin, market) = short(900, 60_000).await;
    let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
    client.send(&http2::post(1, HOST, "/echo")).await.unwrap();
    for _ in 0..8 {
        // The slowness is what is tested: each piece in time, all of them longer than a piece may take.
        tokio::time::sleep(Duration::from_millis(250)).await;
        client.send(&http2::data(1, b"piece", false)).await.unwrap();
    }
    assert_eq!(client.answer_to(&http2::data(1, b"", true)).await.unwrap().0, 200);
}

#[tokio::test]
async fn an_answer_that_is_not_read_ends_its_request_and_no_other() {
    let (_origin, market) = short(500, 60_000).await;
    let load = load(&market);
    // No credit for DATA (SETTINGS_INITIAL_WINDOW_SIZE).
    let mut client = Client::open(&market.visitors, HOST, &[(4, 0)]).await.unwrap();
    client.send(&[http2::get(1, HOST, "/bytes/100000"), http2::get(3, HOST, "/sse")].concat()).await.unwrap();
    client.send(&http2::window_update(3, 1 << 20)).await.unwrap();
    let reset = client.until(|frame| frame.kind == kind::RST_STREAM).await.unwrap();
    assert_eq!(reset.stream, 1);
    client.until(|frame| frame.kind == kind::DATA && frame.stream == 3).await.unwrap();
    check(load).await;
}

#[tokio::test]
async fn who_does_not_read_at_all_is_ended() {
    let (_origin, market) = short(500, 60_000).await;
    let load = load(&market);
    let mut client = Client::open(&market.visitors, HOST, &[(4, 1 << 30)]).await.unwrap();
    let credit = http2::window_update(0, 1 << 30);
    client.send(&[credit, http2::get(1, HOST, "/bytes/60000000")].concat()).await.unwrap();
    // It is not read from while the metric is looked at.
    testkit::wait::until("the end", testkit::wait::LONG, async || {
        let (_, metrics) = market.probe("/metrics").await;
        anyhow::ensure!(metrics.contains("stoa_connections_cut_total{reason=\"write\"} 1"), "{metrics}");
        Ok(())
    })
    .await
    .unwrap();
    check(load).await;
}

#[tokio::test]
async fn a_stream_that_is_silent_at_the_backend_is_left_alone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let market = Market::open_with(&[url], |settings| {
        settings.deadlines.body = Duration::from_millis(300);
        settings.deadlines.idle = Duration::from_millis(300);
        settings.deadlines.header = Duration::from_millis(300);
    });
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n";
                let mut request = [0; 4096];
                let _count = stream.read(&mut request).await;
                let _sent = stream.write_all(answer).await;
                // The silence is what is tested: several times every limit.
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                let _sent = stream.write_all(b": again\n\n").await;
                while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
    client.send(&http2::get(1, HOST, "/")).await.unwrap();
    let again = client.until(|frame| frame.payload.ends_with(b": again\n\n")).await.unwrap();
    assert_eq!(again.stream, 1);
}
