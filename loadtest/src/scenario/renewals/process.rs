//! One process of certd, as far as it decides how many orders are worked on at a time.

use std::collections::VecDeque;
use std::time::Duration;

use certd::acme::{Course, WIDEST};
use model::Timestamp;

use super::world::{Key, PROCESSES};

/// Orders that are begun a second: the default of `acme.orders_per_second`.
const PER_SECOND: u32 = 10;
/// Requests of one order.
const REQUESTS: u32 = 9;

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    course: Course,
    epoch: Timestamp,
    tasks: u32,
    /// Orders that wait for a place in the lane.
    pub(super) in_lane: VecDeque<Key>,
}

impl Process {
    pub(super) fn new(epoch: Timestamp) -> Self {
        let mut course = Course::default();
        course.share_with(PROCESSES);
        Self { course, epoch, tasks: 0, in_lane: VecDeque::new() }
    }

    /// How many orders it may take in hand.
    pub(super) fn free(&self) -> usize {
        usize::try_from(WIDEST.saturating_sub(self.tasks)).unwrap_or_default()
    }

    pub(super) fn take(&mut self) {
        self.tasks += 1;
    }

    pub(super) fn release(&mut self) {
        self.tasks = self.tasks.saturating_sub(1);
    }

    /// When the next order in the lane begins, if there is a place for it.
    pub(super) fn enter(&mut self, now: Timestamp) -> Option<Timestamp> {
        let since = now.since(self.epoch);
        self.course.enter().then(|| self.epoch.plus(self.course.start(PER_SECOND, since)))
    }

    /// Gives a place back, with what its order was answered.
    pub(super) fn leave(&mut self, answered: Answered, now: Timestamp) {
        let since: Duration = now.since(self.epoch);
        match answered {
            Answered::Well => (0..REQUESTS).for_each(|_| self.course.note(false, since)),
            Answered::Badly => self.course.note(true, since),
            Answered::NotAsked => {}
        }
        self.course.leave();
    }
}

/// What the authority made of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    Well,
    Badly,
    NotAsked,
}
