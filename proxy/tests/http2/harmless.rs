//! Visitors who do much and mean well: nothing of it is changed or taken for an attack.

use testkit::origin::Origin;

use crate::market::{HOST, Market};

/// More than any window, buffer or count of frames that is watched.
const LENGTH: usize = 10 << 20;

#[tokio::test]
async fn large_bodies_pass_both_ways_unchanged() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let client =
        testkit::client::pinned(&market.visitors.roots_pem().unwrap(), HOST, market.visitors.https).unwrap();
    let url = format!("https://{HOST}:{}/echo", market.visitors.https.port());
    let body: String = ('a'..='z').cycle().take(LENGTH).collect();
    // Several at a time, so that their frames mix.
    let asked = (0..2).map(|_| tokio::spawn(client.post(&url).body(body.clone()).send()));
    for answer in asked.collect::<Vec<_>>() {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_2);
        let seen: serde_json::Value = answer.json().await.unwrap();
        assert!(seen["body"].as_str() == Some(&body));
    }
    let (_, metrics) = market.probe("/metrics").await;
    assert!(!metrics.contains("stoa_http2_floods_total{"), "{metrics}");
}
