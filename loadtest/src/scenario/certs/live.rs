//! New certificates for an edge that has many and serves: how long each takes until a handshake shows it, and what
//! good traffic feels. Told through the feed, as the store tells what was uploaded or issued.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use model::change::Object;
use tokio::time::{Instant, sleep, timeout};

use super::super::market::{LINEAGE, Market, Share};
use crate::Effort;
use crate::control::Control;
use crate::edge::{self, Edge};
use crate::figure::{Report, percentile};
use crate::good::{Good, Seen};
use crate::machine;
use crate::peer::{HOST, Nginx};
use crate::visitors::Place;

/// Between two certificates.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two handshakes for a name that may not be there yet.
const LOOK: Duration = Duration::from_millis(1);
/// A certificate that is not live by then never will be.
const LONGEST: Duration = Duration::from_secs(20);

/// Runs it for a market that is known no more afterwards.
///
/// # Errors
/// A certificate never was live, or a request failed.
pub(super) async fn run(market: Arc<Market>, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    if !Good::is_possible(report) {
        return Ok(());
    }
    let (count, seconds) = if effort.quick { (50, 2) } else { (300, 8) };
    let (folder, core) = (tempfile::tempdir()?, machine::cores().saturating_sub(1));
    let backend = Nginx::backend(folder.path(), core).await?;
    let head = market.write(&edge::replica(folder.path()), Share::CertificatesAndSites)?;
    let control = Control::start(LINEAGE, head).await?;
    let tenant_site = market.site(HOST, "bench", backend.port)?;
    control.put(Object::Site(Box::new(tenant_site)));
    control.put(Object::Certificate(market.certificate(HOST)?));
    let edge = Edge::following(folder.path(), 0, control.port).await?;
    let config = Arc::new(super::client(&market.authority)?);
    until_live(&config, edge.https, HOST).await?;
    let place = Place::new(HOST, edge.https, market.authority_pem.as_bytes())?;
    let good = Good::at(place, edge.process.id(), folder.path(), core);
    machine::stay_on(core)?;
    good.measure(1, &mut Seen::default()).await?; // warm: connections, caches, branch predictors
    let telling = tokio::spawn(async move {
        let mut taken = Vec::with_capacity(count);
        for at in 0..count {
            let name = format!("new-{at}.example.com");
            let certificate = market.certificate(&name)?;
            let told = Instant::now();
            control.put(Object::Certificate(certificate));
            until_live(&config, edge.https, &name).await?;
            taken.push(told.elapsed().as_secs_f64() * 1e3);
            sleep(PAUSE).await;
        }
        anyhow::Ok((taken, edge))
    });
    let mut seen = Seen::default();
    good.measure(seconds, &mut seen).await?;
    let (mut taken, _edge) = telling.await??;
    for percent in [50, 99, 100] {
        let live = percentile(&mut taken, percent);
        report.add("stoa", &format!("certificate_live_p{percent}"), live, "ms");
    }
    seen.tell("stoa", "while_new", report);
    ensure!(seen.failed() == 0, "{} requests failed", seen.failed());
    Ok(())
}

/// Returns with the first handshake for `name` that is done.
async fn until_live(config: &Arc<rustls::ClientConfig>, port: u16, name: &str) -> anyhow::Result<()> {
    let live = async {
        loop {
            let (config, name) = (Arc::clone(config), name.to_owned());
            if tokio::task::spawn_blocking(move || super::handshake(&config, port, &name)).await?.is_ok() {
                return anyhow::Ok(());
            }
            sleep(LOOK).await;
        }
    };
    timeout(LONGEST, live).await.with_context(|| format!("the certificate for {name} is not live"))?
}
