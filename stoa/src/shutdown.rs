//! Signals. The first of SIGINT and SIGTERM drains, the second one stops at once; SIGHUP and SIGUSR2 ask for
//! another process in the place of this one, with the configuration and the binary as they are then.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::notify;

/// Whether the process is asked to end. `true` once; never back.
pub(crate) type Shutdown = watch::Receiver<bool>;

/// What the process is asked for.
#[derive(Debug)]
pub(crate) struct Signals {
    /// To end.
    pub(crate) shutdown: Shutdown,
    /// How often it was asked to give its place to another.
    pub(crate) renewals: watch::Receiver<u64>,
}

/// Listens for all of them.
///
/// # Errors
/// The system refuses a signal handler.
pub(crate) fn listen() -> anyhow::Result<Signals> {
    Ok(Signals { shutdown: listen_for_the_end()?, renewals: listen_for_renewals()? })
}

fn listen_for_the_end() -> anyhow::Result<Shutdown> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        for exit_code in [None, Some(130)] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            match exit_code {
                None => {
                    tracing::info!("stopping: requests in flight may end; signal again to stop at once");
                    notify::stopping();
                    sender.send_replace(true);
                }
                Some(code) => std::process::exit(code),
            }
        }
    });
    Ok(receiver)
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
