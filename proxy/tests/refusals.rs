//! Every "no" that a visitor can meet, as it looks on the wire.

use model::Host;
use model::acme::{Challenge, ChallengeKind, Token};
use model::change::Object;
use model::limits::Rate;
use model::tenant::Standing;
use std::time::Duration;
use testkit::{origin::Origin, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::market::{HOST, Market, now};

#[tokio::test]
async fn cleartext_is_redirected_or_refused() {
    let market = Market::open(&[]);
    let answer = market.visitors.get_cleartext(HOST, "/a?b=c").send().await.unwrap();
    assert_eq!(answer.status, 308);
    let location = format!("https://{HOST}:{}/a?b=c", market.visitors.https.port());
    assert_eq!(answer.header("location"), Some(location.as_str()));
    let head = market.visitors.get_cleartext(HOST, "/").head().send().await.unwrap();
    assert_eq!(head.status, 308);
    let post = market.visitors.get_cleartext(HOST, "/").body("secret").send().await.unwrap();
    assert_eq!((post.status, post.json().unwrap()["code"].as_str()), (403, Some("https_required")));
}

#[tokio::test]
async fn an_unknown_host_gets_a_page_in_the_clear_and_below_the_wildcard() {
    let market = Market::open(&[]);
    for answer in [
        market.visitors.get_cleartext("nobody.test", "/").send().await.unwrap(),
        market.visitors.get("nobody.apps.localhost", "/").send().await.unwrap(),
        market.visitors.get_cleartext("127.0.0.1", "/").send().await.unwrap(),
    ] {
        assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (404, Some("unknown_host")));
    }
}

#[tokio::test]
async fn a_host_that_is_not_the_connections_is_misdirected_in_both_protocols() {
    let market = Market::open(&[]);
    for curl in [market.visitors.get(HOST, "/").http1(), market.visitors.get(HOST, "/").http2()] {
        let answer = curl.header("Host: other.apps.localhost").send().await.unwrap();
        assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (421, Some("misdirected")));
    }
}

#[tokio::test]
async fn a_suspended_tenant_has_a_page_for_people_and_one_for_programs_with_the_logs_reference() {
    let market = Market::open(&[]);
    market.set_tenant(|tenant| tenant.standing = Standing::Suspended);
    let program = market.visitors.get(HOST, "/").header("Accept: application/json").send().await.unwrap();
    assert_eq!(program.status, 403);
    let problem = program.json().unwrap();
    assert_eq!(problem["code"], "suspended");
    assert_eq!(program.header("x-request-id"), problem["request_id"].as_str());
    let page = market.visitors.get(HOST, "/").header("Accept: text/html").send().await.unwrap();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let reference = page.header("x-request-id").unwrap();
    assert!(page.body.contains(reference));
    let line = market.logged(|line| line["request_id"] == reference).await;
    assert_eq!((line["refusal"].as_str(), line["status"].as_u64()), (Some("suspended"), Some(403)));
    assert_eq!(line["tenant"], market.tenant.id.to_string());
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_refusals_total{code=\"suspended\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_limit_tells_how_long_to_wait_and_is_lifted_without_a_restart() {
    let origin = Origin::start("one").await.unwrap();
    let market = Market::open(&[origin.url()]);
    market.set_tenant(|tenant| tenant.limits.visitor = Rate { requests_per_minute: 1, burst: 2 });
    let get = || market.visitors.get(HOST, "/").send();
    assert_eq!((get().await.unwrap().status, get().await.unwrap().status), (200, 200));
    let answer = get().await.unwrap();
    assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (429, Some("visitor_limit")));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"visitor\";q=2;w=120"));
    assert!(answer.header("ratelimit").unwrap().starts_with("\"visitor\";r=0;t="));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((55..=60).contains(&wait), "{wait}");
    market.set_tenant(|tenant| tenant.limits.tenant = Rate { requests_per_minute: 1, burst: 1 });
    until(&market, 429, "tenant_limit").await;
    market.set_tenant(|_| ());
    until(&market, 200, "").await;
}

/// Asks until the answer is this one.
async fn until(market: &Market, status: u16, code: &str) {
    wait::until("the answer", wait::LONG, async || {
        let answer = market.visitors.get(HOST, "/").send().await?;
        let has_code = code.is_empty() || answer.json()?["code"] == code;
        anyhow::ensure!(answer.status == status && has_code, "{answer:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_challenge_is_answered_on_every_listener() {
    let market = Market::open(&[]);
    market.put(Object::Challenge(Challenge {
        kind: ChallengeKind::Http01,
        token: Token::parse("token").unwrap(),
        host: Host::parse("new.test").unwrap(),
        key_authorization: "token.print".to_owned(),
        expires_at: now().plus(Duration::from_secs(60)),
    }));
    let path = "/.well-known/acme-challenge/token";
    let answer = market.visitors.get_cleartext("new.test", path).send().await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "token.print"));
    assert_eq!(market.visitors.get_cleartext(HOST, path).send().await.unwrap().status, 308);
}

#[tokio::test]
async fn an_app_without_backends_says_so() {
    let market = Market::open(&[]);
    let answer = market.visitors.get(HOST, "/").send().await.unwrap();
    assert_eq!((answer.status, answer.json().unwrap()["code"].as_str()), (503, Some("no_backend")));
    let head = market.visitors.get(HOST, "/").head().send().await.unwrap();
    assert_eq!((head.status, head.body.as_str()), (503, ""));
}

/// The status of the answer to these bytes in the clear; 0 if there is none.
async fn raw(market: &Market, bytes: &str) -> u16 {
    let mut stream = TcpStream::connect(market.visitors.http).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn what_breaks_http_is_refused_and_logged() {
    let market = Market::open(&[]);
    let long = "a".repeat(9_000);
    let wide = "a: b\r\n".repeat(120) + &format!("c: {}\r\n", "d".repeat(33_000));
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}:80:90\r\n\r\n"), 400),
        (format!("GET http://other.test/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400),
        (format!("GET http://u@{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400),
        (format!("TRACE / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 405),
        (format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n"), 405),
        (format!("GET /{long} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{wide}\r\n"), 431),
    ] {
        assert_eq!(raw(&market, &bytes).await, status, "{}", bytes.get(..60).unwrap_or(&bytes));
    }
    let line = market.logged(|line| line["refusal"] == "method_not_allowed").await;
    assert_eq!(line["method"], "CONNECT");
}

#[tokio::test]
async fn a_kept_connection_is_idle_after_a_refusal_and_not_late() {
    let market = Market::open_with(&[], |settings| settings.deadlines.header = Duration::from_millis(300));
    let mut stream = TcpStream::connect(market.visitors.http).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        while !answer.contains("unknown_host") {
            let mut piece = [0; 8192];
            let count = stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "it ended: {answer}");
            answer.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
        // The silence is what is tested.
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
}
