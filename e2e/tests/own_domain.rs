//! A creator connects a domain of their own: one record, then a padlock.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testkit::authority::Authority;
use testkit::figures::print_time;
use testkit::powerdns::{API_KEY, PowerDns};
use testkit::stoa::Stoa;
use testkit::wait;
use tokio::time::Instant;

use crate::command_line::Shell;
use crate::installation::{Acme, WithApp, connect};

/// Checks of a new domain come every few seconds; an order takes a few more.
const BOUND: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_domain_is_live_soon_after_its_one_record_appears() -> Result<()> {
    let (acme, WithApp { stoa, app, origin: _origin, .. }) = &Acme::start(None).await?;
    let domain = app.domain("shop.example.test").await?;
    connect(&acme.dns, &domain).await?;
    let appeared = Instant::now();
    domain.until("live", BOUND).await?;
    print_time("domain", "record_to_live", appeared.elapsed());

    let edge = acme.edge(stoa);
    let settled = edge.tls()?.handshake(edge.https, "shop.example.test").await?;
    assert!(settled.issuer()?.contains("Pebble"), "{}", settled.issuer()?);
    assert_eq!(settled.names()?, ["shop.example.test"]);
    let answer = edge.get("shop.example.test", "/").send().await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, "one"));
    Ok(())
}

#[tokio::test]
async fn a_domain_is_proved_on_the_port_of_https_where_the_other_is_closed() -> Result<()> {
    let (acme, WithApp { stoa, app, origin: _origin, .. }) = &Acme::proved_by("tls-alpn-01", None).await?;
    let domain = app.domain("shop.example.test").await?;
    connect(&acme.dns, &domain).await?;
    domain.until("live", BOUND).await?;
    let edge = acme.edge(stoa);
    let settled = edge.tls()?.handshake(edge.https, "shop.example.test").await?;
    assert!(settled.issuer()?.contains("Pebble"), "{}", settled.issuer()?);
    Ok(())
}

#[tokio::test]
async fn a_domain_with_an_authority_of_its_own_lets_its_members_in_and_nobody_else() -> Result<()> {
    let (acme, WithApp { stoa, app, origin: _origin, .. }) = &Acme::start(None).await?;
    let domain = app.domain("club.example.test").await?;
    connect(&acme.dns, &domain).await?;
    domain.until("live", BOUND).await?;
    let (edge, api, members, dir) = (acme.edge(stoa), stoa.api()?, Authority::new()?, tempfile::tempdir()?);
    let path = format!("/domains/{}/client-ca", domain.id);
    let member = members.issue_to("ann")?;
    let file = dir.path().join("ann.pem");
    std::fs::write(&file, format!("{}{}", member.chain_pem, member.key_pem))?;
    let (cert, stranger) = (file.display().to_string(), || edge.get("club.example.test", "/"));

    api.put(&path, json!({ "pem": members.pem() })).await?.ok()?;
    wait::until("strangers to be kept out", wait::LONG, async || {
        let answer = stranger().send().await;
        ensure!(answer.is_err(), "{answer:?}");
        Ok(())
    })
    .await?;
    let answer = stranger().args(["--cert", &cert]).send().await?;
    ensure!((answer.status, answer.body.as_str()) == (200, "one"), "{answer:?}");
    api.delete(&path).await?.ok()?;
    wait::until("everybody to be let in", wait::LONG, async || stranger().send().await.map(drop)).await
}

const ZONE: &str =
    "$TTL 5\n@ SOA ns1 hostmaster 1 3600 600 86400 1\n@ NS ns1\nns1 A 127.0.0.1\nold A 192.0.2.1\n";

#[tokio::test]
async fn a_wildcard_answers_at_every_name_after_one_command() -> Result<()> {
    let provider = PowerDns::start().await?;
    provider.add_zone("florist.test", ZONE).await?;
    let config =
        format!("[connect]\nnetworks = [\"127.0.0.1\"]\n[dns]\nresolvers = [\"{}\"]\n", provider.address());
    let WithApp { stoa, app, origin: _origin, .. } =
        &WithApp::over(Stoa::builder().config(&config).start().await?).await?;
    let domain = app.domain("*.florist.test").await?;
    let (shell, dir) = (Shell::new(stoa)?, tempfile::tempdir()?);
    let key = dir.path().join("key");
    std::fs::write(&key, API_KEY)?;
    let access = format!("--api-url {} --token-file {}", provider.url(), key.display());
    let connect = format!("domain connect {} --provider powerdns {access} --apply", domain.id);
    let told = shell.run(&connect).await?.output;
    ensure!(told.contains("CNAME  *.florist.test"), "{told}");
    domain.until("live", BOUND).await?;

    let edge = stoa.edge();
    for name in ["roses.florist.test", "tulips.florist.test"] {
        let settled = edge.tls()?.handshake(edge.https, name).await?;
        ensure!(settled.names()? == ["*.florist.test"], "{:?}", settled.names());
        let answer = edge.get(name, "/").send().await?;
        ensure!((answer.status, answer.body.as_str()) == (200, "one"), "{answer:?}");
    }
    for name in ["florist.test", "red.roses.florist.test"] {
        let refused = edge.tls()?.handshake(edge.https, name).await;
        let alert = refused.err().as_ref().and_then(testkit::tls::alert);
        ensure!(alert == Some(rustls::AlertDescription::UnrecognisedName), "{name}: {alert:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_domain_that_points_elsewhere_says_what_is_in_the_way() -> Result<()> {
    let (acme, WithApp { stoa: _stoa, app, origin: _origin, .. }) = &Acme::start(None).await?;
    acme.dns.add_a("old.example.test", [192, 0, 2, 1].into()).await?;
    let domain = app.domain("old.example.test").await?;
    let state = domain.until("conflict", BOUND).await?;
    let text = state["next_action"]["text"].as_str().unwrap_or_default();
    assert!(text.contains("192.0.2.1"), "{state}");
    acme.dns.set_servfail("broken.example.test").await?;
    let broken = app.domain("broken.example.test").await?;
    broken.until("dns_broken", BOUND).await?;
    Ok(())
}

#[tokio::test]
async fn a_domain_that_nobody_proved_is_not_served() -> Result<()> {
    let (acme, WithApp { stoa, app, origin: _origin, .. }) = &Acme::start(None).await?;
    app.domain("claimed.example.test").await?.until("needs_dns", BOUND).await?;
    let refused = acme.edge(stoa).tls()?.handshake(stoa.edge().https, "claimed.example.test").await;
    let alert = refused.err().as_ref().and_then(testkit::tls::alert);
    assert_eq!(alert, Some(rustls::AlertDescription::UnrecognisedName));
    let answer = stoa.edge().get_cleartext("claimed.example.test", "/").send().await?;
    assert_eq!(answer.status, 404);
    Ok(())
}
