//! The first start's demo: a tenant and an app `hello` that points at this process's two demo backends.
//!
//! The backends' ports are kept in a file of the data directory. Once the app points anywhere else, or the
//! file is gone, the demo is over: what an operator made of it is left alone.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anyhow::Context as _;
use model::backend::{Backend, BackendHost, BackendUrl};
use model::host::Host;
use model::site::{HeaderPolicy, Settings};
use model::tenant::Slug;
use store::{Access, Actor, App, AppPatch, NewApp, NewTenant, Page, Store};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::succession::{Gift, Heritage};
use crate::{data, demo};

const TENANT: &str = "demo";
const APP: &str = "hello";

/// A running demo.
#[derive(Debug)]
pub(crate) struct Demo {
    /// The app's name.
    pub(crate) host: Host,
    sockets: [OwnedFd; 2],
    servers: [AbortHandle; 2],
}

impl Demo {
    /// What a process needs that is to take over.
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub(crate) fn gifts(&self) -> anyhow::Result<Vec<Gift>> {
        let gift = |socket: &OwnedFd| Ok(Gift { name: APP.to_owned(), fd: socket.try_clone()? });
        self.sockets.iter().map(gift).collect()
    }

    /// Takes no more connections; those that are there go on.
    pub(crate) fn retire(self) {
        self.servers.iter().for_each(AbortHandle::abort);
    }
}

/// Starts the demo backends if the demo is there, or if this is the first start.
/// `kept` is the file that keeps the backends' ports.
///
/// # Errors
/// The store is away, the file cannot be written, or no loopback port can be had.
pub(crate) async fn start(
    store: &Store,
    kept: &Path,
    heritage: &mut Heritage,
) -> anyhow::Result<Option<Demo>> {
    let known = kept_ports(kept);
    let app = match known.as_slice() {
        [] => None,
        ports => find(store).await?.filter(|app| ports_of(app) == ports),
    };
    if app.is_none() && !store.was_created() {
        return Ok(None);
    }
    let first = demo::listen(known.first().copied(), heritage).await?;
    let second = demo::listen(known.get(1).copied(), heritage).await?;
    let backends = vec![backend(&first)?, backend(&second)?];
    let lines = format!("{}\n{}\n", first.local_addr()?.port(), second.local_addr()?.port());
    data::write_public(kept, &lines)?;
    let app = match app {
        None => create(store, backends).await?,
        Some(app) if app.backends == backends => app,
        Some(app) => move_to(store, &app, backends).await?,
    };
    let sockets = [first.as_fd().try_clone_to_owned()?, second.as_fd().try_clone_to_owned()?];
    let servers = [(first, "backend A"), (second, "backend B")]
        .map(|(listener, name)| tokio::spawn(demo::serve(listener, name)).abort_handle());
    Ok(Some(Demo { host: app.hostname, sockets, servers }))
}

fn kept_ports(kept: &Path) -> Vec<u16> {
    let text = std::fs::read_to_string(kept).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

async fn find(store: &Store) -> anyhow::Result<Option<App>> {
    let mut page = Page { limit: Page::MAX_LIMIT, cursor: None };
    loop {
        let tenants = store.tenants(Access::Platform, &page).await?;
        if let Some(tenant) = tenants.items.iter().find(|tenant| tenant.slug.as_str() == TENANT) {
            let page = Page { limit: Page::MAX_LIMIT, cursor: None };
            let apps = store.apps(Access::Platform, tenant.id, &page).await?;
            return Ok(apps.items.into_iter().find(|app| app.name.as_str() == APP));
        }
        match tenants.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(None),
        }
    }
}

/// The ports of an app whose backends are all on loopback; else none.
fn ports_of(app: &App) -> Vec<u16> {
    let on_loopback = |backend: &Backend| match backend.url.host {
        BackendHost::Address(address) if address.is_loopback() => Some(backend.url.port),
        _ => None,
    };
    let ports: Option<Vec<u16>> = app.backends.iter().map(on_loopback).collect();
    ports.unwrap_or_default()
}

fn backend(listener: &TcpListener) -> anyhow::Result<Backend> {
    let url: BackendUrl =
        format!("http://{}", listener.local_addr()?).parse().context("a loopback address")?;
    Ok(Backend { url, weight: 1 })
}

async fn create(store: &Store, backends: Vec<Backend>) -> anyhow::Result<App> {
    let actor = Actor::system("stoa up");
    let tenant = NewTenant { name: "Demo".to_owned(), slug: Slug::parse(TENANT)? };
    let tenant = store.create_tenant(&actor, tenant).await?;
    let new = NewApp {
        name: Slug::parse_app_name(APP)?,
        backends,
        headers: HeaderPolicy::default(),
        settings: Settings::default(),
    };
    Ok(store.create_app(&actor, Access::Platform, tenant.id, new).await?)
}

async fn move_to(store: &Store, app: &App, backends: Vec<Backend>) -> anyhow::Result<App> {
    let patch = AppPatch { backends: Some(backends), ..AppPatch::default() };
    Ok(store.update_app(&Actor::system("stoa up"), (Access::Platform, app.id), patch, None).await?)
}
