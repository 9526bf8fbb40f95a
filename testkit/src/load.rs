//! A steady load: workers that repeat a request until told to stop, and count what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait;

/// Failures whose texts are kept.
const SAMPLES: usize = 10;

/// What a load came to.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests that were begun.
    pub sent: u64,
    /// Requests that succeeded.
    pub succeeded: u64,
    /// Texts of the first failures.
    pub failures: Vec<String>,
}

impl Tally {
    /// Requests that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.sent.saturating_sub(self.succeeded)
    }
}

/// A running load; dropped, it stops at once.
#[derive(Debug)]
pub struct Load {
    running: watch::Sender<bool>,
    workers: JoinSet<Tally>,
    sent: Arc<AtomicU64>,
}

impl Load {
    /// Starts `workers` tasks that repeat `request`.
    pub fn start<F, R>(workers: usize, request: F) -> Self
    where
        F: Fn() -> R + Clone + Send + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let (running, stopped) = watch::channel(true);
        let sent = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            tasks.spawn(repeat(request.clone(), stopped.clone(), Arc::clone(&sent)));
        }
        Self { running, workers: tasks, sent }
    }

    /// Requests begun so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Waits until `count` more requests have begun.
    ///
    /// # Errors
    /// If they do not in good time.
    pub async fn more(&self, count: u64) -> Result<()> {
        let wanted = self.sent() + count;
        let look = async || match self.sent() {
            sent if sent < wanted => anyhow::bail!("{sent} of {wanted}"),
            _ => Ok(()),
        };
        wait::until(&format!("{count} requests"), wait::LONG, look).await
    }

    /// Lets every request under way end, and sums up.
    pub async fn stop(mut self) -> Tally {
        self.running.send_replace(false);
        let mut sum = Tally::default();
        while let Some(Ok(tally)) = self.workers.join_next().await {
            sum.sent += tally.sent;
            sum.succeeded += tally.succeeded;
            sum.failures.extend(tally.failures);
            sum.failures.truncate(SAMPLES);
        }
        sum
    }
}

async fn repeat<F, R>(request: F, running: watch::Receiver<bool>, sent: Arc<AtomicU64>) -> Tally
where
    F: Fn() -> R,
    R: Future<Output = Result<()>>,
{
    let mut tally = Tally::default();
    while *running.borrow() {
        tally.sent += 1;
        sent.fetch_add(1, Ordering::SeqCst);
        match request().await {
            Ok(()) => tally.succeeded += 1,
            Err(error) if tally.failures.len() < SAMPLES => tally.failures.push(format!("{error:#}")),
            Err(_) => {}
        }
        // A request that fails without waiting must not keep the runtime from its other work.
        tokio::task::yield_now().await;
    }
    tally
}
