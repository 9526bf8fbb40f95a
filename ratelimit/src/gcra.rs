//! The bucket of a key that an edge knows by name: one word beside the value it limits, so no look-up.

use std::sync::atomic::{AtomicU64, Ordering};

use model::limits::Rate;

use crate::terms::Terms;
use crate::{Decision, Limiter, Moment};

/// One key's theoretical arrival time, in nanoseconds of the process's stopwatch. 8 bytes, exact, lock-free.
///
/// A new one is a full bucket. The word stands alone (nothing else is published through it), hence relaxed
/// ordering.
#[derive(Debug, Default)]
pub struct Gcra(AtomicU64);

impl Gcra {
    /// A full bucket.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Limiter for Gcra {
    fn take(&self, now: Moment, rate: Rate, n: u32) -> Decision {
        let terms = Terms::in_nanos(rate);
        let mut due = self.0.load(Ordering::Relaxed);
        loop {
            let debt = due.saturating_sub(now.nanos());
            let (decision, owed) = terms.decide(debt, n);
            if owed == debt {
                return decision;
            }
            let next = now.nanos().saturating_add(owed);
            match self.0.compare_exchange_weak(due, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return decision,
                Err(changed) => due = changed,
            }
        }
    }

    fn refund(&self, _now: Moment, rate: Rate, n: u32) {
        let cost = Terms::in_nanos(rate).cost(n);
        let mut due = self.0.load(Ordering::Relaxed);
        while let Err(changed) =
            self.0.compare_exchange_weak(due, due.saturating_sub(cost), Ordering::Relaxed, Ordering::Relaxed)
        {
            due = changed;
        }
    }
}

#[cfg(test)]
mod tests;
