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
use crate::{control, log, seed, settings as part, shutdown};

/// `stoa up`: everything in this process.
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) async fn up(settings: Settings, store: Origin) -> anyhow::Result<()> {
    log::begin(&settings.log)?;
    let shutdown = shutdown::listen()?;
    let data = DataDirectory::hold(&settings.data)?;
    let control = control::open(&settings, &data, Arc::new(SystemClock)).await?;
    control.note_origin(store).await?;
    let demo = seed::start(&control.store, &data.file("demo-ports")).await?;
    let plan = Plan {
        settings: part::proxy(&settings),
        key: control.master().clone(),
        origin: Arc::new(StoreOrigin::new(control.store.clone())),
        clock: Arc::new(SystemClock),
    };
    let api = control.api_address()?;
    let control = control.start(part::certd(&settings, part::probe(&settings.edge.https))).await?;
    let edge = edge::start(plan, &data).await?;
    edge.synced(&shutdown).await;
    announce(&settings, demo.as_ref(), &format!("http://{api}"));
    shutdown::wait(&shutdown).await;
    edge.drain().await;
    control.stop().await;
    Ok(())
}

/// `stoa run --role control`
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) async fn control(settings: Settings, store: Origin) -> anyhow::Result<()> {
    log::begin(&settings.log)?;
    let shutdown = shutdown::listen()?;
    let data = DataDirectory::hold(&settings.data)?;
    let control = control::open(&settings, &data, Arc::new(SystemClock)).await?;
    control.note_origin(store).await?;
    let api = control.api_address()?;
    let control = control.start(part::certd(&settings, None)).await?;
    println!("control plane: API at http://{api}/v1");
    shutdown::wait(&shutdown).await;
    control.stop().await;
    Ok(())
}

/// `stoa run --role edge`
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) async fn edge(settings: Settings) -> anyhow::Result<()> {
    log::begin(&settings.log)?;
    let shutdown = shutdown::listen()?;
    let data = DataDirectory::hold(&settings.data)?;
    let control = settings.control.as_ref().context("an edge needs [control]")?;
    let authority = control.ca_file.as_deref().map(read).transpose()?;
    let origin = HttpOrigin::new(&control.url, control.key.clone(), authority)?;
    let plan = Plan {
        settings: part::proxy(&settings),
        key: SealingKey::derive(control.key.reveal().as_bytes(), model::seal::EDGE_FEED_PURPOSE)?,
        origin: Arc::new(origin),
        clock: Arc::new(SystemClock),
    };
    let edge = edge::start(plan, &data).await?;
    println!("edge: serves what {} tells it", control.url);
    shutdown::wait(&shutdown).await;
    edge.drain().await;
    Ok(())
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
