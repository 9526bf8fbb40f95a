//! Start, run and end of an edge.
//!
//! One thread a worker, each with a runtime, a pingora and connections to backends of its own, so that a
//! request never changes the thread; one thread for what runs beside requests: health checks, the hand-over
//! of usage, metrics. They share [`Shared`] and nothing else.

mod error;
mod signals;
mod steward;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::access_log::Log;
use crate::drain::Phase;
use crate::front::Front;
use crate::handshake::Samples;
use crate::listen::{self, Bound, Protection};
use crate::patience::Waits;
use crate::resolver::Resolver;
use crate::settings::{Deadlines, Settings};
use crate::slots::Slots;
use crate::state::State;
use crate::tls::Tls;
use crate::usage::UsageSink;
pub use error::EdgeError;
pub(crate) use signals::wait_for;
use signals::{Flags, Signals};

/// How long a runtime's last tasks may take to end.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// What an edge works with.
pub struct Parts {
    /// Its memory, which the feed fills.
    pub state: Arc<State>,
    /// Where its usage goes.
    pub usage: Arc<dyn UsageSink>,
    /// Where the names of backends lead.
    pub resolver: Arc<dyn Resolver>,
    /// What judges requests.
    pub firewall: Arc<dyn waf::Engine>,
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) state: Arc<State>,
    pub(crate) firewall: Arc<dyn waf::Engine>,
    pub(crate) tls: Tls,
    pub(crate) log: Log,
    pub(crate) slots: Slots,
    pub(crate) front: Front,
    pub(crate) deadlines: Deadlines,
    pub(crate) waits: Waits,
    pub(crate) samples: Samples,
}

/// The edge.
#[derive(Debug, Clone, Copy)]
pub struct Edge;

/// An edge that serves. Dropped, it stops at once; see [`Running::drain`].
pub struct Running {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    shared: Arc<Shared>,
    usage: Arc<dyn UsageSink>,
    drain_limit: Duration,
    signals: Signals,
    /// The sockets, for a process that is to take over.
    sockets: Vec<(&'static str, std::net::TcpListener)>,
    threads: Vec<JoinHandle<()>>,
}

impl Edge {
    /// Binds, then serves on threads of its own. Needs no runtime. Makes aws-lc-rs the process's cryptography
    /// if there is none yet.
    ///
    /// # Errors
    /// [`EdgeError`] tells what to do; nothing is left running.
    pub fn start(settings: &Settings, parts: Parts) -> Result<Running, EdgeError> {
        Self::start_on(settings, parts, &mut Vec::new())
    }

    /// As [`Self::start`], but where a socket of `given` listens on one of the addresses already, that one is
    /// taken out of the list and served, with the connections that wait in it.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(
        settings: &Settings,
        parts: Parts,
        given: &mut Vec<std::net::TcpListener>,
    ) -> Result<Running, EdgeError> {
        // An error means that there is one.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let Parts { state, usage, resolver, firewall } = parts;
        let http = listen::bind(&settings.http, Protection::Clear, given)?;
        let https = listen::bind(&settings.https, Protection::Tls, given)?;
        let metrics = listen::bind(settings.metrics.as_slice(), Protection::Clear, given)?.pop();
        if let (None, Some(first)) = (settings.public_https_port, https.first()) {
            state.https_port.store(first.address.port(), Relaxed);
        }
        let shared = Arc::new(Shared {
            tls: Tls::new(&state)?,
            log: open_log(settings)?,
            slots: Slots::new(settings),
            front: Front::new(settings),
            deadlines: settings.deadlines,
            waits: Waits::default(),
            samples: Samples::default(),
            state,
            firewall,
        });
        let signals = Signals::new();
        let flags = signals.flags();
        let mut running = Running {
            http: http.iter().map(|bound| bound.address).collect(),
            https: https.iter().map(|bound| bound.address).collect(),
            metrics: metrics.as_ref().map(|bound| bound.address),
            shared,
            usage,
            drain_limit: settings.drain_limit,
            signals,
            sockets: named(&http, &https, metrics.as_ref())?,
            threads: Vec::new(),
        };
        let listeners: Vec<Bound> = http.into_iter().chain(https).collect();
        running.start_workers(settings, &listeners, &flags)?;
        running.start_steward(metrics, resolver, flags)?;
        Ok(running)
    }
}

