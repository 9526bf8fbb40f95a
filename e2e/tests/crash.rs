//! kill -9 of the one process at random times, again and again, while visitors ask and creators change.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testkit::api::text;
use testkit::authority::Authority;
use testkit::figures::print;
use testkit::wait;
use tokio::time::{Instant, sleep};

use crate::installation::WithApp;

/// How often the process is killed.
const ROUNDS: usize = 50;

/// Longest life of a process: long enough for requests, changes and usage to be under way.
const LIFE_MILLIS: u64 = 600;

/// What was acknowledged, and must be there ever after.
#[derive(Default)]
struct Acknowledged {
    apps: Vec<String>,
    certificates: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_no_certificate_and_bill_nothing_that_was_not_served() -> Result<()> {
    let mut installed = WithApp::start().await?;
    let (begun, mut acknowledged) = (Instant::now(), Acknowledged::default());
    for round in 0..ROUNDS {
        let visitor = installed.stoa.edge().visitor(&installed.app.hostname)?;
        let load = visitor.load(2);
        change_until_killed(&mut installed, round, &mut acknowledged).await?;
        load.stop().await;
        installed.stoa.start_again().await?;
        nothing_is_lost(&installed, &acknowledged).await?;
    }
    let seconds = begun.elapsed().as_secs_f64() / ROUNDS as f64;
    print("crash", "time_per_round", (seconds * 1e3).round(), "ms");
    usage_is_not_above_what_was_served(&installed).await
}

/// Makes apps and certificates until a random moment.
async fn change_until_killed(installed: &mut WithApp, round: usize, made: &mut Acknowledged) -> Result<()> {
    let life = Duration::from_millis(rand::random_range(0..LIFE_MILLIS));
    let WithApp { tenant, app, .. } = &*installed;
    let authority = Authority::new()?;
    let changes = async {
        for change in 0.. {
            let issued = authority.issue(&[&app.hostname])?;
            let certificate = app.upload(&issued.chain_pem, &issued.key_pem).await?.ok()?;
            made.certificates.push(text(&certificate, "id")?);
            let name = format!("r{round}-{change}");
            made.apps.push(tenant.app_with(json!({ "name": name, "backends": [] })).await?.id);
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::select! {
        changed = changes => changed?,
        () = sleep(life) => {}
    }
    installed.stoa.kill9();
    Ok(())
}

async fn nothing_is_lost(installed: &WithApp, made: &Acknowledged) -> Result<()> {
    let api = installed.stoa.api()?;
    for id in made.apps.iter().rev().take(3) {
        api.get(&format!("/apps/{id}")).await?.ok()?;
    }
    for id in made.certificates.iter().rev().take(3) {
        api.get(&format!("/certificates/{id}")).await?.ok()?;
    }
    let (https, host) = (installed.stoa.edge().https, &installed.app.hostname);
    let served = testkit::tls::Tls::trusting_anyone().handshake(https, host).await?;
    ensure!(served.names()? == [host.as_str()] || made.certificates.is_empty(), "{:?}", served.names());
    Ok(())
}

/// Waits until the journal of usage is in the store: two looks in a row see the same.
async fn usage_is_not_above_what_was_served(installed: &WithApp) -> Result<()> {
    let WithApp { tenant, app, origin, .. } = installed;
    app.live().await?;
    let served = origin.requests();
    let mut before = None;
    let settled = async || {
        let used = tenant.used().await?;
        sleep(Duration::from_millis(1_100)).await;
        ensure!(before.replace(used) == Some(used), "{used:?}");
        Ok(used)
    };
    let used = wait::until("usage to settle", wait::LONG, settled).await?;
    ensure!(used.visitor <= served, "{} requests billed, {served} served", used.visitor);
    ensure!(used.visitor > 0, "nothing was counted");
    print("crash", "usage_counted", (used.visitor as f64 / served as f64 * 1e4).round() / 100.0, "%");
    let events = installed.stoa.api()?.get("/audit-events?limit=1").await?.ok()?;
    ensure!(events["data"].as_array().is_some_and(|events: &Vec<Value>| !events.is_empty()), "{events}");
    Ok(())
}
