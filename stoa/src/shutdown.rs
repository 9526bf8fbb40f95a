//! The end of a process: the first signal drains, the second one stops at once.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether the process is asked to end. `true` once; never back.
pub(crate) type Shutdown = watch::Receiver<bool>;

/// Listens for SIGINT and SIGTERM.
///
/// # Errors
/// The system refuses a signal handler.
pub(crate) fn listen() -> anyhow::Result<Shutdown> {
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
                    sender.send_replace(true);
                }
                Some(code) => std::process::exit(code),
            }
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
