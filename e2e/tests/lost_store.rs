//! The database is gone. Edges serve on; the operator fills an empty store with what they know, nothing is ordered anew,
//! and no visitor notices.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use testkit::authority::Authority;
use testkit::ca::{self, Ca, Kind};
use testkit::command::{Said, binary, run_command};
use testkit::dns::ChallTestSrv;
use testkit::edge::Edge;
use testkit::marketplace::Tenant;
use testkit::origin::Origin;
use testkit::stoa::Stoa;
use testkit::wait;

use crate::crowd::Crowd;
use crate::installation::{Acme, Apart, WithApp, acme_config, connect};

/// Apps with a certificate of their own.
const APPS: usize = 20;

/// Everything of the database, its log included.
fn drop_database(stoa: &Stoa) -> Result<()> {
    for name in ["stoa.db", "stoa.db-wal", "stoa.db-shm"] {
        let path = stoa.data().join(name);
        if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

async fn stoa(line: &[&str], of: &Stoa) -> Result<Said> {
    let mut command = std::process::Command::new(binary()?);
    command.args(line).arg("--config").arg(of.config());
    run_command(command).await
}

async fn rebuilt(of: &Stoa, from: &Path, more: &[&str]) -> Result<String> {
    let from = from.display().to_string();
    let line = [&["store", "rebuild", "--from", from.as_str()], more].concat();
    let said = stoa(&line, of).await?;
    ensure!(said.code == Some(0), "{said:?}");
    Ok(said.output)
}

/// What is listed at a path of the API, page after page, by a field.
async fn listed(of: &Stoa, path: &str, field: &str) -> Result<Vec<String>> {
    let (api, mut all, mut cursor) = (of.api()?, Vec::new(), String::new());
    loop {
        let page: Value = api.get(&format!("{path}?limit=200{cursor}")).await?.ok()?;
        let rows = page["data"].as_array().context("a list")?;
        all.extend(rows.iter().map(|row| row[field].to_string()));
        match page["pagination"]["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    all.sort();
    Ok(all)
}

async fn serial(edge: &Edge, host: &str) -> Result<String> {
    edge.tls()?.handshake(edge.https, host).await?.serial()
}

/// Apps with certificates of their own: host, and the serial that the edge shows.
async fn uploads(
    tenant: &Tenant,
    origin: &Origin,
    (authority, edge): (&Authority, &Edge),
) -> Result<Vec<(String, String)>> {
    let mut served = Vec::new();
    for number in 0..APPS {
        let app = tenant.app(&format!("shop-{number}"), &[origin]).await?;
        let issued = authority.issue(&[app.hostname.as_str()])?;
        app.upload(&issued.chain_pem, &issued.key_pem).await?.ok()?;
        let look = async || serial(edge, &app.hostname).await;
        served.push((app.hostname.clone(), wait::until("the upload at the edge", wait::LONG, look).await?));
    }
    Ok(served)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_serves_through_the_loss_and_drops_nothing_when_the_store_is_back() -> Result<()> {
    let mut apart = Apart::start("", "").await?;
    // The local authority is lost with the store; its certificates are served on, for those who trust it.
    let roots = tempfile::NamedTempFile::new()?;
    std::fs::copy(apart.control.data().join("ca.pem"), roots.path())?;
    apart.visited = apart.visited.trusting(roots.path().to_owned());
    let (origin, authority) = (Origin::start("one").await?, Authority::new()?);
    let tenant = apart.tenant("ann").await?;
    tenant.unlimited().await?;
    let app = tenant.app("shop", &[&origin]).await?;
    app.live().await?;
    let uploaded = tempfile::NamedTempFile::new()?;
    std::fs::write(uploaded.path(), authority.pem())?;
    let edge = apart.visited.trusting(uploaded.path().to_owned());
    let served = uploads(&tenant, &origin, (&authority, &edge)).await?;
    let all_serve = async |edge: &Edge| {
        for (host, known) in &served {
            ensure!(serial(edge, host).await? == *known, "{host} has another certificate");
        }
        anyhow::Ok(())
    };
    let certificates = listed(&apart.control, "/certificates", "id").await?;
    let crowd = Crowd::gather(&apart.visited, &app.hostname)?;
    crowd.come().await?;
    ensure!(apart.control.stop().await?.success());
    drop_database(&apart.control)?;
    let refused = stoa(&["run", "--role", "control"], &apart.control).await?;
    ensure!(refused.code == Some(1) && refused.errors.contains("stoa store rebuild --from"), "{refused:?}");
    crowd.come().await?;
    all_serve(&edge).await?;

    let secret = tempfile::NamedTempFile::new()?;
    std::fs::write(secret.path(), &apart.secret)?;
    let told = rebuilt(
        &apart.control,
        apart.edge.data(),
        &["--edge-key-file", &secret.path().display().to_string()],
    )
    .await?;
    ensure!(told.contains(&format!("{} apps", APPS + 1)) && !told.contains("left out"), "{told}");
    ensure!(told.contains("lost: API keys"), "{told}");
    let again =
        stoa(&["store", "rebuild", "--from", &apart.edge.data().display().to_string()], &apart.control)
            .await?;
    ensure!(again.code == Some(1), "a store that is not empty is left alone: {again:?}");
    apart.control.start_again().await?;
    // With the operator's own key, which was in no replica but in its file.
    let kept = listed(&apart.control, "/certificates", "id").await?;
    ensure!(certificates.iter().all(|id| kept.contains(id)), "{kept:?} lacks some of {certificates:?}");
    ensure!(
        listed(&apart.control, "/certificates", "source")
            .await?
            .iter()
            .filter(|it| *it == "\"upload\"")
            .count()
            == APPS
    );
    // The edge follows the new log, and has taken all of it.
    apart.tenant("bob").await?.app("new", &[&origin]).await?.live().await?;
    crowd.come().await?;
    all_serve(&edge).await?;
    crowd.leave().await?;
    apart.edge.kill9();
    apart.edge.start_again().await?;
    all_serve(&edge).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_ordered_is_not_ordered_again() -> Result<()> {
    let (acme, mut installed) = Acme::start(None).await?;
    let domain = installed.app.domain("shop.example.test").await?;
    connect(&acme.dns, &domain).await?;
    domain.until("live", wait::LONG).await?;
    let edge = acme.edge(&installed.stoa);
    let before = serial(&edge, &domain.hostname).await?;
    let orders = |stoa: &Stoa| stoa.log().matches("order was begun").count();
    let (ordered, known) = (orders(&installed.stoa), listed(&installed.stoa, "/certificates", "id").await?);
    ensure!(installed.stoa.stop().await?.success());
    drop_database(&installed.stoa)?;
    rebuilt(&installed.stoa, &installed.stoa.data().join("edge.replica"), &[]).await?;
    installed.stoa.start_again().await?;
    let look = async || {
        let found = installed.stoa.api()?.get(&format!("/domains/{}", domain.id)).await?.ok()?;
        ensure!(found["status"] == "live" && found["details"]["checked_at"].is_string(), "{found}");
        Ok(())
    };
    wait::until("a look at the domain", wait::LONG, look).await?;
    ensure!(serial(&edge, &domain.hostname).await? == before);
    ensure!(orders(&installed.stoa) == ordered, "{} orders, were {ordered}", orders(&installed.stoa));
    let kept = listed(&installed.stoa, "/certificates", "id").await?;
    ensure!(known.iter().all(|id| kept.contains(id)), "{kept:?} lacks some of {known:?}");
    Ok(())
}

/// The edge was told from whom a certificate was ordered: that authority is asked when to renew it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_of_a_certificate_is_not_lost_with_the_store() -> Result<()> {
    let (dns, ca) = (ChallTestSrv::start().await?, Ca::start(ca::Options::default()).await?);
    // With another one besides there is nothing to guess.
    let other = "[[acme.fallback]]\ndirectory = \"https://localhost:1/dir\"\n";
    let config = acme_config(&ca.directory_url, &ca.ca_file, &dns).replace("[dns]", &format!("{other}[dns]"));
    let mut installed = WithApp::over(Stoa::builder().config(&config).start().await?).await?;
    let domain = installed.app.domain("shop.example.test").await?;
    connect(&dns, &domain).await?;
    domain.until("live", wait::LONG).await?;
    let questions = || ca.counts().of(Kind::RenewalInfo);
    let asked_after = async |before: u64| {
        let now = questions();
        ensure!(now > before, "{now} questions");
        Ok(now)
    };
    let asked = wait::until("a question", wait::LONG, async || asked_after(0).await).await?;
    ensure!(installed.stoa.stop().await?.success());
    drop_database(&installed.stoa)?;
    rebuilt(&installed.stoa, &installed.stoa.data().join("edge.replica"), &[]).await?;
    installed.stoa.start_again().await?;
    wait::until("another question", wait::LONG, async || asked_after(asked).await).await?;
    ensure!(ca.counts().orders == 1, "{:?}", ca.counts());
    Ok(())
}
