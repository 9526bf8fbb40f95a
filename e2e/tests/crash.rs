//! kill -9 of the one process at random times, again and again, while visitors ask and creators change.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tempfile::TempDir;
use testkit::api::text;
use testkit::authority::Authority;
use testkit::edge::Edge;
use testkit::figures::print;
use testkit::stoa::Stoa;
use testkit::tls::Tls;
use testkit::wait;
use tokio::time::{Instant, sleep};

use crate::installation::WithApp;

/// How often the process is killed.
const ROUNDS: usize = 50;

/// Longest life of a process: beyond the second after which usage must be safe.
const LIFE_MILLIS: u64 = 1_400;

/// A tenant may have a thousand.
const APPS_PER_ROUND: usize = 15;

/// Changes of the rounds before that are looked for after each kill; all are at the end.
const LOOKED_FOR: usize = 3;

/// An installation in trouble, and what it acknowledged.
struct Ordeal {
    installed: WithApp,
    /// For visitors who trust the local authority and the creator's.
    edge: Edge,
    creators: Authority,
    /// Paths that must answer ever after.
    acknowledged: Vec<String>,
    /// The creator's certificates in the order of their uploads; from `kept` on they may be served.
    leaves: Vec<CertificateDer<'static>>,
    kept: usize,
    _dir: TempDir,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_no_certificate_and_bill_nothing_that_was_not_served() -> Result<()> {
    let mut ordeal = Ordeal::start().await?;
    ordeal.upload().await?;
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let load = ordeal.edge.visitor(&ordeal.installed.app.hostname)?.load(2);
        ordeal.change_until_killed(round).await?;
        load.stop().await;
        ordeal.installed.stoa.start_again().await.with_context(|| format!("after {round} kills"))?;
        ordeal.nothing_is_lost(LOOKED_FOR).await?;
    }
    let millis = begun.elapsed().as_secs_f64() * 1e3 / ROUNDS as f64;
    print("crash", "time_per_round", millis.round(), "ms");
    ordeal.nothing_is_lost(usize::MAX).await?;
    ordeal.usage_is_not_above_what_was_served().await
}

impl Ordeal {
    async fn start() -> Result<Self> {
        let (stoa, creators, dir) = (Stoa::start().await?, Authority::new()?, tempfile::tempdir()?);
        let roots = dir.path().join("roots.pem");
        std::fs::write(&roots, format!("{}{}", stoa.edge().roots_pem()?, creators.pem()))?;
        let edge = stoa.edge().trusting(roots);
        let installed = WithApp::visited(stoa, edge.clone()).await?;
        let (acknowledged, leaves) = (Vec::new(), Vec::new());
        Ok(Self { installed, edge, creators, acknowledged, leaves, kept: 0, _dir: dir })
    }

    /// A new certificate for the app.
    async fn upload(&mut self) -> Result<()> {
        let issued = self.creators.issue(&[&self.installed.app.hostname])?;
        self.leaves.push(issued.der);
        let taken = self.installed.app.upload(&issued.chain_pem, &issued.key_pem).await?.ok()?;
        self.acknowledged.push(format!("/certificates/{}", text(&taken, "id")?));
        self.kept = self.leaves.len() - 1;
        Ok(())
    }

    /// Makes apps and certificates until a random moment.
    async fn change_until_killed(&mut self, round: usize) -> Result<()> {
        let life = Duration::from_millis(rand::random_range(0..LIFE_MILLIS));
        let changes = async {
            for change in 0.. {
                self.upload().await?;
                if change >= APPS_PER_ROUND {
                    continue;
                }
                let app = json!({ "name": format!("r{round}-{change}"), "backends": [] });
                let made = self.installed.tenant.app_with(app).await?;
                self.acknowledged.push(made.path(""));
            }
            Ok::<_, anyhow::Error>(())
        };
        tokio::select! {
            changed = changes => changed?,
            () = sleep(life) => {}
        }
        self.installed.stoa.kill9();
        Ok(())
    }

    /// Everything acknowledged is there, and the app is served at once with a certificate that visitors trust:
    /// first the replica's, then the newest that was acknowledged, or one that was on its way.
    async fn nothing_is_lost(&self, newest: usize) -> Result<()> {
        let api = self.installed.stoa.api()?;
        for path in self.acknowledged.iter().rev().take(newest) {
            api.get(path).await?.ok()?;
        }
        let (https, host) = (self.edge.https, &self.installed.app.hostname);
        ensure!(self.edge.visitor(host)?.get("/").await? == "one", "another app answers");
        let newest = async || {
            let served = Tls::trusting_anyone().handshake(https, host).await?;
            ensure!(self.leaves[self.kept..].contains(&served.leaf), "{:?} is served", served.serial());
            Ok(())
        };
        wait::until("the newest certificate", wait::LONG, newest).await
    }

    /// Waits until the journal of usage is in the store: two looks in a row see the same.
    async fn usage_is_not_above_what_was_served(&self) -> Result<()> {
        let WithApp { tenant, origin, .. } = &self.installed;
        let mut before = None;
        let settled = async || {
            let used = tenant.used().await?;
            sleep(Duration::from_millis(1_100)).await;
            ensure!(before.replace(used) == Some(used), "{used:?}");
            Ok(used.visitor)
        };
        let (counted, served) =
            (wait::until("usage to settle", wait::LONG, settled).await?, origin.requests());
        ensure!(counted <= served, "{counted} requests billed, {served} served");
        ensure!(counted > 0, "nothing was counted");
        print("crash", "usage_counted", (counted as f64 / served as f64 * 1e4).round() / 100.0, "%");
        Ok(())
    }
}
