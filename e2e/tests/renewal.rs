//! Certificates renew under load, and no visitor notices.

use std::time::Duration;

use anyhow::{Result, ensure};
use testkit::edge::Edge;
use testkit::figures::print;
use testkit::load::{Load, Tally};
use testkit::stoa::Stoa;
use testkit::wait;

use crate::installation::{Acme, WithApp, connect};

/// A third of this is left when a renewal begins.
const LIFETIME_SECONDS: u64 = 30;

/// Two lifetimes and some.
const BOUND: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acme_certificate_renews_without_a_failed_request_or_a_wrong_handshake() -> Result<()> {
    let (acme, WithApp { stoa, app, origin: _origin, .. }) = &Acme::start(Some(LIFETIME_SECONDS)).await?;
    let domain = app.domain("shop.example.test").await?;
    connect(&acme.dns, &domain).await?;
    domain.until("live", BOUND).await?;
    renewed_under_load(&acme.edge(stoa), &domain.hostname).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_zones_certificate_renews_without_a_failed_request_or_a_wrong_handshake() -> Result<()> {
    let config = format!("[local_ca]\nlifetime_seconds = {LIFETIME_SECONDS}\n");
    let stoa = Stoa::builder().config(&config).start().await?;
    let WithApp { stoa, app, origin: _origin, .. } = &WithApp::over(stoa).await?;
    renewed_under_load(stoa.edge(), &app.hostname).await
}

async fn renewed_under_load(edge: &Edge, host: &str) -> Result<()> {
    let before = serial(edge, host).await?;
    let (requests, handshakes) = (edge.visitor(host)?.load(4), handshakes(edge, host)?);
    let look = async || {
        ensure!(serial(edge, host).await? != before, "still {before}");
        Ok(())
    };
    wait::until("another certificate", BOUND, look).await?;
    requests.more(200).await?;
    faultless("requests", &requests.stop().await)?;
    faultless("handshakes", &handshakes.stop().await)
}

/// Handshakes that check name, chain and time.
fn handshakes(edge: &Edge, host: &str) -> Result<Load> {
    let (tls, https, host) = (edge.tls()?, edge.https, host.to_owned());
    Ok(Load::start(2, move || {
        let (tls, host) = (tls.clone(), host.clone());
        async move { Ok(tls.handshake(https, &host).await.map(drop)?) }
    }))
}

async fn serial(edge: &Edge, host: &str) -> Result<String> {
    edge.tls()?.handshake(edge.https, host).await?.serial()
}

fn faultless(what: &str, tally: &Tally) -> Result<()> {
    print("renewal", &format!("{what}_during_renewal"), tally.sent as f64, what);
    ensure!(tally.failed() == 0, "{} of {} {what} failed: {:?}", tally.failed(), tally.sent, tally.failures);
    Ok(())
}
