//! How many requests of an app are under way at a time, and the short queue of those that wait for their turn.
//!
//! A place is taken with one atomic step while nobody waits. What comes over the cap waits in a queue as long as
//! the cap: the requests of one visitor one after the other, the visitors in turns, so that one who asks for
//! much at once waits behind himself. When the queue is full, a visitor who has nothing in it gets the place
//! of the newest request of whoever has most. A place that becomes free is handed to the next, over a channel
//! and at once: nobody looks again and again. Each app has a gate of its own, so that a crowd before one app
//! is nothing to another. It knows no time limit: who has waited long enough drops the [`Ticket`].

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use model::net::VisitorKey;
use tokio::sync::oneshot;

/// One request that waits, in the upper half of [`Gate::word`].
const WAITING: u64 = 1 << 32;

/// The gate of one app.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Places that are taken in the lower half, requests that wait in the upper one: in one word, so that no place
    /// becomes free between the look at the one and at the other. The upper half changes only under the lock.
    word: AtomicU64,
    cap: AtomicU32,
    queue: Mutex<Queue>,
}

/// What a request finds at the gate.
#[derive(Debug)]
pub(crate) enum Entrance {
    /// It may go in.
    Open(Place),
    /// It may wait.
    Wait(Ticket),
    /// There is no room to wait either.
    Full,
}

/// A place of an app; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Gate>);

/// A place in the queue; free again when dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    gate: Arc<Gate>,
    visitor: VisitorKey,
    number: u64,
    call: oneshot::Receiver<Place>,
}

#[derive(Debug, Default)]
struct Queue {
    /// What each visitor waits with, oldest first; none has nothing.
    visitors: HashMap<VisitorKey, VecDeque<Waiter>, RandomState>,
    /// Each of them once, whose turn is next first.
    turns: VecDeque<VisitorKey>,
    waiting: usize,
    number: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    call: oneshot::Sender<Place>,
}

const fn taken(word: u64) -> u64 {
    word % WAITING
}

/// Closed until [`Gate::resize`] says how many may go in.
impl Default for Gate {
    fn default() -> Self {
        Self { word: AtomicU64::new(0), cap: AtomicU32::new(0), queue: Mutex::default() }
    }
}

impl Gate {
    /// Takes a place, if there is one at once and nobody waits.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let has_taken = self.take(|word| word < u64::from(self.cap.load(Relaxed)));
        has_taken.then(|| Place(Arc::clone(self)))
    }

    /// Takes a place, or one in the queue.
    pub(crate) fn enter(self: &Arc<Self>, visitor: VisitorKey) -> Entrance {
        if self.take(|word| word < u64::from(self.cap.load(Relaxed))) {
            return Entrance::Open(Place(Arc::clone(self)));
        }
        let mut queue = self.lock();
        let cap = self.cap.load(Relaxed);
        // A place may have become free before the lock was there.
        if self.take(|word| word < u64::from(cap)) {
            return Entrance::Open(Place(Arc::clone(self)));
        }
        let is_full = u64::try_from(queue.waiting).is_ok_and(|waiting| waiting >= u64::from(cap));
        let pushed_out = if is_full { queue.push_out(visitor) } else { None };
        if is_full && pushed_out.is_none() {
            return Entrance::Full;
        }
        let (number, call) = queue.push(visitor);
        if pushed_out.is_none() && !self.wait(u64::from(cap)) {
            // It became free in between, and nobody else waits.
            drop(queue.take_out(visitor, number));
            return Entrance::Open(Place(Arc::clone(self)));
        }
        Entrance::Wait(Ticket { gate: Arc::clone(self), visitor, number, call })
    }

    /// Lets `cap` requests in at a time from now on, and as many wait. Those that are inside stay.
    pub(super) fn resize(self: &Arc<Self>, cap: u32) {
        if self.cap.swap(cap, Relaxed) >= cap {
            return;
        }
        while self.take(|word| word >= WAITING && taken(word) < u64::from(cap)) {
            drop(Place(Arc::clone(self)));
        }
    }

    fn take(&self, may: impl Fn(u64) -> bool) -> bool {
        self.word.fetch_update(AcqRel, Acquire, |word| may(word).then_some(word + 1)).is_ok()
    }

    /// Counts one that waits; false if it has a place instead, because nobody waits and one is free. Under the lock.
    fn wait(&self, cap: u64) -> bool {
        let step = |word: u64| if word < cap { word + 1 } else { word + WAITING };
        self.word.fetch_update(AcqRel, Acquire, |word| Some(step(word))).is_ok_and(|before| before >= cap)
    }

    /// Gives a place to the next, or back.
    fn leave(self: &Arc<Self>) {
        let cap = u64::from(self.cap.load(Relaxed));
        let back = |word: u64| (word < WAITING || taken(word) > cap).then_some(word - 1);
        if self.word.fetch_update(AcqRel, Acquire, back).is_ok() {
            return;
        }
        let next = {
            let mut queue = self.lock();
            let next = queue.pop();
            // None is left if they went in the meantime.
            self.word.fetch_sub(if next.is_some() { WAITING } else { 1 }, AcqRel);
            next
        };
        if let Some(waiter) = next {
            // If nobody takes it any more, it comes back by being dropped.
            drop(waiter.call.send(Place(Arc::clone(self))));
        }
    }

    /// A panic elsewhere leaves the queue whole: each step is one.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, visitor: VisitorKey) -> (u64, oneshot::Receiver<Place>) {
        let (call, called) = oneshot::channel();
        self.number += 1;
        self.waiting += 1;
        let own = self.visitors.entry(visitor).or_default();
        if own.is_empty() {
            self.turns.push_back(visitor);
        }
        own.push_back(Waiter { number: self.number, call });
        (self.number, called)
    }

    /// The oldest request of the visitor whose turn it is.
    fn pop(&mut self) -> Option<Waiter> {
        let visitor = self.turns.pop_front()?;
        let own = self.visitors.get_mut(&visitor)?;
        let waiter = own.pop_front();
        if own.is_empty() {
            self.visitors.remove(&visitor);
        } else {
            self.turns.push_back(visitor);
        }
        self.waiting -= usize::from(waiter.is_some());
        waiter
    }

    /// The newest request of the visitor who has most, if `visitor` has none and that one has several.
    fn push_out(&mut self, visitor: VisitorKey) -> Option<Waiter> {
        let has_each_one = self.visitors.len() == self.waiting;
        if has_each_one || self.visitors.contains_key(&visitor) {
            return None;
        }
        let most = self.visitors.values_mut().max_by_key(|own| own.len())?;
        self.waiting -= 1;
        most.pop_back()
    }

    fn take_out(&mut self, visitor: VisitorKey, number: u64) -> Option<Waiter> {
        let own = self.visitors.get_mut(&visitor)?;
        let index = own.iter().position(|waiter| waiter.number == number)?;
        let waiter = own.remove(index);
        if own.is_empty() {
            self.visitors.remove(&visitor);
            self.turns.retain(|turn| *turn != visitor);
        }
        self.waiting -= 1;
        waiter
    }
}

impl Ticket {
    /// Waits for the place; none if it was pushed out of the queue. Nothing is lost if this is given up.
    pub(crate) async fn called(&mut self) -> Option<Place> {
        (&mut self.call).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.gate.lock();
        if queue.take_out(self.visitor, self.number).is_some() {
            self.gate.word.fetch_sub(WAITING, AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests;
