//! Which backend is to be looked at next, and the one task that does so for all of them.
//!
//! A backend is in the schedule through a weak reference: one that no pool uses any more falls out when its
//! turn comes. Putting it in again moves its turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep_until};

use super::endpoint::Endpoint;
use super::uptime::{Uptime, as_millis};

/// Turns of one kind of work, in milliseconds of the uptime.
pub(super) struct Schedule {
    uptime: Uptime,
    due_of: fn(&Endpoint) -> &AtomicU64,
    turns: Mutex<Turns>,
    changed: Notify,
}

#[derive(Default)]
struct Turns {
    queue: BTreeMap<(u64, u64), Weak<Endpoint>>,
    sequence: u64,
}

/// What to do next.
enum Next {
    Work(Arc<Endpoint>),
    WaitUntil(u64),
    WaitForWork,
}

impl Schedule {
    /// An empty schedule; `due_of` is where an endpoint keeps its turn of this kind.
    pub(super) fn new(uptime: Uptime, due_of: fn(&Endpoint) -> &AtomicU64) -> Arc<Self> {
        Arc::new(Self { uptime, due_of, turns: Mutex::default(), changed: Notify::new() })
    }

    /// Gives `endpoint` its turn after `delay`, in place of the one it had.
    pub(super) fn put(&self, endpoint: &Arc<Endpoint>, delay: Duration) {
        let due = self.uptime.millis().saturating_add(as_millis(delay));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.sequence += 1;
        let key = (due, turns.sequence);
        (self.due_of)(endpoint).store(due, Relaxed);
        turns.queue.insert(key, Arc::downgrade(endpoint));
        drop(turns);
        self.changed.notify_one();
    }

    /// Moves the turn of `endpoint` to at most `delay` from now; one that comes sooner stays, and so does one that
    /// is being taken.
    pub(super) fn hasten(&self, endpoint: &Arc<Endpoint>, delay: Duration) {
        let latest = self.uptime.millis().saturating_add(as_millis(delay));
        if (self.due_of)(endpoint).load(Relaxed) > latest {
            self.put(endpoint, delay);
        }
    }

    /// Works off the turns for ever, at most `limit` at once. `job` returns the time until the next turn.
    pub(super) async fn work<F>(self: &Arc<Self>, limit: usize, job: impl Fn(Arc<Endpoint>) -> F)
    where
        F: Future<Output = Duration> + Send + 'static,
    {
        let mut running = JoinSet::new();
        loop {
            if running.len() >= limit {
                running.join_next().await;
                continue;
            }
            let due = match self.next() {
                Next::Work(endpoint) => {
                    running.spawn(Arc::clone(self).take_turn(Arc::clone(&endpoint), job(endpoint)));
                    continue;
                }
                Next::WaitUntil(due) => Some(self.uptime.at(due)),
                Next::WaitForWork => None,
            };
            let turn = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = turn => {}
                () = self.changed.notified() => {}
                Some(_) = running.join_next() => {}
            }
        }
    }

    async fn take_turn(self: Arc<Self>, endpoint: Arc<Endpoint>, job: impl Future<Output = Duration>) {
        let delay = job.await;
        self.put(&endpoint, delay);
    }

    fn next(&self) -> Next {
        let now = self.uptime.millis();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = turns.queue.first_entry() {
            let due = first.key().0;
            let endpoint =
                first.get().upgrade().filter(|endpoint| (self.due_of)(endpoint).load(Relaxed) == due);
            if endpoint.is_some() && due > now {
                return Next::WaitUntil(due);
            }
            first.remove();
            if let Some(endpoint) = endpoint {
                return Next::Work(endpoint);
            }
        }
        Next::WaitForWork
    }
}
