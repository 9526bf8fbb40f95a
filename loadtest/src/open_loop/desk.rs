//! Hands requests out as they become due, and counts what becomes of them.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::Context as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::alarm::Wait;
use super::{Ask, LATE, Script, Tally};

/// One that can carry a request at a time.
pub(super) trait Caller {
    /// Makes a request and reads the whole answer.
    ///
    /// # Errors
    /// There was none, or not the wanted one.
    async fn call(&self, ask: &Ask, desk: &Desk) -> anyhow::Result<()>;
}

/// A request that is due.
struct Job {
    due: Instant,
    ask: Ask,
}

/// Where callers fetch their requests, in the order in which they became free.
pub(super) struct Desk {
    script: RefCell<Box<dyn Script>>,
    waiting: RefCell<VecDeque<Job>>,
    /// A permit for each that waits; at the end, one for each caller, who then finds nothing.
    count: Semaphore,
    tally: RefCell<Tally>,
}

impl Desk {
    /// A desk with nothing on it.
    pub(super) fn new(script: Box<dyn Script>) -> Rc<Self> {
        Rc::new(Self {
            script: RefCell::new(script),
            waiting: RefCell::default(),
            count: Semaphore::new(0),
            tally: RefCell::new(Tally::new()),
        })
    }

    /// Who says what is asked. Not to be held while something is awaited.
    pub(super) fn script(&self) -> RefMut<'_, Box<dyn Script>> {
        self.script.borrow_mut()
    }

    /// What was counted so far. Not to be held while something is awaited.
    pub(super) fn tally(&self) -> RefMut<'_, Tally> {
        self.tally.borrow_mut()
    }

    /// Has each request that is `due`, counted from now, made by one of the callers, and waits for all of them.
    ///
    /// # Errors
    /// As [`Wait::until`].
    pub(super) async fn serve(
        self: Rc<Self>,
        alarm: &impl Wait,
        due: &[std::time::Duration],
        callers: Vec<Rc<impl Caller + 'static>>,
    ) -> anyhow::Result<Tally> {
        let many = callers.len();
        let work = callers.into_iter().map(|caller| tokio::task::spawn_local(Rc::clone(&self).work(caller)));
        let work: Vec<_> = work.collect();
        let begun = Instant::now();
        for offset in due {
            let due = begun + *offset;
            alarm.until(due).await?;
            let ask = self.script().ask();
            self.waiting.borrow_mut().push_back(Job { due, ask });
            self.count.add_permits(1);
        }
        self.count.add_permits(many);
        for caller in work {
            caller.await.context("a connection of the generator broke")?;
        }
        Ok(self.tally.replace(Tally::new()))
    }

    async fn next(&self) -> Option<Job> {
        self.count.acquire().await.ok()?.forget();
        self.waiting.borrow_mut().pop_front()
    }

    async fn work(self: Rc<Self>, caller: Rc<impl Caller>) {
        let mut free_since = Instant::now();
        while let Some(Job { due, ask }) = self.next().await {
            let could = due.max(free_since);
            self.tally().lag.record(could.elapsed());
            let answer = timeout_at(due + LATE, caller.call(&ask, &self)).await;
            let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {LATE:?}")));
            free_since = Instant::now();
            let mut tally = self.tally();
            tally.note(ask.on, free_since - due);
            if let Err(error) = answer {
                tally.note_failure(|| format!("{}: {error:#}", ask.path));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::LocalSet;
    use tokio::time::{sleep, sleep_until};

    use super::super::{Destination, On, Same, Wanted};
    use super::*;

    /// Waits in the runtime's time, which tests pause.
    struct Paused;

    impl Wait for Paused {
        async fn until(&self, moment: Instant) -> anyhow::Result<()> {
            sleep_until(moment).await;
            Ok(())
        }
    }

    /// A server that answers in a millisecond, but for one stretch of time in which it does nothing.
    struct Stalling {
        from: Instant,
        to: Instant,
    }

    impl Caller for Stalling {
        async fn call(&self, _ask: &Ask, _desk: &Desk) -> anyhow::Result<()> {
            sleep(Duration::from_millis(1)).await;
            if (self.from..self.to).contains(&Instant::now()) {
                sleep_until(self.to).await;
            }
            Ok(())
        }
    }

    /// 1,000 requests a second for 3 seconds on 4 connections, with a stall of that length after the first second.
    async fn stalled(stall: Duration) -> Tally {
        let destination = Destination { host: "server.test".into(), wanted: None };
        let ask = Ask { path: "/", wanted: Wanted { statuses: &[200], bytes: None }, on: On::Kept };
        let from = Instant::now() + Duration::from_secs(1);
        let server = Rc::new(Stalling { from, to: from + stall });
        let due: Vec<_> = (0..3_000).map(Duration::from_millis).collect();
        let desk = Desk::new(Box::new(Same { ask, destination }));
        let callers = (0..4).map(|_| Rc::clone(&server)).collect();
        LocalSet::new().run_until(desk.serve(&Paused, &due, callers)).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_shows_in_every_request_that_was_due_meanwhile() {
        let tally = stalled(Duration::from_millis(600)).await;
        assert_eq!(tally.kept.count(), 3_000);
        // 600 were due in the stall, each waited for the rest of it, and then they queued.
        assert!(tally.kept.millis(0.5) < 3.0, "{}", tally.kept.millis(0.5));
        assert!(tally.kept.millis(0.9) > 250.0, "{}", tally.kept.millis(0.9));
        assert!(tally.kept.millis(0.99) > 550.0, "{}", tally.kept.millis(0.99));
        assert!((600.0..605.0).contains(&tally.kept.millis(1.0)), "{}", tally.kept.millis(1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_free_connection_is_the_servers_doing() {
        let tally = stalled(Duration::from_millis(600)).await;
        assert_eq!(tally.lag.count(), 3_000);
        assert!(tally.lag.millis(1.0) < 2.0, "{}", tally.lag.millis(1.0));
        assert_eq!(tally.excuse(50.0), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_in_time_has_failed_and_counts_its_whole_time() {
        let tally = stalled(Duration::from_secs(20)).await;
        assert_eq!(tally.kept.count(), 3_000);
        assert!((1_990..2_010).contains(&tally.unwanted), "{}", tally.unwanted);
        assert!(tally.kept.millis(1.0) > 9_990.0 && tally.failures[0].contains("no answer"));
    }
}
