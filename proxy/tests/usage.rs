//! What is metered: once, by class, as it flows.

use model::limits::Rate;
use model::usage::{Counters, UsageClass};
use testkit::origin::Origin;
use testkit::wait;
use testkit::websocket::Socket;

use crate::market::{HOST, Market};

fn sum(market: &Market, class: UsageClass) -> Counters {
    let mut sum = Counters::default();
    let rows = market.rows.all();
    let of_app = |key: &model::usage::UsageKey| (key.tenant, key.app) == (market.tenant.id, market.site.app);
    rows.iter()
        .filter(|row| row.key.class == class && of_app(&row.key))
        .for_each(|row| sum.add(row.counters));
    sum
}

async fn requests(market: &Market, class: UsageClass, requests: u64) -> Counters {
    wait::until("the usage", wait::LONG, async || {
        let sum = sum(market, class);
        anyhow::ensure!(sum.requests == requests, "{sum:?}");
        Ok(sum)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_request_is_counted_once_with_its_bytes_in_both_protocols() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    for curl in
        [market.visitors.get(HOST, "/bytes/1000").http1(), market.visitors.get(HOST, "/bytes/1000").http2()]
    {
        curl.body("12345").send().await.unwrap();
    }
    let sum = requests(&market, UsageClass::Visitor, 2).await;
    assert_eq!((sum.bytes_in, sum.bytes_out), (10, 2_000));
}

#[tokio::test]
async fn what_is_limited_or_refused_is_counted_apart() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    market.set_tenant(|tenant| tenant.limits.visitor = Rate { requests_per_minute: 1, burst: 1 });
    for _ in 0..3 {
        market.visitors.get(HOST, "/").send().await.unwrap();
    }
    market.set_tenant(|tenant| tenant.standing = model::tenant::Standing::Suspended);
    market.visitors.get(HOST, "/").send().await.unwrap();
    assert_eq!(requests(&market, UsageClass::Visitor, 1).await.bytes_out, 3);
    requests(&market, UsageClass::Blocked, 2).await;
    requests(&market, UsageClass::Refused, 1).await;
}

#[tokio::test]
async fn a_web_sockets_bytes_are_metered_while_it_is_open() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let mut socket = Socket::open(stream, HOST, "/ws").await.unwrap();
    let text = "x".repeat(10_000);
    wait::until("bytes before the end", wait::LONG, async || {
        socket.send(&text).await?;
        socket.receive().await?;
        let sum = sum(&market, UsageClass::Visitor);
        anyhow::ensure!(sum.requests == 0 && sum.bytes_in > 10_000 && sum.bytes_out > 10_000, "{sum:?}");
        Ok(())
    })
    .await
    .unwrap();
    drop(socket);
    requests(&market, UsageClass::Visitor, 1).await;
}
