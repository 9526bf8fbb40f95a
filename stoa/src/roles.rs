//! The three ways to run: everything in one process, the control plane alone, an edge alone.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use api::StoreOrigin;
use config::Settings;
use feed::http::HttpOrigin;
use model::clock::SystemClock;
use model::host::Host;
use model::seal::SealingKey;

use crate::command::Origin;
use crate::data::DataDirectory;
use crate::edge::{self, Plan};
use crate::running::Running;
use crate::seed::{self, Demo};
use crate::shutdown::{self, Signals};
use crate::succession::{End, Gift, Heritage, Predecessor, Reign};
use crate::{control, files, log, names, notify, settings as part};

/// `stoa up`: everything in this process.
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) async fn up(settings: Settings, store: Origin, mut heritage: Heritage) -> anyhow::Result<()> {
    let (signals, data) = begin(&settings, &mut heritage)?;
    let control = control::open(&settings, &data, Arc::new(SystemClock), &mut heritage).await?;
    control.note_origin(store_of(store, &heritage)).await?;
    let demo = seed::start(&control.store, &data.file("demo-ports"), &mut heritage).await?;
    let key = control.edge_key()?;
    let plan = Plan {
        settings: part::proxy(&settings),
        key: key.clone(),
        older: control.master().keys(),
        origin: Arc::new(StoreOrigin::new(control.store.clone()).sealed_for(key, control.master().clone())),
        resolver: names::resolver(&settings),
        clock: Arc::new(SystemClock),
    };
    let api = control.api_address()?;
    let control = control.prepare(part::certd(&settings, part::probe(&settings.edge.https))).await?;
    let edge = edge::start(plan, &data, &mut heritage).await?;
    let control = control.start()?;
    if !heritage.is_succession() {
        edge.synced(&signals.shutdown).await;
        announce(&settings, demo.as_ref().map(|demo| &demo.host), &format!("http://{api}"));
    }
    let gifts = || {
        let demo = demo.as_ref().map_or_else(|| Ok(Vec::new()), Demo::gifts)?;
        Ok([edge.gifts()?, control.gifts()?, demo, lock(&data)?].into_iter().flatten().collect())
    };
    let reign = Reign::begin(&signals, settings.reload)?;
    if let Some(predecessor) = settle(heritage, &settings, &data) {
        control.watch_until_gone(predecessor);
    }
    let end = reign.end(gifts).await;
    let ending = async {
        match end {
            End::Stopped => {
                edge.drain().await;
                control.stop().await;
            }
            End::Succeeded => {
                demo.into_iter().for_each(Demo::retire);
                let (store, ()) = tokio::join!(control.retire(), edge.hand_over(&signals.shutdown));
                store.close().await;
            }
        }
    };
    signals.unless_cut(ending).await;
    Ok(())
}

/// `stoa run --role control`
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) async fn control(settings: Settings, store: Origin, mut heritage: Heritage) -> anyhow::Result<()> {
    let (signals, data) = begin(&settings, &mut heritage)?;
    let control = control::open(&settings, &data, Arc::new(SystemClock), &mut heritage).await?;
    control.note_origin(store_of(store, &heritage)).await?;
    let api = control.api_address()?;
    let control = control.prepare(part::certd(&settings, None)).await?.start()?;
    println!("control plane: API at http://{api}/v1");
    let reign = Reign::begin(&signals, settings.reload)?;
    if let Some(predecessor) = settle(heritage, &settings, &data) {
        control.watch_until_gone(predecessor);
    }
    reign.end(|| Ok([control.gifts()?, lock(&data)?].into_iter().flatten().collect())).await;
    signals.unless_cut(control.stop()).await;
    Ok(())
}

/// `stoa run --role edge`
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) async fn edge(settings: Settings, mut heritage: Heritage) -> anyhow::Result<()> {
    let (signals, data) = begin(&settings, &mut heritage)?;
    let control = settings.control.as_ref().context("an edge needs [control]")?;
    let authority = control.ca_file.as_deref().map(read).transpose()?;
    let origin = HttpOrigin::new(&control.url, control.key.clone(), authority)?;
    let plan = Plan {
        settings: part::proxy(&settings),
        key: SealingKey::derive(control.key.reveal().as_bytes(), model::seal::EDGE_FEED_PURPOSE)?,
        older: Vec::new(),
        origin: Arc::new(origin),
        resolver: names::resolver(&settings),
        clock: Arc::new(SystemClock),
    };
    let edge = edge::start(plan, &data, &mut heritage).await?;
    println!("edge: serves what {} tells it", control.url);
    let reign = Reign::begin(&signals, settings.reload)?;
    settle(heritage, &settings, &data);
    let end = reign.end(|| Ok([edge.gifts()?, lock(&data)?].into_iter().flatten().collect())).await;
    let ending = async {
        match end {
            End::Stopped => edge.drain().await,
            End::Succeeded => edge.hand_over(&signals.shutdown).await,
        }
    };
    signals.unless_cut(ending).await;
    Ok(())
}

/// What every role begins with.
fn begin(settings: &Settings, heritage: &mut Heritage) -> anyhow::Result<(Signals, DataDirectory)> {
    log::begin(&settings.log)?;
    let signals = shutdown::listen()?;
    heritage.check(settings)?;
    if heritage.is_succession() {
        Running::of(settings)?.check_succession(&settings.data)?;
    }
    files::raise_limit(settings.edge.max_connections);
    let data = DataDirectory::hold(&settings.data, heritage.lock.take())?;
    Ok((signals, data))
}

/// A store is restored once, not again with each process that takes over.
fn store_of(store: Origin, heritage: &Heritage) -> Origin {
    if heritage.is_succession() { Origin::Own } else { store }
}

/// The process serves: tells the one before, which is in charge no more, or systemd.
fn settle(heritage: Heritage, settings: &Settings, data: &DataDirectory) -> Option<Predecessor> {
    // The process last: whoever knows which one is in charge finds its settings.
    let noted =
        Running::of(settings).and_then(|running| running.note(data)).and_then(|()| data.note_process());
    if let Err(error) = noted {
        tracing::warn!(%error, "the data directory does not tell which process is in charge, and with which settings");
    }
    tokio::spawn(notify::stay_alive());
    let predecessor = heritage.predecessor();
    match &predecessor {
        Some(predecessor) => {
            predecessor.tell_ready();
            tracing::info!("took the place of the process before");
        }
        None => notify::ready("serving"),
    }
    predecessor
}

fn lock(data: &DataDirectory) -> anyhow::Result<Vec<Gift>> {
    Ok(vec![Gift { name: "lock".to_owned(), fd: data.lock()?.into() }])
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Says where everything is, and one line to try.
fn announce(settings: &Settings, demo: Option<&Host>, api: &str) {
    let data = settings.data.display();
    println!("data     {data}");
    println!("API      {api}/v1");
    // For whoever starts it by hand; the file has it for programs, and nobody else may read that.
    if let Ok(key) = std::fs::read_to_string(settings.data.join("platform-key")) {
        println!("key      {}", key.trim());
    }
    println!("metrics  http://{}/metrics", settings.edge.metrics);
    for zone in &settings.edge.zones {
        println!("apps     https://<app>.{zone}:{}", settings.edge.public_https_port);
    }
    if let Some(host) = demo {
        let url = format!("https://{host}:{}/", settings.edge.public_https_port);
        println!("demo     {url}");
        println!("try      curl --cacert {data}/ca.pem {url}");
    }
    println!("browser  stoa trust, then open the demo");
}
