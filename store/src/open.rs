//! Opening: the file or the server, the tables, the pool, and what the settings changed since last time.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use model::change::Revision;
use model::{Clock, Host};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _};
use tokio::sync::watch;

use crate::caller::Actor;
use crate::domain::Scribe;
use crate::engine::{Engine, Place, unopened};
use crate::error::{Result, StoreError};
use crate::row::{Columns as _, to_json};
use crate::schema::{self, Found};
use crate::write::{Event, Writer};
use crate::{Inner, Store};

/// Most connections of one process.
const CONNECTIONS: u32 = 10;
/// How long a call waits for a free connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// How often Postgres is asked whether another node committed.
const POLL: Duration = Duration::from_millis(250);

/// What a store needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite:<path>` or `postgres://…`. An SQLite file is created if it is missing, its folder is not.
    pub url: String,
    /// Zones of the marketplace, at least one; the first gives apps their `hostname`.
    pub zones: Vec<Host>,
    /// Addresses that creators may point A and AAAA records at.
    pub edge_addresses: Vec<IpAddr>,
}

impl Store {
    /// Opens the store, creating or upgrading its tables.
    ///
    /// # Errors
    /// [`StoreError::Unopened`] names the path or the URL (without its password): unreadable, no database,
    /// of a newer program, out of reach.
    pub async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let place = Place::parse(&options.url)?;
        if options.zones.is_empty() {
            return Err(StoreError::invalid("zones", "a marketplace needs at least one zone"));
        }
        if let Place::Sqlite(path) = &place {
            create_file(path).await?;
        }
        let shown = place.shown();
        let connect: AnyConnectOptions =
            place.connect_url().parse().map_err(|error| explain(&shown, &error))?;
        let found = prepare(&connect, place.engine(), &shown).await?;
        let pool = pool(connect, place.engine());
        let inner = Inner {
            pool,
            engine: place.engine(),
            clock,
            zones: options.zones,
            edge_addresses: options.edge_addresses,
            was_created: found == Found::Nothing,
            writer: Writer::default(),
            scribe: Scribe::default(),
            revision: watch::Sender::new(Revision(0)),
        };
        let store = Self { inner: Arc::new(inner) };
        store.adopt_zones().await?;
        store.note_revision(store.head().await?);
        if place.engine() == Engine::Postgres {
            tokio::spawn(poll(Arc::downgrade(&store.inner)));
        }
        Ok(store)
    }

    pub(crate) fn note_revision(&self, revision: Revision) {
        self.inner.revision.send_if_modified(|known| {
            let newer = revision > *known;
            *known = revision.max(*known);
            newer
        });
    }

    /// The zones are part of every site: if the settings name others than last time, every site changes.
    async fn adopt_zones(&self) -> Result<()> {
        let row = sqlx::query("SELECT zones FROM log WHERE id = 1").fetch_one(self.pool()).await?;
        let (before, zones) = (row.text("zones")?, to_json(&self.inner.zones)?);
        if before == zones {
            return Ok(());
        }
        let mut write = self.write(&Actor::system("stoa")).await?;
        sqlx::query("UPDATE log SET zones = $1 WHERE id = 1")
            .bind(&zones)
            .execute(write.connection())
            .await?;
        if !before.is_empty() {
            write.point_all_sites().await?;
            let details = serde_json::json!({ "from": before, "to": zones });
            write.audit(Event { tenant: None, action: "platform.zones", target: zones, details }).await?;
        }
        write.commit().await
    }
}

fn pool(connect: AnyConnectOptions, engine: Engine) -> AnyPool {
    AnyPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE)
        // A server goes away, a file does not: to ask each time costs as much as a look at one row.
        .test_before_acquire(engine == Engine::Postgres)
        .after_connect(move |connection, _| Box::pin(engine.prepare(connection)))
        .connect_lazy_with(connect)
}

/// One connection of its own, so that the reason is the database's and not the pool's time-out.
async fn prepare(connect: &AnyConnectOptions, engine: Engine, shown: &str) -> Result<Found> {
    let attempt = async {
        let mut connection: AnyConnection = connect.connect().await?;
        engine.prepare(&mut connection).await?;
        sqlx::Result::Ok(connection)
    };
    let mut connection = match tokio::time::timeout(ACQUIRE, attempt).await {
        Ok(connected) => connected.map_err(|error| explain(shown, &error))?,
        Err(_) => return Err(unopened(shown, "it does not answer: check that the database is up")),
    };
    let mut transaction = connection.begin_with(engine.begin_write()).await?;
    let found = schema::migrate(&mut transaction, engine, shown).await.map_err(|error| match error {
        StoreError::Unavailable(error) => explain(shown, &error),
        StoreError::Corrupt { what } => unopened(shown, format!("{what}: restore a backup")),
        other => other,
    })?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(found)
}

fn explain(shown: &str, error: &sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    let advice = match code.as_deref() {
        Some("26" | "11") => "the file is no database or is damaged: restore a backup, or name another file",
        Some("8" | "14") => "check that the file and its folder exist and may be written",
        Some("28P01" | "28000") => "check the user and the password",
        Some("3D000") => "create the database first",
        Some(_) => "check the database",
        None => "check that the database is up and that the URL is right",
    };
    unopened(shown, format!("{error}; {advice}"))
}

/// Makes an empty file that only its owner may read; an existing one is left as it is.
async fn create_file(path: &Path) -> Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = format!("{error}; check that the file and its folder exist and may be written");
            Err(unopened(&path.display().to_string(), reason))
        }
    }
}

/// Notices the commits of other nodes until the last handle of the store is gone.
async fn poll(store: Weak<Inner>) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = store.upgrade() else { return };
        let store = Store { inner };
        match store.head().await {
            Ok(revision) => store.note_revision(revision),
            Err(_) if store.pool().is_closed() => return,
            Err(error) => tracing::debug!(%error, "the log's head was not read; it is tried again"),
        }
    }
}
