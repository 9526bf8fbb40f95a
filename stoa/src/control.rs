//! The control plane as a part of a process: store, local authority, first key, certificates, API.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use certd::consent::Consents;
use certd::dns::Inspector;
use certd::local_ca::LocalAuthority;
use certd::{Certd, StandingProof};
use config::Settings;
use model::domain::{Inspection, Witness};
use model::seal::{KeyRing, SealingKey};
use model::{Clock, Host, HostPattern};
use store::{Access, Actor, DomainRecord, Scope, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::command::Origin;
use crate::custody::{self, Sources};
use crate::data::{self, DataDirectory};
use crate::succession::{Gift, Heritage, Predecessor};

/// Time between two looks at what a predecessor commits.
const LOOK: Duration = Duration::from_millis(250);

/// certd's look at domains, as the API asks for it.
#[derive(Debug)]
struct Inspecting {
    inspector: Inspector,
    standing: StandingProof,
    takes_wildcards: bool,
}

#[async_trait]
impl api::Inspect for Inspecting {
    async fn inspect(&self, host: &Host, witness: Witness) -> Inspection {
        self.inspector.inspect(host, witness).await
    }

    async fn standing_proof(&self, name: &HostPattern) -> Option<String> {
        self.standing.text(name).await
    }

    fn takes_wildcards(&self) -> bool {
        self.takes_wildcards
    }
}

/// certd's links to providers, as the API asks for them.
#[derive(Debug)]
struct Consenting(Consents);

#[async_trait]
impl api::Consent for Consenting {
    async fn link(&self, domain: &DomainRecord, state: &str) -> Option<api::Link> {
        match self.0.link(domain, state).await {
            Ok(link) => Some(api::Link { url: link.url, provider: link.provider }),
            Err(reason) => {
                tracing::info!(host = %domain.host, %reason, "no provider's pages: the records are set by hand");
                None
            }
        }
    }
}

/// An open store with what must be there before anything runs.
pub(crate) struct Control {
    /// The store.
    pub(crate) store: Store,
    master: KeyRing,
    sources: Sources,
    listener: TcpListener,
    stop: watch::Sender<bool>,
    /// Keeps the keys as they are meant to be, from before anything is sealed.
    custody: JoinHandle<()>,
}

/// A control plane whose certificates are there, and whose API does not answer yet.
pub(crate) struct ReadyControl {
    control: Control,
    daemon: Certd,
}

/// A running control plane.
pub(crate) struct RunningControl {
    store: Store,
    socket: OwnedFd,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Opens the store, writes `ca.pem`, makes the first key, and takes the API's address.
///
/// # Errors
/// The store cannot be opened, the master key is another one, or the address is taken.
pub(crate) async fn open(
    settings: &Settings,
    data: &DataDirectory,
    clock: Arc<dyn Clock>,
    heritage: &mut Heritage,
) -> anyhow::Result<Control> {
    let address = settings.api.listen;
    let listener = heritage.listen(address).await.with_context(|| {
        format!("cannot listen on {address} for the API: is another stoa running? else set `api.listen`")
    })?;
    let key = data.master_key(config::environment::master_key())?;
    let store = Store::open(crate::settings::store(settings), clock).await?;
    check_not_lost(&store, &data.file("platform-key")).await?;
    let master = match key {
        Some(key) => key,
        None => first_master_key(&store, data).await?,
    };
    let sources = Sources::of(data);
    let mut authority = None;
    let opens = async || {
        authority = Some(LocalAuthority::open(&store, &master).await?);
        Ok(())
    };
    custody::join(&store, &master, &sources, opens).await?;
    let authority = authority.context("the local authority was not opened")?;
    let (stop, stopped) = watch::channel(false);
    let custody = tokio::spawn(custody::run(store.clone(), master.clone(), sources.clone(), stopped));
    keep_authority(&data.file("ca.pem"), authority.pem())?;
    keep_platform_key(&data.file("platform-key"), &store).await?;
    Ok(Control { store, master, sources, listener, stop, custody })
}

/// An empty store behind an installation that was in use: edges would be told that nothing is there, and drop what they
/// serve.
async fn check_not_lost(store: &Store, platform_key: &Path) -> anyhow::Result<()> {
    if platform_key.exists() && store.is_blank().await? {
        anyhow::bail!(
            "the store is empty, but `{}` shows that this installation was in use: restore a backup, fill the store with \
             what the edges know (`stoa store rebuild --from …`), or remove that file to begin anew",
            platform_key.display()
        );
    }
    Ok(())
}

/// A new master key, unless the store already has something that another one sealed: the local authority is
/// the first thing that any installation seals.
async fn first_master_key(store: &Store, data: &DataDirectory) -> anyhow::Result<KeyRing> {
    if store.local_ca().await?.is_some() {
        anyhow::bail!(
            "`{}` is missing, but the store has private keys that only it opens: restore it from a backup, or set STOA_MASTER_KEY",
            data.master_key_path().display()
        );
    }
    data.new_master_key()
}

fn keep_authority(path: &Path, pem: &str) -> anyhow::Result<()> {
    match std::fs::read_to_string(path) {
        Ok(there) if there == pem => Ok(()),
        _ => data::write_public(path, pem),
    }
}

/// The first operator's key. A file that is there is left alone; without one, a new key is made: whoever may
/// write the data directory is an operator.
async fn keep_platform_key(path: &Path, store: &Store) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let (secret, new) = api::keys::mint(Scope::Platform, None);
    store.create_key(&Actor::system("stoa"), Access::Platform, new).await?;
    data::write_private(path, &format!("{}\n", secret.reveal()))
}

impl Control {
    /// The keys that open every secret.
    pub(crate) fn master(&self) -> &KeyRing {
        &self.master
    }

    /// The key of the edge in this process.
    ///
    /// # Errors
    /// Its file cannot be used.
    pub(crate) fn edge_key(&self) -> anyhow::Result<SealingKey> {
        custody::edge_key(&self.sources.edge_key, &self.master)
    }

    /// After a restore, gives the change log a new lineage: edges may hold what is in no store any more.
    ///
    /// # Errors
    /// The store is away.
    pub(crate) async fn note_origin(&self, origin: Origin) -> anyhow::Result<()> {
        if origin == Origin::Restored {
            self.store.begin_new_lineage(&Actor::system("stoa")).await?;
            tracing::info!("the store was restored: every edge fetches everything anew");
        }
        Ok(())
    }

    /// Where the API listens.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn api_address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Prepares certificates. The zones' own are there when this returns.
    ///
    /// # Errors
    /// The settings of the certificate authority cannot be used.
    pub(crate) async fn prepare(self, certd: certd::Settings) -> anyhow::Result<ReadyControl> {
        let daemon = Certd::start(certd, self.store.clone(), self.master.clone()).await?;
        Ok(ReadyControl { control: self, daemon })
    }
}

impl ReadyControl {
    /// Starts certificates and API.
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub(crate) fn start(self) -> anyhow::Result<RunningControl> {
        let Self { control: Control { store, master, listener, stop, custody, .. }, daemon } = self;
        let stopped = stop.subscribe();
        let socket = listener.as_fd().try_clone_to_owned()?;
        let inspecting = Inspecting {
            inspector: daemon.inspector(),
            standing: daemon.standing_proof(),
            takes_wildcards: daemon.takes_wildcards(),
        };
        let state = api::State::new(store.clone(), master.clone(), api::Settings::default())
            .with_inspector(Arc::new(inspecting))
            .with_challenge_zone(daemon.challenge_zone());
        let state = match daemon.consents()? {
            Some(consents) => state.with_consent(Arc::new(Consenting(consents))),
            None => state,
        };
        let router = api::router(state);
        let stopping = stopped.clone();
        let serve = async move {
            let stopping = async move { crate::shutdown::wait(&stopping).await };
            if let Err(error) = api::serve(listener, router, stopping).await {
                tracing::error!(%error, "the API stopped");
            }
        };
        let upkeep = crate::upkeep::run(store.clone(), master, stopped.clone());
        let tasks =
            vec![tokio::spawn(daemon.run(stopped)), tokio::spawn(serve), tokio::spawn(upkeep), custody];
        Ok(RunningControl { store, socket, stop, tasks })
    }
}

impl RunningControl {
    /// What a process needs that is to take over.
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub(crate) fn gifts(&self) -> anyhow::Result<Vec<Gift>> {
        Ok(vec![Gift { name: "api".to_owned(), fd: self.socket.try_clone()? }])
    }

    /// Learns what the predecessor still commits, until it is gone: an SQLite store does not tell of it.
    pub(crate) fn watch_until_gone(&self, predecessor: Predecessor) {
        let store = self.store.clone();
        tokio::spawn(async move {
            let mut looks = tokio::time::interval(LOOK);
            let gone = predecessor.gone();
            tokio::pin!(gone);
            loop {
                tokio::select! {
                    () = &mut gone => break,
                    _ = looks.tick() => refresh(&store).await,
                }
            }
            refresh(&store).await;
        });
    }

    /// Lets what is under way end. The store stays open.
    pub(crate) async fn retire(self) -> Store {
        drop(self.socket);
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the control plane ended by itself");
            }
        }
        self.store
    }

    /// Lets what is under way end, and closes the store.
    pub(crate) async fn stop(self) {
        self.retire().await.close().await;
    }
}

async fn refresh(store: &Store) {
    if let Err(error) = store.refresh().await {
        tracing::debug!(%error, "the store could not be looked at; it is tried again");
    }
}
