//! Backends that fail in one way or another beside one that does not, under load.

use testkit::origin::Origin;
use testkit::wait;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::market::{HOST, Market};

/// How a backend fails that accepts connections.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// It reads and says nothing.
    Silence,
    /// It reads and resets the connection.
    Reset,
}

/// A backend that fails, for as long as the test's runtime lives; returns its URL.
async fn faulty(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(fail(stream, fault));
        }
    });
    url
}

async fn fail(mut stream: TcpStream, fault: Fault) {
    let mut request = [0; 4096];
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        if matches!(fault, Fault::Reset) {
            stream.set_zero_linger().unwrap();
            return;
        }
    }
}

async fn breakers(market: &Market, state: &str) -> u64 {
    let name = format!("stoa_backend_breaker_turns_total{{to=\"{state}\"}} ");
    let (_, metrics) = market.probe("/metrics").await;
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn a_backend_that_resets_connections_costs_no_visitor_an_answer() {
    let good = Origin::start("good").await.unwrap();
    let market = Market::open(&[good.url(), faulty(Fault::Reset).await]);
    let load = market.visitors.visitor(HOST).unwrap().load(4);
    load.more(300).await.unwrap();
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures);
    assert!(breakers(&market, "open").await >= 1);
}

#[tokio::test]
async fn a_backend_that_refuses_connections_costs_no_visitor_an_answer() {
    let good = Origin::start("good").await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let market = Market::open(&[good.url(), format!("http://{closed}")]);
    let load = market.visitors.visitor(HOST).unwrap().load(4);
    load.more(300).await.unwrap();
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures);
}

#[tokio::test]
async fn a_backend_that_never_answers_costs_few_requests_until_its_breaker_opens_and_none_after() {
    let good = Origin::start("good").await.unwrap();
    let market = Market::open(&[good.url(), faulty(Fault::Silence).await]);
    market.set_site(|site| {
        site.settings.first_byte_timeout_ms = 200;
        // So long, within its bound, is the breaker open.
        site.settings.health_interval_ms = 600_000;
    });
    let load = market.visitors.visitor(HOST).unwrap().load(4);
    wait::until("the breaker", wait::LONG, async || {
        anyhow::ensure!(breakers(&market, "open").await == 1);
        Ok(())
    })
    .await
    .unwrap();
    let early = load.stop().await;
    assert!(early.failed() <= 3 + 4, "three, and what was under way: {early:?}");
    let load = market.visitors.visitor(HOST).unwrap().load(4);
    load.more(200).await.unwrap();
    assert_eq!(load.stop().await.failed(), 0);
}

#[tokio::test]
async fn a_breaker_closes_by_itself_when_its_backend_answers_again() {
    let one = Origin::start("one").await.unwrap();
    let mut two = Origin::start("two").await.unwrap();
    let market = Market::open(&[one.url(), two.url()]);
    market.set_site(|site| {
        site.settings.health_interval_ms = 1_000;
        site.settings.slow_start_ms = 100;
    });
    let load = market.visitors.visitor(HOST).unwrap().load(2);
    load.more(20).await.unwrap();
    two.kill();
    wait::until("the breaker to open", wait::LONG, async || {
        anyhow::ensure!(breakers(&market, "open").await >= 1);
        Ok(())
    })
    .await
    .unwrap();
    two.revive().await.unwrap();
    let before = two.requests();
    wait::until("the breaker to close, and traffic", wait::LONG, async || {
        anyhow::ensure!(breakers(&market, "closed").await >= 1 && two.requests() >= before + 50);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(load.stop().await.failed(), 0);
}

#[tokio::test]
async fn an_app_whose_backends_are_full_says_that_it_is_busy_and_bills_nothing() {
    let market = Market::open(&[faulty(Fault::Silence).await]);
    market.set_site(|site| site.settings.max_in_flight = 1);
    let visitor = market.visitors.visitor(HOST).unwrap();
    let holds = tokio::spawn(async move { visitor.get("/").await });
    let answer = wait::until("a busy app", wait::LONG, async || {
        let answer = market.visitors.get(HOST, "/").args(["--max-time", "1"]).send().await?;
        anyhow::ensure!(answer.status == 503);
        Ok(answer)
    })
    .await
    .unwrap();
    assert_eq!(answer.json().unwrap()["code"], "app_busy");
    assert_eq!(answer.header("retry-after"), Some("2"));
    holds.abort();
}
