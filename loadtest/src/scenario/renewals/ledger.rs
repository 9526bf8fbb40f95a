//! What is left of an authority's limits, as the store keeps it, but in memory.

use std::collections::HashMap;

use model::Timestamp;
use store::{Bucket, Draw, Limit, draw_all, is_shared};

/// Fewest buckets that are looked through for full ones.
const SWEEP: usize = 4096;

/// Which bucket is full when.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    full_at: HashMap<(Bucket, String), Timestamp>,
    sweep_at: usize,
}

impl Ledger {
    /// Draws from each, and gives the first moment at which all have room, and whether others may have that turn.
    pub(super) fn reserve(&mut self, draws: &[Draw], now: Timestamp) -> (Timestamp, bool) {
        let found: Vec<(Limit, Timestamp)> =
            draws.iter().map(|draw| (draw.limit, self.full_at(draw))).collect();
        let (turn, full_at) = draw_all(&found, now);
        let is_shared = draws.iter().zip(&found).all(|(draw, found)| is_shared(draw, *found, now));
        for (draw, full_at) in draws.iter().zip(full_at) {
            self.full_at.insert((draw.bucket, draw.subject.clone()), full_at);
        }
        if self.full_at.len() > self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = SWEEP.max(self.full_at.len() * 2);
        }
        (turn, is_shared)
    }

    /// When they could be drawn.
    pub(super) fn free_at(&self, draws: &[Draw], now: Timestamp) -> Timestamp {
        let free = draws.iter().map(|draw| draw.limit.free_at(self.full_at(draw), now));
        free.max().unwrap_or(now)
    }

    fn full_at(&self, draw: &Draw) -> Timestamp {
        let known = self.full_at.get(&(draw.bucket, draw.subject.clone()));
        known.copied().unwrap_or_default()
    }
}
