//! The buckets of strangers: a table of fixed size, whatever is thrown at it.
//!
//! Eight words of 8 bytes share a cache line; a word is a 24-bit tag of the key and the 40-bit microsecond
//! at which the key has paid everything (GCRA's theoretical arrival time). A key has one line, chosen by a
//! hash with a random seed, and any word of it. A full line gives up the word that owes least; one that owes
//! nothing loses nothing, for an absent key is a full bucket. To push out a key that is being limited, an
//! attacker needs eight keys of its line that each owe more.
//!
//! Known bounds: two keys share a bucket with probability 8 / 2^24; a burst that takes longer than 38 hours
//! to come back is cut to that; threads that meet a new key in the same instant may each admit one.

use std::fmt;
use std::hash::{BuildHasher as _, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;
use model::limits::Rate;

use crate::terms::Terms;
use crate::{Decision, Limiter, Moment};
use line::Line;

mod line;
mod word;

/// Lines that one question sweeps at most, to keep its time bounded: 64 lines are 4 KiB.
const SWEEP_LINES: u64 = 64;

/// Buckets for keys that strangers bring, 8 bytes each, in memory of a size chosen once.
pub struct VisitorTable {
    lines: Box<[Line]>,
    hasher: RandomState,
    /// Lines swept since the start, counted over all rounds.
    swept: AtomicU64,
    /// Keys that were forgotten while they still owed something.
    forgotten: AtomicU64,
}

impl VisitorTable {
    /// Size for about two million visitors at a time: 16 MiB.
    pub const DEFAULT_BYTES: usize = 16 << 20;

    /// A table of `bytes`, rounded down to whole lines of 64 bytes, at least one. The memory is taken now.
    #[must_use]
    pub fn with_bytes(bytes: usize) -> Self {
        let lines = (bytes / size_of::<Line>()).max(1);
        Self {
            lines: std::iter::repeat_with(Line::default).take(lines).collect(),
            hasher: RandomState::default(),
            swept: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Memory of the words in bytes; never changes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// How many keys were forgotten while they still owed something. Growing fast, it tells that the table
    /// is too small or that somebody sprays keys.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// The bucket of `key`, e.g. of `&(visitor, tenant)`. Hashes once, stores nothing.
    #[expect(
        clippy::indexing_slicing,
        reason = "hash × lines / 2^64 is below lines, and there is one at least"
    )]
    pub fn bucket<K: Hash>(&self, key: &K) -> VisitorBucket<'_> {
        let hash = self.hasher.hash_one(key);
        let at = (u128::from(hash) * self.lines.len() as u128) >> 64;
        let line = &self.lines[usize::try_from(at).unwrap_or(0)];
        VisitorBucket { table: self, line, tag: word::tag(hash) }
    }

    /// Frees words that have paid everything, before the clock's 40 bits come round (12.7 days) and an old
    /// word could be read as a new debt. A round takes [`word::HORIZON`]; each question does its small share.
    /// When that was not enough, one question does a whole round, some milliseconds. When nobody asked for
    /// a whole round, every debt is paid and every word is freed unread.
    fn sweep(&self, now: u64) {
        let lines = self.lines.len() as u64;
        let due = (now / word::HORIZON)
            .saturating_mul(lines)
            .saturating_add((now % word::HORIZON).saturating_mul(lines) / word::HORIZON);
        let done = self.swept.load(Ordering::Relaxed);
        let behind = due.saturating_sub(done);
        if behind == 0 {
            return;
        }
        let (from, until) =
            if behind >= lines { (due - lines, due) } else { (done, due.min(done + SWEEP_LINES)) };
        if self.swept.compare_exchange(done, until, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let silence = behind >= lines.saturating_mul(2);
        for at in from..until {
            if let Some(line) = usize::try_from(at % lines).ok().and_then(|at| self.lines.get(at)) {
                line.free(|word| silence || word::debt(word, now) == 0);
            }
        }
    }
}

impl Default for VisitorTable {
    fn default() -> Self {
        Self::with_bytes(Self::DEFAULT_BYTES)
    }
}

impl fmt::Debug for VisitorTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisitorTable")
            .field("bytes", &self.bytes())
            .field("forgotten", &self.forgotten())
            .finish_non_exhaustive()
    }
}

/// The bucket of one key of a [`VisitorTable`].
#[derive(Debug, Clone, Copy)]
pub struct VisitorBucket<'t> {
    table: &'t VisitorTable,
    line: &'t Line,
    tag: u64,
}

impl Limiter for VisitorBucket<'_> {
    fn take(&self, now: Moment, rate: Rate, n: u32) -> Decision {
        let now = now.micros();
        self.table.sweep(now);
        let terms = Terms::in_micros(rate, word::HORIZON);
        loop {
            let found = self.line.find(self.tag);
            let debt = found.map_or(0, |place| word::debt(place.word, now));
            let (decision, owed) = terms.decide(debt, n);
            if owed == debt {
                return decision;
            }
            let place = found.unwrap_or_else(|| self.line.least(now));
            if !place.replace(word::pack(self.tag, now, owed)) {
                continue;
            }
            if found.is_none() {
                self.inserted_over(place.word, now);
            }
            return decision;
        }
    }

    fn refund(&self, now: Moment, rate: Rate, n: u32) {
        let now = now.micros();
        let cost = Terms::in_micros(rate, word::HORIZON).cost(n);
        while let Some(place) = self.line.find(self.tag) {
            let owed = word::debt(place.word, now).saturating_sub(cost);
            if place.replace(word::pack(self.tag, now, owed)) {
                return;
            }
        }
    }
}

impl VisitorBucket<'_> {
    fn inserted_over(&self, old: u64, now: u64) {
        if word::debt(old, now) > 0 {
            self.table.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        self.line.merge(self.tag, now);
    }
}

#[cfg(test)]
mod tests;
