//! How slow a visitor may be: an alarm that is cheap to set again, and a budget of waiting time.
//!
//! Only time counts in which the edge waited for the visitor, so that a slow app is never the visitor's fault.
//! The budget begins with the grace, each byte earns what it may cost at the least rate, and what can be saved
//! up is bounded by the longest silence: a burst buys no right to drip for hours.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::settings::Deadlines;

/// The longest time that counts at once. A wait that nobody looked at for longer was not for the visitor.
const STEP: Duration = Duration::from_secs(1);
/// Time between two looks at a wait. On a busy machine they come late, and must still come within a step: what is
/// not counted is a present to whoever keeps the machine busy.
const LOOK: Duration = Duration::from_millis(500);

/// A timer that stays armed while its deadline moves on: most waits end before it goes off, and then cost
/// nothing.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready at `deadline`. May wake the task before.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        if sleep.deadline() < deadline {
            sleep.as_mut().reset(deadline);
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

/// What a visitor may cost in waiting time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// What there is at the start.
    grace: Duration,
    /// What can be saved up.
    most: Duration,
    /// Bytes that earn a second.
    bytes_per_second: u32,
}

impl Rules {
    /// Those of `deadlines`.
    pub(super) fn new(deadlines: &Deadlines) -> Self {
        let most = deadlines.body;
        Self { grace: deadlines.grace.min(most), most, bytes_per_second: deadlines.bytes_per_second.max(1) }
    }
}

/// The waiting time that is left.
#[derive(Debug)]
pub(super) struct Pace {
    rules: Rules,
    left: Duration,
    /// When the wait at hand was last looked at.
    waits_since: Option<Instant>,
}

impl Pace {
    /// The grace, and nothing earned yet.
    pub(super) const fn new(rules: Rules) -> Self {
        Self { rules, left: rules.grace, waits_since: None }
    }

    /// The visitor moved so many bytes: a wait, if there was one, is over.
    pub(super) fn earn(&mut self, bytes: usize) {
        if self.waits_since.is_some() {
            self.spend(Instant::now());
            self.waits_since = None;
        }
        if self.left < self.rules.most {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let earned = Duration::from_secs(1) * bytes / self.rules.bytes_per_second;
            self.left = self.left.saturating_add(earned).min(self.rules.most);
        }
    }

    /// The visitor keeps the edge waiting. Ready when nothing is left.
    pub(super) fn poll(&mut self, alarm: &mut Alarm, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = Instant::now();
            self.spend(now);
            self.waits_since = Some(now);
            if self.left.is_zero() {
                return Poll::Ready(());
            }
            ready!(alarm.poll(now + self.left.min(LOOK), cx));
        }
    }

    fn spend(&mut self, now: Instant) {
        if let Some(since) = self.waits_since {
            self.left = self.left.saturating_sub((now - since).min(STEP));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn pace() -> Pace {
        Pace::new(Rules::new(&Deadlines { body: Duration::from_secs(60), ..Deadlines::default() }))
    }

    /// How long it takes until nothing is left.
    async fn lasts(pace: &mut Pace) -> Duration {
        let (started, mut alarm) = (Instant::now(), Alarm::default());
        poll_fn(|cx| pace.poll(&mut alarm, cx)).await;
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_is_what_silence_gets() {
        let lasted = lasts(&mut pace()).await;
        assert!((10..12).contains(&lasted.as_secs()), "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_earn_time_and_the_longest_silence_bounds_it() {
        for (bytes, seconds) in [(2_400, 20), (1 << 30, 60)] {
            let mut pace = pace();
            pace.earn(bytes);
            let lasted = lasts(&mut pace).await;
            assert!((seconds..seconds + 2).contains(&lasted.as_secs()), "{bytes} {lasted:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_nobody_looks_at_costs_one_step() {
        let (mut pace, mut alarm) = (pace(), Alarm::default());
        for _ in 0..5 {
            let looked = tokio::time::timeout(Duration::ZERO, poll_fn(|cx| pace.poll(&mut alarm, cx))).await;
            assert!(looked.is_err());
            tokio::time::advance(Duration::from_secs(3600)).await;
            pace.earn(0);
        }
        let lasted = lasts(&mut pace).await;
        assert!((4..7).contains(&lasted.as_secs()), "{lasted:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_come_late_count_in_full() {
        let (started, mut pace, mut alarm) = (Instant::now(), pace(), Alarm::default());
        while tokio::time::timeout(Duration::ZERO, poll_fn(|cx| pace.poll(&mut alarm, cx))).await.is_err() {
            tokio::time::advance(LOOK + Duration::from_millis(400)).await;
        }
        assert!((10..12).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_goes_off_at_the_deadline_that_it_was_given_last() {
        let (started, mut alarm) = (Instant::now(), Alarm::default());
        let seconds = |count: u64| started + Duration::from_secs(count);
        for first in [seconds(60), seconds(5)] {
            let waited = tokio::time::timeout(Duration::ZERO, poll_fn(|cx| alarm.poll(first, cx))).await;
            assert!(waited.is_err());
        }
        poll_fn(|cx| alarm.poll(seconds(20), cx)).await;
        assert!((20..21).contains(&started.elapsed().as_secs()));
    }
}
