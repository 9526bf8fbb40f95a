//! A crowd before an app: how many its backends see at a time, who waits, and who is sent away.

use model::change::Object;
use model::usage::{UsageClass, UsageRow};
use testkit::origin::Origin;
use testkit::wait;
use tokio::task::JoinSet;

use crate::market::{HOST, Market, site};

async fn waits(market: &Market, result: &str) -> u64 {
    let name = format!("stoa_app_queue_total{{result=\"{result}\"}} ");
    let (_, metrics) = market.probe("/metrics").await;
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |value| value.parse().unwrap())
}

async fn until_busy(origin: &Origin, requests: u64) {
    wait::until("requests at the app", wait::LONG, async || {
        anyhow::ensure!(origin.at_once() == requests);
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_app_never_works_on_more_than_its_cap_and_who_waits_is_served() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    market.set_site(|site| {
        site.settings.max_concurrency = 50;
        site.settings.queue_timeout_ms = 60_000;
    });
    // Each visitor has a connection of its own, so that both workers serve some.
    let mut crowd = JoinSet::new();
    for _ in 0..20 {
        let visitor = market.visitors.visitor(HOST).unwrap();
        for _ in 0..5 {
            let visitor = visitor.clone();
            crowd.spawn(async move {
                for _ in 0..3 {
                    visitor.get("/slow/100").await.unwrap();
                }
            });
        }
    }
    crowd.join_all().await;
    assert_eq!((origin.most_at_once(), origin.requests()), (50, 300));
    assert!(waits(&market, "let_in").await > 0);
    assert_eq!(waits(&market, "full").await, 0);
}

#[tokio::test]
async fn over_the_queue_and_after_its_time_a_visitor_is_told_to_come_back_and_nothing_is_billed() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    market.set_site(|site| {
        site.settings.max_concurrency = 1;
        site.settings.queue_timeout_ms = 300;
    });
    let visitor = market.visitors.visitor(HOST).unwrap();
    let holds = tokio::spawn(async move { visitor.get("/slow/60000").await });
    until_busy(&origin, 1).await;
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        let answer = curl.send().await.unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
        assert_eq!(answer.json().unwrap()["code"], "app_busy");
    }
    assert_eq!((waits(&market, "timed_out").await, origin.requests()), (2, 1));
    let mut crowd = JoinSet::new();
    for _ in 0..3 {
        let curl = market.visitors.get(HOST, "/");
        crowd.spawn(async move { curl.send().await.unwrap().status });
    }
    assert_eq!(crowd.join_all().await, [503; 3]);
    let is_refused = |row: &UsageRow| row.key.class == UsageClass::Refused;
    wait::until("the usage", wait::LONG, async || {
        let rows = market.rows.all();
        let refused: u64 = rows.iter().map(|row| row.counters.requests).sum();
        anyhow::ensure!(refused == 5 && rows.iter().all(is_refused), "{rows:?}");
        Ok(())
    })
    .await
    .unwrap();
    holds.abort();
}

#[tokio::test]
async fn a_visitor_who_leaves_the_queue_makes_room_in_it() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    market.set_site(|site| {
        site.settings.max_concurrency = 1;
        site.settings.queue_timeout_ms = 60_000;
    });
    let holds = {
        let visitor = market.visitors.visitor(HOST).unwrap();
        tokio::spawn(async move { visitor.get("/slow/60000").await })
    };
    until_busy(&origin, 1).await;
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        let left = waits(&market, "left").await;
        // It has the one place in the queue until it is given up.
        curl.args(["--max-time", "0.5"]).send().await.unwrap_err();
        wait::until("the end of the wait", wait::LONG, async || {
            anyhow::ensure!(waits(&market, "left").await == left + 1);
            Ok(())
        })
        .await
        .unwrap();
    }
    let waiting = {
        let curl = market.visitors.get(HOST, "/");
        tokio::spawn(async move { curl.send().await.unwrap() })
    };
    holds.abort();
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "one"));
    assert_eq!((origin.requests(), waits(&market, "full").await), (2, 0));
}

#[tokio::test]
async fn a_crowd_before_one_app_is_nothing_to_another() {
    let (busy, calm) = (Origin::start("busy").await.unwrap(), Origin::start("calm").await.unwrap());
    let market = Market::open(&[busy.url()]);
    market.set_site(|site| {
        site.settings.max_concurrency = 5;
        site.settings.queue_timeout_ms = 60_000;
    });
    let other = site(market.tenant.id, "calm.apps.localhost", &[calm.url()]);
    market.put(Object::Site(Box::new(other)));
    let visitor = market.visitors.visitor(HOST).unwrap();
    let crowd = testkit::load::Load::start(30, move || {
        let visitor = visitor.clone();
        async move { visitor.get("/slow/60000").await.map(drop) }
    });
    until_busy(&busy, 5).await;
    for _ in 0..10 {
        assert_eq!(market.visitors.get("calm.apps.localhost", "/").send().await.unwrap().body, "calm");
    }
    assert_eq!((busy.most_at_once(), calm.requests()), (5, 10));
    drop(crowd);
}

#[tokio::test]
async fn a_request_that_is_tried_again_keeps_its_place() {
    let origin = Origin::start("one").await.unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let market = Market::open(&[origin.url(), format!("http://{closed}")]);
    market.set_site(|site| site.settings.max_concurrency = 1);
    let load = market.visitors.visitor(HOST).unwrap().load(1);
    load.more(50).await.unwrap();
    assert_eq!(load.stop().await.failed(), 0);
}
