//! The flags by which an edge tells its threads how far it is towards its end.

use tokio::sync::watch;

/// The flags of an edge, each set once.
pub(super) struct Signals {
    /// No new connections; the ones there end with their next answer.
    pub(super) draining: watch::Sender<bool>,
    /// Another process answers operators.
    pub(super) handed_over: watch::Sender<bool>,
    /// Idle connections are closed.
    pub(super) closing: watch::Sender<bool>,
    pub(super) stopped: watch::Sender<bool>,
}

/// The flags that threads watch. A flag whose owner is gone counts as set.
#[derive(Clone)]
pub(super) struct Flags {
    pub(super) draining: watch::Receiver<bool>,
    pub(super) handed_over: watch::Receiver<bool>,
    pub(super) closing: watch::Receiver<bool>,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Signals {
    pub(super) fn new() -> Self {
        let flag = || watch::Sender::new(false);
        Self { draining: flag(), handed_over: flag(), closing: flag(), stopped: flag() }
    }

    pub(super) fn flags(&self) -> Flags {
        Flags {
            draining: self.draining.subscribe(),
            handed_over: self.handed_over.subscribe(),
            closing: self.closing.subscribe(),
            stopped: self.stopped.subscribe(),
        }
    }
}

/// Waits until the flag is set or its owner is gone. What `wait_for` returns is a lock, which must not be held
/// over another wait: it would block whoever sets the flag.
pub(crate) async fn wait_for(flag: &mut watch::Receiver<bool>) {
    drop(flag.wait_for(|is_set| *is_set).await);
}
