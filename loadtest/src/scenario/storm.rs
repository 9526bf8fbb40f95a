//! A storm of changes: a thousand a second while visitors are served.
//!
//! An edge with 10,000 names that runs apart follows this program's feed, which tells it what the store would: a
//! third of the changes make an app, a third change one, a third delete one. Deliberately not through the API: a
//! change is a transaction with its audit event there, and the database is what would be measured. Good
//! traffic runs at a fixed rate, by turns calm and in the storm. All the while one more app is changed, and asked
//! for until its answer shows it: that is the time until a change is live, with the feed, the edge's replica and
//! one request in it. The run fails if a request does.

mod apps;
mod watcher;

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use model::change::Object;
use model::site::Site;
use tokio::sync::watch;

use super::market::{LINEAGE, Market, Share};
use crate::Effort;
use crate::control::Control;
use crate::edge::{self, Edge};
use crate::figure::{Report, number, percentile};
use crate::good::{Good, Seen};
use crate::machine;
use crate::peer::{HOST, Nginx};
use crate::visitors::Place;
use apps::Storm;
use watcher::{WATCHED, Watcher};

/// Which core the edge has; everything else has the last one.
const EDGE_CORE: usize = 0;

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    if !Good::is_possible(report) {
        return Ok(());
    }
    let (count, rounds, seconds) = if effort.quick { (1_000, 2, 3) } else { (10_000, 5, 6) };
    let folder = tempfile::tempdir()?;
    let core = machine::cores().saturating_sub(1);
    let backend = Nginx::backend(folder.path(), core).await?;
    let mut market = tokio::task::spawn_blocking(move || Market::make(count)).await??;
    market.add(HOST, "bench", backend.port)?;
    let watched = market.site(WATCHED, "watched", backend.port)?;
    let field = Field::open(&market, watched, folder.path(), core).await?;
    machine::stay_on(core)?;
    field.measure(2, true).await?; // warm: connections, caches, branch predictors
    let (mut calm, mut storm) = (Stretch::default(), Stretch::default());
    for _ in 0..rounds {
        calm.add(field.measure(seconds, false).await?);
        storm.add(field.measure(seconds, true).await?);
    }
    let rate = number(storm.changes) / storm.seconds;
    report.add("stoa", "changes", rate, "1/s");
    let busier = (storm.good.percent_of_core() - calm.good.percent_of_core()) / 100.0;
    report.add("stoa", "cpu_per_change", busier * 1e6 / rate, "µs");
    for (name, stretch) in [("calm", &mut calm), ("storm", &mut storm)] {
        for percent in [50, 99, 100] {
            let live = percentile(&mut stretch.live, percent);
            report.add("stoa", &format!("change_live_p{percent}_{name}"), live, "ms");
        }
        stretch.good.tell("stoa", name, report);
    }
    let failed = calm.good.failed() + storm.good.failed();
    ensure!(failed == 0, "{failed} requests failed");
    Ok(())
}

/// What runs.
struct Field {
    control: Arc<Control>,
    good: Good,
    watcher: Watcher,
    /// What the apps of the storm look like.
    pattern: Site,
    _edge: Edge,
}

/// What was seen, calm or in the storm.
#[derive(Default)]
struct Stretch {
    good: Seen,
    /// Milliseconds until each change of the watched app was live.
    live: Vec<f64>,
    /// Changes of the storm, and how long it raged.
    changes: usize,
    seconds: f64,
}

impl Stretch {
    fn add(&mut self, other: Self) {
        self.good.add(other.good);
        self.live.extend(other.live);
        self.changes += other.changes;
        self.seconds += other.seconds;
    }
}

impl Field {
    async fn open(market: &Market, watched: Site, folder: &Path, core: usize) -> anyhow::Result<Self> {
        let head = market.write(&edge::replica(folder), Share::CertificatesAndSites)?;
        let control = Arc::new(Control::start(LINEAGE, head).await?);
        control.put(Object::Certificate(market.certificate(WATCHED)?));
        let edge = Edge::following(folder, EDGE_CORE, control.port).await?;
        let roots = &market.authority_pem;
        let good = Good::at(Place::new(HOST, edge.https, roots.as_bytes())?, edge.process.id(), folder, core);
        let pattern = watched.clone();
        let watcher = Watcher::new(&control, watched, &edge, roots).await?;
        Ok(Self { control, good, watcher, pattern, _edge: edge })
    }

    /// So many seconds of good traffic, calm or in a storm.
    async fn measure(&self, seconds: u32, is_stormy: bool) -> anyhow::Result<Stretch> {
        let over = watch::Sender::new(false);
        let watching = tokio::spawn(self.watcher.clone().watch(over.subscribe()));
        let storm = is_stormy.then(|| Storm::new(Arc::clone(&self.control), self.pattern.clone()));
        let raging = storm.map(|storm| tokio::spawn(storm.rage(over.subscribe())));
        let mut stretch = Stretch::default();
        let good = self.good.measure(seconds, &mut stretch.good).await;
        over.send_replace(true);
        stretch.live = watching.await??;
        if let Some(raging) = raging {
            (stretch.changes, stretch.seconds) = raging.await??;
        }
        good.map(|()| stretch)
    }
}
