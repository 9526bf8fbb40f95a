//! What cannot be meant: each gives one clear error that names the value and what to do, and loses nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testkit::authority::Authority;
use testkit::command::{Said, run, run_command};
use testkit::dns::ChallTestSrv;
use testkit::impostor::Impostor;
use testkit::ports::Port;
use testkit::stoa::Stoa;
use tokio::net::TcpListener;

use crate::installation::{WithApp, acme_config, connect};

/// Exit code of a configuration that is not valid.
const INVALID: Option<i32> = Some(2);

/// A lookup, an order that fails, and some.
const BOUND: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_configuration_that_cannot_be_meant_is_refused_with_line_and_column() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (text, names, place) in [
        ("data = \"x\"\n[edge]\nhtps = []\n", "htps", "3:1"),
        ("[edge]\nworkers = \"many\"\n", "edge.workers", "2:11"),
        ("[edge]\nhttp = [\"nowhere\"]\n", "nowhere", "2:9"),
        ("[edge]\nzones = [\"-bad-.localhost\"]\n", "-bad-", "2:10"),
        ("[acme]\ndirectory = \"not a url\"\n", "not a url", "2:13"),
        ("[edge\n", "stoa.toml", "1:"),
    ] {
        std::fs::write(dir.path().join("stoa.toml"), text)?;
        for verb in ["check", "up"] {
            let said = run(&[verb, "--config", "stoa.toml"], dir.path()).await?;
            is_clear(&said, &[names, place]).with_context(|| format!("stoa {verb}:\n{text}"))?;
            assert!(verb == "up" || said.code == INVALID, "{said:?}");
        }
    }
    assert!(!dir.path().join("stoa-data").exists() && !dir.path().join("x").exists(), "something was made");
    Ok(())
}

#[tokio::test]
async fn a_sound_configuration_passes_the_check() -> Result<()> {
    let stoa = Stoa::builder().prepare()?;
    let config = stoa.config().display().to_string();
    let said = run(&["check", "--config", &config], Path::new("/")).await?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!stoa.data().exists());
    Ok(())
}

