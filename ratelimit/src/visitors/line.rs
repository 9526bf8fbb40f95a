//! Eight words that share a cache line.
//!
//! Every word is changed by compare-and-swap alone. Sequential consistency on a word's insertion and on the
//! scan after it makes at least one of two threads that insert the same key see the other's word.

use std::sync::atomic::{AtomicU64, Ordering};

use super::word;

/// One set of the table.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Line {
    words: [AtomicU64; 8],
}

/// A word as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'t> {
    cell: &'t AtomicU64,
    /// What was read.
    pub(super) word: u64,
}

impl Place<'_> {
    /// Writes `next` unless the word changed since it was read.
    pub(super) fn replace(self, next: u64) -> bool {
        self.cell.compare_exchange(self.word, next, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

impl Line {
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.words.iter().map(|cell| Place { cell, word: cell.load(Ordering::SeqCst) })
    }

    /// The first word of `tag`.
    pub(super) fn find(&self, tag: u64) -> Option<Place<'_>> {
        self.places().find(|place| word::has_tag(place.word, tag))
    }

    /// The word that owes least.
    pub(super) fn least(&self, now: u64) -> Place<'_> {
        let [first, rest @ ..] = &self.words;
        let read = |cell: &'_ AtomicU64| cell.load(Ordering::SeqCst);
        let mut least = Place { cell: first, word: read(first) };
        for cell in rest {
            let place = Place { cell, word: read(cell) };
            if word::debt(place.word, now) < word::debt(least.word, now) {
                least = place;
            }
        }
        least
    }

    /// Makes one word of those that threads inserted for the same key at the same time: the first keeps
    /// what all owe.
    pub(super) fn merge(&self, tag: u64, now: u64) {
        for twin in self.places().filter(|place| word::has_tag(place.word, tag)).skip(1) {
            if twin.replace(0) {
                self.owe(tag, now, word::debt(twin.word, now));
            }
        }
    }

    /// Adds to what a key owes; a key that was forgotten meanwhile is let off.
    fn owe(&self, tag: u64, now: u64, more: u64) {
        while let Some(place) = self.find(tag) {
            let owed = word::debt(place.word, now).saturating_add(more);
            if place.replace(word::pack(tag, now, owed)) {
                return;
            }
        }
    }

    /// Empties the words that `is_paid` says owe nothing.
    pub(super) fn free(&self, is_paid: impl Fn(u64) -> bool) {
        for place in self.places().filter(|place| place.word != 0 && is_paid(place.word)) {
            // A word that changed meanwhile is in use: it stays.
            let _in_use = !place.replace(0);
        }
    }
}