impl Running {
    /// Where cleartext is spoken, with real ports.
    #[must_use]
    pub fn http_addresses(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where TLS is spoken, with real ports.
    #[must_use]
    pub fn https_addresses(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Where `/metrics`, `/healthz` and `/readyz` are.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The sockets that it listens on with their names (`http`, `https`, `metrics`), for a process that is to
    /// take over: see [`Edge::start_on`].
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub fn sockets(&self) -> io::Result<Vec<(&'static str, std::net::TcpListener)>> {
        self.sockets.iter().map(|(name, socket)| Ok((*name, socket.try_clone()?))).collect()
    }

    /// Takes no new connections, closes idle ones, lets requests end for up to [`Settings::drain_limit`],
    /// hands the last usage over and ends. Requests that begin in the second half of that time are told to
    /// come again.
    pub async fn drain(self) {
        self.wind_up(std::future::ready(())).await;
    }

    /// Ends after another process has taken the sockets. As [`Self::drain`], but patient with visitors, who
    /// need not notice: a connection without a request stays open for half of the limit, or until `hurry`
    /// ends, because a visitor may be about to send one. It is answered, and the connection ends with it.
    pub async fn hand_over(self, hurry: impl Future<Output = ()>) {
        self.signals.handed_over.send_replace(true);
        self.wind_up(hurry).await;
    }

    async fn wind_up(mut self, hurry: impl Future<Output = ()>) {
        self.sockets.clear();
        let (slots, course) = (&self.shared.slots, &self.shared.state.course);
        course.advance(Phase::Draining);
        self.signals.draining.send_replace(true);
        let half = self.drain_limit / 2;
        let closing = async {
            hurry.await;
            self.signals.closing.send_replace(true);
            slots.empty().await;
        };
        let emptied = async {
            tokio::select! { () = slots.empty() => {}, () = closing => {} }
        };
        if timeout(half, emptied).await.is_err() {
            self.signals.closing.send_replace(true);
            course.advance(Phase::Closing);
            if timeout(half, slots.empty()).await.is_err() {
                tracing::warn!(limit = ?self.drain_limit, "connections were cut: they did not end in time");
            }
        }
        let threads = self.stop();
        let (working, done) = mpsc::channel();
        let _last = LastWords(done);
        // Blocks: a thread ends within a second or two.
        let finishing = move || {
            finish(threads, &self);
            drop(working);
        };
        let _joined = tokio::task::spawn_blocking(finishing).await;
    }

    fn stop(&mut self) -> Vec<JoinHandle<()>> {
        self.signals.draining.send_replace(true);
        self.signals.closing.send_replace(true);
        self.signals.stopped.send_replace(true);
        std::mem::take(&mut self.threads)
    }

    fn start_workers(
        &mut self,
        settings: &Settings,
        listeners: &[Bound],
        flags: &Flags,
    ) -> Result<(), EdgeError> {
        let workers = match settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let (ready, is_ready) = mpsc::channel();
        for number in 0..workers {
            let sockets = listeners
                .iter()
                .map(|bound| Ok((bound.socket.try_clone()?, bound.protection)))
                .collect::<io::Result<Vec<_>>>()
                .map_err(EdgeError::Thread)?;
            let worker = worker::Plan {
                edge: Arc::clone(&self.shared),
                conf: worker::server_conf(settings),
                sockets,
                flags: flags.clone(),
                ready: ready.clone(),
            };
            self.spawn(format!("stoa-edge-{number}"), move |runtime| runtime.block_on(worker.run()))?;
        }
        drop(ready);
        // A worker that ends before it says that it is ready takes its sender along.
        if is_ready.iter().take(workers).count() < workers { Err(EdgeError::Worker) } else { Ok(()) }
    }

    fn start_steward(
        &mut self,
        metrics: Option<Bound>,
        resolver: Arc<dyn Resolver>,
        flags: Flags,
    ) -> Result<(), EdgeError> {
        let (edge, usage) = (Arc::clone(&self.shared), Arc::clone(&self.usage));
        self.spawn("stoa-edge-steward".to_owned(), move |runtime| {
            let pools = Arc::clone(&edge.state.pools);
            let stopped = flags.stopped.clone();
            runtime.spawn(async move { pools.run(resolver, stopped).await });
            runtime.block_on(steward::run(edge, usage, metrics, flags));
        })
    }

    fn spawn(&mut self, name: String, run: impl FnOnce(&Runtime) + Send + 'static) -> Result<(), EdgeError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(EdgeError::Thread)?;
        let body = move || {
            run(&runtime);
            runtime.shutdown_timeout(LAST_TASKS);
        };
        let thread = std::thread::Builder::new().name(name).spawn(body).map_err(EdgeError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }
}

/// Stops the threads without waiting for requests.
impl Drop for Running {
    fn drop(&mut self) {
        let threads = self.stop();
        if !threads.is_empty() {
            finish(threads, self);
        }
    }
}

/// What a drain that is given up in its last moment waits for: that usage and log are written down.
struct LastWords(mpsc::Receiver<()>);

impl Drop for LastWords {
    fn drop(&mut self) {
        // An error, when the sender is gone: nothing is ever sent.
        let _done = self.0.recv();
    }
}

fn finish(threads: Vec<JoinHandle<()>>, running: &Running) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the edge has panicked");
        }
    }
    running.shared.state.ledger.hand_over(&*running.usage);
    running.shared.log.close();
}

/// Second handles of the sockets, with their names.
fn named(
    http: &[Bound],
    https: &[Bound],
    metrics: Option<&Bound>,
) -> Result<Vec<(&'static str, std::net::TcpListener)>, EdgeError> {
    let kinds =
        [("http", http), ("https", https), ("metrics", metrics.map_or(&[][..], std::slice::from_ref))];
    let all = kinds.into_iter().flat_map(|(name, bound)| bound.iter().map(move |bound| (name, bound)));
    all.map(|(name, bound)| Ok((name, bound.socket.try_clone()?)))
        .collect::<io::Result<_>>()
        .map_err(EdgeError::Thread)
}

fn open_log(settings: &Settings) -> Result<Log, EdgeError> {
    let path = match &settings.access_log {
        crate::AccessLog::File(path) => path.clone(),
        _ => PathBuf::new(),
    };
    Log::open(&settings.access_log).map_err(|source| EdgeError::AccessLog { path, source })
}

/// The trust anchors in a PEM file.
///
/// # Errors
/// [`EdgeError::BackendCa`].
pub(crate) fn read_roots(path: &Path) -> Result<Arc<RootCertStore>, EdgeError> {
    let refused = |reason: String| EdgeError::BackendCa { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refused(format!("it is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() { Err(refused("it has no certificate".to_owned())) } else { Ok(Arc::new(roots)) }
}
