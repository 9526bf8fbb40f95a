//! What an app gets, what its visitor gets, and what happens when a backend fails.

use model::csp::Source;
use testkit::origin::Origin;
use testkit::wait;

use crate::market::{HOST, Market};

#[tokio::test]
async fn an_app_can_believe_what_the_edge_says_and_sees_nothing_that_a_visitor_claims() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let claims = [
        "X-Forwarded-For: 10.0.0.1",
        "X_Forwarded_For: 10.0.0.1",
        "Forwarded: for=10.0.0.1",
        "X-Stoa-Tenant: t_other",
        "X-Request-Id: mine",
        "X-Own: kept",
    ];
    for curl in [market.visitors.get(HOST, "/echo").http1(), market.visitors.get(HOST, "/echo").http2()] {
        let curl = claims.iter().fold(curl, |curl, claim| curl.header(claim));
        let answer = curl.send().await.unwrap();
        let seen = answer.json().unwrap();
        let headers = &seen["headers"];
        let host = format!("{HOST}:{}", market.visitors.https.port());
        assert_eq!(headers["host"], host.as_str());
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["forwarded"], format!("for=127.0.0.1;host=\"{host}\";proto=https"));
        assert_eq!(headers["x-request-id"].as_str(), answer.header("x-request-id"));
        assert_eq!(headers["x-own"], "kept");
        assert!(headers.get("x-stoa-tenant").is_none() && headers.get("x_forwarded_for").is_none());
    }
}

#[tokio::test]
async fn an_absolute_target_is_refused() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let target = format!("https://{HOST}:{}/echo?a=b", market.visitors.https.port());
    let answer =
        market.visitors.get(HOST, "/").http1().args(["--request-target", &target]).send().await.unwrap();
    assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (400, Some("bad_request")));
    let line = market.logged(|line| line["refusal"] == "bad_request").await;
    assert_eq!(
        (line["reason"].as_str(), line["tenant"].as_str()),
        (Some("the target is not a path"), Some(&*market.tenant.id.to_string()))
    );
}

#[tokio::test]
async fn responses_carry_the_strict_policy_until_the_creator_loosens_it() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let answer = market.visitors.get(HOST, "/cookie/apps.localhost").send().await.unwrap();
    assert_eq!(
        answer.header("content-security-policy"),
        Some("default-src 'self'; img-src 'self' data:; script-src 'self'; frame-ancestors 'none'")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("strict-origin-when-cross-origin"));
    assert_eq!(answer.header("strict-transport-security"), None);
    assert_eq!(answer.header("set-cookie"), Some("a=b; Path=/"));
    market.set_site(|site| {
        site.headers.content_security_policy.script_src.push(Source::UnsafeInline);
    });
    let answer = market.visitors.get(HOST, "/").send().await.unwrap();
    assert!(answer.header("content-security-policy").unwrap().contains("script-src 'self' 'unsafe-inline'"));
}

#[tokio::test]
async fn bodies_pass_in_both_directions_and_protocols() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    let body = "x".repeat(100_000);
    for curl in [market.visitors.get(HOST, "/echo").http1(), market.visitors.get(HOST, "/echo").http2()] {
        let answer = curl.header("Expect:").body(&body).send().await.unwrap();
        assert_eq!(answer.json().unwrap()["body"].as_str().map(str::len), Some(body.len()));
    }
    for curl in [
        market.visitors.get(HOST, "/bytes/3000000").http1(),
        market.visitors.get(HOST, "/bytes/3000000").http2(),
    ] {
        assert_eq!(curl.send().await.unwrap().body.len(), 3_000_000);
    }
}

#[tokio::test]
async fn a_backend_that_dies_costs_no_request_while_another_lives() {
    let mut one = Origin::start("one").await.unwrap();
    let two = Origin::start("two").await.unwrap();
    let market = Market::open(&[one.url(), two.url()]);
    let visitor = market.visitors.visitor(HOST).unwrap();
    wait::until("both backends", wait::LONG, async || {
        visitor.get("/").await?;
        anyhow::ensure!(one.requests() > 0 && two.requests() > 0);
        Ok(())
    })
    .await
    .unwrap();
    let load = visitor.load(4);
    load.more(20).await.unwrap();
    one.kill();
    load.more(200).await.unwrap();
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures);
}

#[tokio::test]
async fn a_backend_that_is_gone_a_page_says_so_and_the_log_names_it() {
    let mut origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    origin.kill();
    let answer = market.visitors.get(HOST, "/").send().await.unwrap();
    assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (502, Some("backend_down")));
    let line = market.logged(|line| line["refusal"] == "backend_down").await;
    assert_eq!(line["backend"], origin.url());
}

#[tokio::test]
async fn a_backend_that_is_slow_is_given_up_in_time() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    market.set_site(|site| site.settings.first_byte_timeout_ms = 200);
    for curl in
        [market.visitors.get(HOST, "/slow/5000").http1(), market.visitors.get(HOST, "/slow/5000").http2()]
    {
        let answer = curl.send().await.unwrap();
        assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (504, Some("backend_timeout")));
    }
    assert_eq!(market.visitors.get(HOST, "/slow/1").send().await.unwrap().body, "one");
}

#[tokio::test]
async fn an_https_backend_is_verified() {
    let backend = Market::open(&[]);
    let front = Market::open(&[format!("https://localhost:{}", backend.visitors.https.port())]);
    let answer = wait::until("the name's address", wait::LONG, async || {
        let answer = front.visitors.get(HOST, "/").send().await?;
        anyhow::ensure!(front.probe("/metrics").await.1.contains("stoa_retries_total"));
        Ok(answer)
    })
    .await
    .unwrap();
    assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (502, Some("backend_down")));
}
