//! A creator publishes an app on a name of the marketplace.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustls::NamedGroup;
use testkit::figures::{percentile, print_time};
use testkit::origin::Origin;
use testkit::stoa::Stoa;
use testkit::wait;
use tokio::time::Instant;

use crate::installation::WithApp;

/// Changes whose way to the edge is timed.
const CHANGES: usize = 200;

/// The default policy of the platform.
const CSP: &str = "default-src 'self'; img-src 'self' data:; script-src 'self'; frame-ancestors 'none'";

#[tokio::test]
async fn an_app_answers_over_both_versions_with_a_chain_that_curl_accepts() -> Result<()> {
    let stoa = Stoa::start().await?;
    let (one, two) = (Origin::start("one").await?, Origin::start("two").await?);
    let app = stoa.tenant("ann").await?.app("shop", &[&one, &two]).await?;
    assert_eq!(app.hostname, "shop.apps.localhost");
    app.live().await?;
    for (request, version) in [(app.get("/").http1(), "1.1"), (app.get("/").http2(), "2")] {
        let answer = request.send().await?;
        assert_eq!((answer.status, answer.http_version.as_str()), (200, version));
        assert!(["one", "two"].contains(&answer.body.as_str()), "{}", answer.body);
    }
    let settled = stoa.edge().tls()?.handshake(stoa.edge().https, &app.hostname).await?;
    assert_eq!(settled.group, Some(NamedGroup::X25519MLKEM768));
    Ok(())
}

#[tokio::test]
async fn a_backend_learns_who_asks_and_not_what_a_visitor_made_up() -> Result<()> {
    let WithApp { stoa: _stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    let answer =
        app.get("/echo").header("X-Forwarded-For: 6.6.6.6").header("X-Stoa-Tenant: t").send().await?;
    let seen = &answer.json()?["headers"];
    assert_eq!(
        (&seen["x-forwarded-for"], &seen["x-forwarded-proto"]),
        (&"127.0.0.1".into(), &"https".into())
    );
    assert!(seen.get("x-stoa-tenant").is_none() && seen["forwarded"].is_string(), "{seen}");
    assert_eq!(seen["x-request-id"].as_str(), answer.header("x-request-id"));
    Ok(())
}

#[tokio::test]
async fn a_visitor_gets_the_safe_headers() -> Result<()> {
    let WithApp { stoa: _stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    let answer = app.get("/cookie/apps.localhost").send().await?;
    assert_eq!(answer.header("content-security-policy"), Some(CSP));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.header("referrer-policy").is_some());
    assert_eq!(answer.header("strict-transport-security"), None, "a development zone");
    let cookie = answer.header("set-cookie").unwrap_or_default();
    assert!(cookie.starts_with("a=b") && !cookie.to_ascii_lowercase().contains("domain"), "{cookie}");
    Ok(())
}

#[tokio::test]
async fn cleartext_is_redirected_where_that_is_safe() -> Result<()> {
    let WithApp { stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    let get = stoa.edge().get_cleartext(&app.hostname, "/a?b=c").send().await?;
    assert_eq!(get.status, 308);
    let to = get.header("location").unwrap_or_default();
    assert!(to.starts_with("https://shop.apps.localhost") && to.ends_with("/a?b=c"), "{to}");
    let post = stoa.edge().get_cleartext(&app.hostname, "/a").body("secret").send().await?;
    assert_eq!(post.status, 403);
    Ok(())
}

#[tokio::test]
async fn a_killed_backend_fails_no_request_after_the_health_interval() -> Result<()> {
    let WithApp { stoa, app, origin: one, .. } = &WithApp::start().await?;
    let mut two = Origin::start("two").await?;
    let visitor = stoa.edge().visitor(&app.hostname)?;
    app.set_backends(&[one, &two]).await?;
    let second = async || ensure_is(&visitor.get("/").await?, "two");
    wait::until("the second backend", wait::LONG, second).await?;
    two.kill();
    let calm = async || {
        for _ in 0..20 {
            visitor.get("/").await?;
        }
        Ok(())
    };
    wait::until("the dead backend to be left out", Duration::from_secs(2), calm).await?;
    for _ in 0..300 {
        ensure_is(&visitor.get("/").await?, "one")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_request_in_flight_ends_well_after_ctrl_c() -> Result<()> {
    let WithApp { mut stoa, app, origin, .. } = WithApp::start().await?;
    let seen = origin.requests();
    let slow = tokio::spawn(app.get("/slow/1000").send());
    let begun = async || {
        ensure!(origin.requests() > seen, "it has not reached the backend");
        Ok(())
    };
    wait::until("the request", wait::LONG, begun).await?;
    assert!(stoa.stop().await?.success());
    assert_eq!(slow.await??.body, "one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_installation_fails_no_request_under_load() -> Result<()> {
    let WithApp { stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    let load = stoa.edge().visitor(&app.hostname)?.load(8);
    load.more(1_000).await?;
    let tally = load.stop().await;
    assert_eq!(tally.failed(), 0, "{:?}", tally.failures);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_the_edge_in_good_time() -> Result<()> {
    let WithApp { stoa, app, origin: one, .. } = &WithApp::start().await?;
    let two = Origin::start("two").await?;
    let visitor = stoa.edge().visitor(&app.hostname)?;
    let mut times = Vec::new();
    for (origin, name) in [(&two, "two"), (one, "one")].into_iter().cycle().take(CHANGES) {
        app.set_backends(&[origin]).await?;
        let changed = Instant::now();
        while visitor.get("/").await? != name {
            ensure!(changed.elapsed() < wait::LONG, "change {} never came", times.len());
        }
        times.push(changed.elapsed());
    }
    print_time("change", "change_to_edge_p50", percentile(&times, 50));
    print_time("change", "change_to_edge_p99", percentile(&times, 99));
    Ok(())
}

fn ensure_is(body: &str, wanted: &str) -> Result<()> {
    ensure!(body == wanted, "{body} instead of {wanted}");
    Ok(())
}
