//! What is refused over HTTP/2 is told to operators, by whomever it is refused.

use testkit::http2::{self, Client, flag, kind};

use crate::market::{HOST, Market};

fn headers(block: &[u8]) -> Vec<u8> {
    http2::frame(kind::HEADERS, flag::WHOLE, 1, block)
}

#[tokio::test]
async fn what_the_edge_refuses_is_logged_under_its_code() {
    let market = Market::open(&[]);
    let names: Vec<String> = (0..129).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let connect = http2::block(&[(":method", "CONNECT"), (":authority", HOST)]);
    for (block, status, code) in [
        (http2::request("GET", HOST, "/", &many), 431, "header_too_large"),
        (http2::request("GET", "b.apps.localhost", "/", &[]), 421, "misdirected"),
        (http2::request("TRACE", HOST, "/", &[]), 405, "method_not_allowed"),
        (connect, 405, "method_not_allowed"),
        (http2::request("GET", HOST, "*", &[]), 400, "bad_request"),
        (http2::request("GET", HOST, &format!("/{}", "x".repeat(8 << 10)), &[]), 414, "uri_too_long"),
    ] {
        let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
        assert_eq!(client.answer_to(&headers(&block)).await.unwrap().0, status, "{code}");
        let line = market.logged(|line| line["refusal"] == code).await;
        assert_eq!((&line["status"], &line["protocol"]), (&status.into(), &"h2".into()));
    }
}

#[tokio::test]
async fn what_the_library_resets_is_counted() {
    let market = Market::open(&[]);
    let block = http2::request("GET", HOST, "/", &[("connection", "close")]);
    for _ in 0..2 {
        let mut client = Client::open(&market.visitors, HOST, &[]).await.unwrap();
        client.send(&headers(&block)).await.unwrap();
        client.until(|frame| frame.kind == kind::RST_STREAM).await.unwrap();
    }
    let line = "stoa_http2_stream_errors_total 2";
    testkit::wait::until(line, testkit::wait::LONG, async || {
        anyhow::ensure!(market.probe("/metrics").await.1.contains(line));
        Ok(())
    })
    .await
    .unwrap();
}
