//! An operator changes the key that seals every secret, beside visitors who notice nothing.

use anyhow::{Context as _, Result, ensure};
use testkit::command::{Said, binary, run_command};
use testkit::stoa::Stoa;
use testkit::wait;

use crate::crowd::Crowd;
use crate::installation::{Apart, WithApp};

/// `stoa master-key …` on an installation's configuration.
async fn master_key(stoa: &Stoa, arguments: &[&str]) -> Result<Said> {
    let mut command = std::process::Command::new(binary()?);
    command.arg("master-key").args(arguments).arg("--config").arg(stoa.config());
    run_command(command).await
}

async fn done(stoa: &Stoa, arguments: &[&str]) -> Result<String> {
    let said = master_key(stoa, arguments).await?;
    ensure!(said.code == Some(0), "{arguments:?}: {said:?}");
    Ok(said.output)
}

async fn refused(stoa: &Stoa, arguments: &[&str], because: &str) -> Result<()> {
    let said = master_key(stoa, arguments).await?;
    ensure!(said.code == Some(1) && said.errors.contains(because), "{arguments:?}: {said:?}");
    Ok(())
}

/// Lines of `master-key list`: fingerprint, use, values sealed.
async fn listed(stoa: &Stoa) -> Result<Vec<(String, String, u64)>> {
    let lines = done(stoa, &["list"]).await?;
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (key, usage) = (words.next()?, words.next()?);
        Some((key, usage, words.next()?.parse().ok()?))
    };
    Ok(lines.lines().skip(1).filter_map(line).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_master_key_takes_over_beside_visitors_and_the_old_one_goes() -> Result<()> {
    let mut installed = WithApp::start().await?;
    let stoa = &installed.stoa;
    let old = listed(stoa).await?.pop().context("a key")?.0;
    let crowd = Crowd::gather(stoa.edge(), &installed.app.hostname)?;
    crowd.come().await?;
    refused(stoa, &["retire", &old], "seals: add another and rotate first").await?;
    done(stoa, &["add"]).await?;
    done(stoa, &["rotate"]).await?;
    let keys = listed(stoa).await?;
    let new = keys[1].0.clone();
    ensure!(keys[0] == (old.clone(), "opens".to_owned(), 0), "{keys:?}");
    ensure!(keys[1].1 == "seals" && keys[1].2 > 0, "{keys:?}");
    crowd.come().await?;
    done(stoa, &["retire", &old]).await?;
    // What is made from now on is sealed with the new key, by a process that runs.
    installed.tenant.app("other", &[&installed.origin]).await?.live().await?;
    crowd.come().await?;
    crowd.leave().await?;
    let kept = std::fs::read_to_string(stoa.data().join("master-key"))?;
    ensure!(kept.lines().count() == 1 && stoa.data().join("retired-keys").join(&old).is_file());
    installed.stoa.kill9();
    installed.stoa.start_again().await?;
    installed.app.live().await?;
    let keys = listed(&installed.stoa).await?;
    ensure!(keys.len() == 1 && keys[0].0 == new, "{keys:?}");
    let log = installed.stoa.log();
    ensure!(!log.contains("does not open") && !log.contains("cannot be used"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_apart_is_told_nothing_by_another_master_key() -> Result<()> {
    let apart = Apart::start("", "").await?;
    let origin = testkit::origin::Origin::start("one").await?;
    let app = apart.tenant("ann").await?.app("shop", &[&origin]).await?;
    app.live().await?;
    let replica = || Ok::<_, anyhow::Error>(std::fs::metadata(apart.edge.data().join("edge.replica"))?.len());
    let before = replica()?;
    done(&apart.control, &["add"]).await?;
    done(&apart.control, &["rotate"]).await?;
    let old = listed(&apart.control).await?.swap_remove(0).0;
    done(&apart.control, &["retire", &old]).await?;
    app.live().await?;
    ensure!(replica()? == before, "the replica has {} bytes, had {before}", replica()?);
    Ok(())
}

#[tokio::test]
async fn a_retired_key_comes_back_for_a_backup_that_needs_it() -> Result<()> {
    let mut stoa = Stoa::start().await?;
    let old = listed(&stoa).await?.pop().context("a key")?.0;
    ensure!(stoa.stop().await?.success());
    done(&stoa, &["add"]).await?;
    done(&stoa, &["rotate"]).await?;
    done(&stoa, &["retire", &old]).await?;
    let kept = stoa.data().join("retired-keys").join(&old);
    done(&stoa, &["add", "--from", &kept.display().to_string()]).await?;
    done(&stoa, &["rotate"]).await?;
    let keys = listed(&stoa).await?;
    let new = keys[0].0.clone();
    ensure!(keys[1].0 == old && keys[1].2 > 0 && keys[0].2 == 0, "{keys:?}");
    refused(&stoa, &["retire", &old], "seals").await?;
    std::fs::write(stoa.data().join("master-key"), "abc\n")?;
    refused(&stoa, &["list"], "is damaged: restore it from a backup").await?;
    ensure!(!new.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_back_to_the_certificate_before() -> Result<()> {
    let installed = WithApp::start().await?;
    let (stoa, app) = (&installed.stoa, &installed.app);
    let authority = testkit::authority::Authority::new()?;
    let roots = tempfile::NamedTempFile::new()?;
    std::fs::write(roots.path(), authority.pem())?;
    let edge = stoa.edge().trusting(roots.path().to_owned());
    let shows = async |serial: &str| {
        let look = async || {
            let shown = edge.tls()?.handshake(edge.https, &app.hostname).await?.serial()?;
            ensure!(shown == serial, "{shown}, not {serial}");
            Ok(())
        };
        wait::until("the certificate at the edge", wait::LONG, look).await
    };
    let mut serials = Vec::new();
    let mut last = String::new();
    for _ in 0..2 {
        let issued = authority.issue(&[app.hostname.as_str()])?;
        let taken = app.upload(&issued.chain_pem, &issued.key_pem).await?.ok()?;
        serials.push(taken["serial"].as_str().unwrap_or_default().to_owned());
        last = taken["id"].as_str().unwrap_or_default().to_owned();
    }
    shows(&serials[1]).await?;
    let mut command = std::process::Command::new(binary()?);
    command.args(["cert", "roll-back", &last, "--json", "--url"]);
    command.arg(format!("http://{}", stoa.ports().api.address())).env("STOA_KEY", stoa.api()?.key());
    let said = run_command(command).await?;
    ensure!(said.code == Some(0), "{said:?}");
    shows(&serials[0]).await
}
