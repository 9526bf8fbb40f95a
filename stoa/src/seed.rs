//! The first start's demo: a tenant and an app `hello` that points at this process's two demo backends.

use anyhow::Context as _;
use model::backend::{Backend, BackendHost, BackendUrl};
use model::host::Host;
use model::site::{HeaderPolicy, Settings};
use model::tenant::Slug;
use store::{Access, Actor, App, AppPatch, NewApp, NewTenant, Page, Store};
use tokio::net::TcpListener;

use crate::demo;

const TENANT: &str = "demo";
const APP: &str = "hello";

/// Starts the demo backends if the demo is there, or if this is the first start. The app's name, if so.
///
/// # Errors
/// The store is away, or no loopback port can be had.
pub(crate) async fn start(store: &Store) -> anyhow::Result<Option<Host>> {
    let app = find(store).await?;
    if app.is_none() && !store.was_created() {
        return Ok(None);
    }
    let ports = app.as_ref().map(ports).unwrap_or_default();
    let first = demo::listen(ports.first().copied()).await?;
    let second = demo::listen(ports.get(1).copied()).await?;
    let backends = vec![backend(&first)?, backend(&second)?];
    let app = match app {
        None => create(store, backends).await?,
        Some(app) if app.backends == backends => app,
        Some(app) => move_to(store, &app, backends).await?,
    };
    tokio::spawn(demo::serve(first, "backend A"));
    tokio::spawn(demo::serve(second, "backend B"));
    Ok(Some(app.hostname))
}

/// The demo app, as long as its backends are ours: two on loopback.
async fn find(store: &Store) -> anyhow::Result<Option<App>> {
    let mut page = Page { limit: Page::MAX_LIMIT, cursor: None };
    loop {
        let tenants = store.tenants(Access::Platform, &page).await?;
        if let Some(tenant) = tenants.items.iter().find(|tenant| tenant.slug.as_str() == TENANT) {
            let apps = store
                .apps(Access::Platform, tenant.id, &Page { limit: Page::MAX_LIMIT, cursor: None })
                .await?;
            return Ok(apps.items.into_iter().find(|app| app.name.as_str() == APP && ports(app).len() == 2));
        }
        match tenants.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(None),
        }
    }
}

fn ports(app: &App) -> Vec<u16> {
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
