//! Signals. The first of SIGINT and SIGTERM drains; the second one cuts the requests that are left, and everything
//! that has ended is still counted; SIGHUP and SIGUSR2 ask for another process in the place of this one, with the
//! configuration and the binary as they are then.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::notify;

/// Exit code of a process that was told to stop at once, as a shell's for SIGINT.
const CUT: i32 = 130;
/// How long a process that is cut may take for its last words; a third signal does not wait for them.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Whether the process is asked to end. `true` once; never back.
pub(crate) type Shutdown = watch::Receiver<bool>;

/// What the process is asked for.
#[derive(Debug)]
pub(crate) struct Signals {
    /// To end.
    pub(crate) shutdown: Shutdown,
    /// To end at once.
    cut: Shutdown,
    /// How often it was asked to give its place to another.
    pub(crate) renewals: watch::Receiver<u64>,
}

impl Signals {
    /// Waits for the end of `ending`. If the process is told to stop at once it is dropped instead, which must
    /// write down what was counted, and the process exits.
    pub(crate) async fn unless_cut(&self, ending: impl Future<Output = ()>) {
        tokio::select! {
            () = ending => return,
            () = wait(&self.cut) => {}
        }
        std::process::exit(CUT);
    }
}

/// Listens for all of them.
///
/// # Errors
/// The system refuses a signal handler.
pub(crate) fn listen() -> anyhow::Result<Signals> {
    let ends = Ends {
        interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
    };
    let ((ask, shutdown), (hurry, cut)) = (watch::channel(false), watch::channel(false));
    tokio::spawn(end(ends, ask, hurry));
    Ok(Signals { shutdown, cut, renewals: listen_for_renewals()? })
}

/// The signals that ask for the end.
struct Ends {
    interrupt: Signal,
    terminate: Signal,
}

impl Ends {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn end(mut signals: Ends, ask: watch::Sender<bool>, hurry: watch::Sender<bool>) {
    signals.next().await;
    tracing::info!("stopping: requests in flight may end; signal again to stop at once");
    notify::stopping();
    ask.send_replace(true);
    signals.next().await;
    tracing::warn!("stopping at once: requests in flight are cut");
    hurry.send_replace(true);
    // Whether or not somebody is there to be hurried: a start that does not get on ends by this, too.
    let _third = timeout(LAST_WORDS, signals.next()).await;
    std::process::exit(CUT);
}

fn listen_for_renewals() -> anyhow::Result<watch::Receiver<u64>> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut user = signal(SignalKind::user_defined2()).context("cannot listen for SIGUSR2")?;
    let (sender, receiver) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                _ = user.recv() => {}
            }
            sender.send_modify(|times| *times += 1);
        }
    });
    Ok(receiver)
}

/// Waits until the process is asked to end.
pub(crate) async fn wait(shutdown: &Shutdown) {
    let mut shutdown = shutdown.clone();
    // An error means that the listener is gone with the runtime: that is an end too.
    let _ = shutdown.wait_for(|asked| *asked).await;
}
