//! What is metered: once, by class, as it flows.

use model::limits::Rate;
use model::usage::{Counters, UsageClass};
use testkit::origin::Origin;
use testkit::wait;
use testkit::websocket::Socket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

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

#[tokio::test]
async fn an_upload_that_no_backend_answers_is_not_billed() {
    const BYTES: usize = 12 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let market = Market::open(&[format!("http://{}", listener.local_addr().unwrap())]);
    // Takes the whole of it, says nothing and closes.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut piece, mut taken) = (vec![0; 64 << 10], 0);
                while taken < BYTES {
                    match stream.read(&mut piece).await {
                        Ok(count) if count > 0 => taken += count,
                        _ => break,
                    }
                }
            });
        }
    });
    let client = market.visitors.tls().unwrap().offering(&["http/1.1"]);
    let mut stream = client.connect(market.visitors.https, HOST).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // The backend may be gone before the last bytes.
    let _sent = stream.write_all(&vec![b'x'; BYTES]).await;
    let _flushed = stream.flush().await;
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 502 "), "{}", String::from_utf8_lossy(&answer));
    let refused = requests(&market, UsageClass::Refused, 1).await;
    assert!(refused.bytes_in > 11 << 20, "{refused:?}");
    assert_eq!(sum(&market, UsageClass::Visitor), Counters::default());
}