#[tokio::test]
async fn a_configuration_or_data_directory_that_cannot_be_read_is_named() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let said = run(&["check", "--config", "missing.toml"], dir.path()).await?;
    is_clear(&said, &["missing.toml"])?;
    std::fs::write(dir.path().join("file"), "kept")?;
    let stoa = Stoa::builder().data(&dir.path().join("file/data")).prepare()?;
    is_clear(&run_command(stoa.command()?).await?, &["file/data"])?;
    assert_eq!(std::fs::read_to_string(dir.path().join("file"))?, "kept");
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_named() -> Result<()> {
    let port = Port::lease()?;
    let _taken = TcpListener::bind(port.address()).await?;
    for setting in
        ["[edge]\nhttps = [\"ADDRESS\"]", "[api]\nlisten = \"ADDRESS\"", "[edge]\nmetrics = \"ADDRESS\""]
    {
        let address = port.address().to_string();
        let stoa = Stoa::builder().config(&setting.replace("ADDRESS", &address)).prepare()?;
        is_clear(&run_command(stoa.command()?).await?, &[&address]).context(setting)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_corrupt_store_is_named_and_left_as_it_is() -> Result<()> {
    let mut stoa = Stoa::start().await?;
    stoa.stop().await?;
    let file = stoa.data().join("stoa.db");
    let garbage = "this is no database ".repeat(1_000);
    for log in ["stoa.db-wal", "stoa.db-shm"] {
        std::fs::remove_file(stoa.data().join(log)).ok();
    }
    std::fs::write(&file, &garbage)?;
    is_clear(&run_command(stoa.command()?).await?, &["stoa.db"])?;
    assert_eq!(std::fs::read_to_string(&file)?, garbage);
    Ok(())
}

#[tokio::test]
async fn a_corrupt_replica_is_fetched_anew() -> Result<()> {
    let WithApp { mut stoa, app, origin: _origin, .. } = WithApp::start().await?;
    stoa.stop().await?;
    let mut corrupted = 0;
    for entry in std::fs::read_dir(stoa.data())? {
        let path = entry?.path();
        if path.is_file() && path.display().to_string().contains("replica") {
            let mut bytes = std::fs::read(&path)?;
            bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
            std::fs::write(&path, bytes)?;
            corrupted += 1;
        }
    }
    ensure!(corrupted > 0, "no replica in {}", stoa.data().display());
    stoa.start_again().await?;
    app.live().await?;
    assert!(stoa.log().contains("replica"), "{}", stoa.log());
    Ok(())
}

#[tokio::test]
async fn an_acme_directory_that_is_down_or_no_directory_is_our_problem_and_stops_nothing() -> Result<()> {
    let (dns, impostor, closed) = (ChallTestSrv::start().await?, Impostor::start().await?, Port::lease()?);
    let down = format!("https://localhost:{}/dir", closed.number());
    for directory in [&down, &impostor.url] {
        let config = acme_config(directory, &impostor.ca_file, &dns);
        let stoa = Stoa::builder().config(&config).start().await?;
        let WithApp { mut stoa, app, origin: _origin, .. } = WithApp::over(stoa).await?;
        let domain = app.domain("shop.example.test").await?;
        connect(&dns, &domain).await?;
        let state = domain.until("our_problem", BOUND).await.context(directory.clone())?;
        assert_eq!(state["next_action"]["who"], "us", "{state}");
        app.live().await?;
        assert!(stoa.is_running()?);
        dns.clear_cname("shop.example.test").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_backend_that_cannot_be_is_refused_by_name() -> Result<()> {
    let WithApp { stoa: _stoa, tenant, app, origin: _origin } = &WithApp::start().await?;
    for url in
        ["127.0.0.1:3000", "ftp://a.test", "http://a.test/path", "http://169.254.169.254", "http://a b"]
    {
        let error = tenant.app_with(json!({ "name": "bad", "backends": [{ "url": url }] })).await;
        let text = error.err().context("it was taken")?.to_string();
        ensure!(text.contains("422") && text.contains(url) && text.contains("/backends/0"), "{url}: {text}");
    }
    app.live().await
}

#[tokio::test]
async fn a_host_name_that_is_none_is_refused_by_name() -> Result<()> {
    let WithApp { stoa: _stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    for host in [
        "a..b",
        "-a.test",
        "a b.test",
        "192.0.2.1",
        "localhost:80",
        "shop.apps.localhost",
        "*.apps.localhost",
    ] {
        let error = app.domain(host).await;
        let text = error.err().context(host)?.to_string();
        ensure!(text.contains("422") && text.contains(host), "{host}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused_and_the_old_one_stays() -> Result<()> {
    let WithApp { stoa, app, origin: _origin, .. } = &WithApp::start().await?;
    let authority = Authority::new()?;
    let (one, two) = (authority.issue(&[&app.hostname])?, authority.issue(&[&app.hostname])?);
    let foreign = authority.issue(&["foreign.example.test"])?;
    for (chain, key, tells) in [
        (&one.chain_pem, &String::new(), "key"),
        (&one.chain_pem, &two.key_pem, "belong"),
        (&one.key_pem, &one.key_pem, "certificate"),
        (&"garbage".to_owned(), &one.key_pem, "certificate"),
        (&foreign.chain_pem, &foreign.key_pem, "foreign.example.test"),
    ] {
        let text = app.upload(chain, key).await?.refused(422)?;
        let leaked = key.lines().filter(|line| line.len() == 64).any(|line| text.contains(line));
        ensure!(text.contains(tells) && !leaked, "{text}");
    }
    let served = stoa.edge().tls()?.handshake(stoa.edge().https, &app.hostname).await?;
    assert!(served.issuer()?.to_ascii_lowercase().contains("stoa"), "{}", served.issuer()?);
    Ok(())
}

/// An error that ends the program: it names each of these, in few lines, and nothing panicked.
fn is_clear(said: &Said, names: &[&str]) -> Result<()> {
    ensure!(said.code.is_some_and(|code| code != 0), "it went on: {said:?}");
    for name in names {
        ensure!(said.errors.contains(name), "no `{name}` in: {said:?}");
    }
    ensure!(!said.errors.contains("panicked") && said.errors.lines().count() <= 8, "unclear: {said:?}");
    Ok(())
}
