//! How much of one authority is asked at a time: orders in flight and orders begun a second.
//!
//! The orders in flight grow by one with each good round and are halved by an answer that says that it is too much
//! (additive increase, multiplicative decrease, RFC 5681 §3.1). Several processes share the bounds evenly. Kept in
//! memory: a process that begins anew finds out again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// Most orders in flight; what one account of a public authority bears.
pub const WIDEST: u32 = 32;
/// An answer that took longer says that the authority has too much to do.
pub(super) const SLOW: Duration = Duration::from_secs(5);
/// The lane is made narrower at most so often: the answers to what is in flight all tell the same.
const CALM: Duration = Duration::from_secs(5);

/// What one process may do in the lane of an authority: decides, and neither waits nor knows what time it is. Moments
/// are told as the time since one that stays the same.
#[derive(Debug, Clone)]
pub struct Course {
    /// Orders that the authority seems to bear.
    width: f64,
    in_flight: u32,
    /// Processes that share the authority.
    processes: u32,
    next_start: Duration,
    narrowed_at: Option<Duration>,
}

impl Default for Course {
    fn default() -> Self {
        Self {
            width: f64::from(WIDEST),
            in_flight: 0,
            processes: 1,
            next_start: Duration::ZERO,
            narrowed_at: None,
        }
    }
}

impl Course {
    /// Takes a place if one is free; it is to be given back by [`Self::leave`].
    pub fn enter(&mut self) -> bool {
        let width = (self.width / f64::from(self.processes)).max(1.0);
        let is_free = f64::from(self.in_flight + 1) <= width;
        self.in_flight += u32::from(is_free);
        is_free
    }

    /// Gives a place back.
    pub fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// When an order that has a place begins, `per_second` of them a second.
    pub fn start(&mut self, per_second: u32, now: Duration) -> Duration {
        let start = self.next_start.max(now);
        self.next_start = start + Duration::from_secs(1) * self.processes / per_second.max(1);
        start
    }

    /// Says how many processes share the authority.
    pub fn share_with(&mut self, processes: u32) {
        self.processes = processes.max(1);
    }

    /// Notes an answer: whether the authority has too much to do.
    pub fn note(&mut self, too_much: bool, now: Duration) {
        if !too_much {
            self.width = (self.width + 0.25 / self.width).min(f64::from(WIDEST));
            return;
        }
        if self.narrowed_at.is_none_or(|at| now.saturating_sub(at) > CALM) {
            self.narrowed_at = Some(now);
            self.width = (self.width / 2.0).max(1.0);
        }
    }
}

/// The lane of one authority.
#[derive(Debug)]
pub(crate) struct Lane {
    course: Mutex<Course>,
    begun: Instant,
    moved: Notify,
}

/// A place in the lane, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Lane>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.course().leave();
        self.0.moved.notify_waiters();
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self { course: Mutex::default(), begun: Instant::now(), moved: Notify::new() }
    }
}

impl Lane {
    /// Waits for a place, at most for `bound`; places are given at most `per_second` times a second. None: the bound
    /// came first.
    pub(crate) async fn enter(self: &Arc<Self>, per_second: u32, bound: Duration) -> Option<Place> {
        let place = timeout(bound, self.place()).await.ok()?;
        let start = self.course().start(per_second, self.begun.elapsed());
        sleep_until(self.begun + start).await;
        Some(place)
    }

    /// Says how many processes share the authority.
    pub(crate) fn share_with(&self, processes: u32) {
        self.course().share_with(processes);
    }

    /// Notes an answer: whether the authority has too much to do.
    pub(super) fn note(&self, too_much: bool) {
        self.course().note(too_much, self.begun.elapsed());
    }

    async fn place(self: &Arc<Self>) -> Place {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.course().enter() {
                return Place(Arc::clone(self));
            }
            moved.await;
        }
    }

    fn course(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many get a place at once.
    async fn width(lane: &Arc<Lane>) -> usize {
        let mut places = Vec::new();
        while let Some(place) = lane.enter(100_000, Duration::ZERO).await {
            places.push(place);
        }
        places.len()
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_that_groans_is_asked_half_as_much_and_then_slowly_more() {
        let lane = Arc::new(Lane::default());
        assert_eq!(width(&lane).await, 32);
        lane.note(true);
        lane.note(true);
        assert_eq!(width(&lane).await, 16, "what was in flight tells the same thing");
        for _ in 0..10 {
            tokio::time::advance(CALM * 2).await;
            lane.note(true);
        }
        assert_eq!(width(&lane).await, 1, "and never nothing");
        for _ in 0..5_000 {
            lane.note(false);
        }
        assert_eq!(width(&lane).await, 32);
    }

    #[tokio::test(start_paused = true)]
    async fn processes_share_the_places_and_the_starts_evenly() {
        let lane = Arc::new(Lane::default());
        lane.share_with(2);
        let begun = Instant::now();
        let mut places = Vec::new();
        for _ in 0..16 {
            places.push(lane.enter(10, SECOND).await.unwrap());
        }
        // Five a second each.
        assert_eq!(begun.elapsed(), SECOND * 3);
        assert!(lane.enter(10, SECOND).await.is_none(), "the others' half is theirs");
        places.pop();
        assert!(lane.enter(10, SECOND).await.is_some());
    }
}
