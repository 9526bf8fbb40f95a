//! The time in which a process is in charge, and how it ends.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::channel::Gift;
use super::successor::Program;
use crate::notify;
use crate::shutdown::{self, Shutdown, Signals};

/// The time in which this process is in charge.
#[derive(Debug)]
pub(crate) struct Reign {
    shutdown: Shutdown,
    renewals: watch::Receiver<u64>,
    program: Program,
    patience: Duration,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process was asked to stop.
    Stopped,
    /// Another one took its place.
    Succeeded,
}

impl Reign {
    /// Begins it. A successor may take for `patience` to be ready.
    ///
    /// # Errors
    /// The system does not tell how the process was started.
    pub(crate) fn begin(signals: &Signals, patience: Duration) -> anyhow::Result<Self> {
        let program = Program::of_this_process().context("cannot tell how this process was started")?;
        let (shutdown, renewals) = (signals.shutdown.clone(), signals.renewals.clone());
        Ok(Self { shutdown, renewals, program, patience })
    }

    /// Waits for its end. `gifts` is asked for all that a successor needs, each time that one is started.
    pub(crate) async fn end(mut self, gifts: impl Fn() -> anyhow::Result<Vec<Gift>>) -> End {
        loop {
            tokio::select! {
                () = shutdown::wait(&self.shutdown) => return End::Stopped,
                changed = self.renewals.changed() => if changed.is_err() { return End::Stopped },
            }
            let successor = async { self.program.start(&gifts()?, self.patience).await };
            notify::reloading();
            tracing::info!("starting a process in the place of this one");
            let started = tokio::select! {
                () = shutdown::wait(&self.shutdown) => return End::Stopped,
                started = successor => started,
            };
            match started {
                Ok(pid) => {
                    notify::succeeded_by(pid);
                    tracing::info!(pid, "another process is in charge: ending the requests of this one");
                    tokio::spawn(forward(self.renewals, pid));
                    return End::Succeeded;
                }
                Err(error) => {
                    notify::ready("the last reload was refused");
                    let reason = format!("{error:#}");
                    tracing::error!(
                        reason,
                        "no other process could take the place of this one, which goes on"
                    );
                }
            }
        }
    }
}

/// Whoever asks this process for a renewal after its reign means its successor.
async fn forward(mut renewals: watch::Receiver<u64>, pid: u32) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    while renewals.changed().await.is_ok() {
        if let Err(error) = kill_process(pid, Signal::HUP) {
            tracing::warn!(%error, "the process in charge could not be asked to reload");
        }
    }
}
