//! The answer to "may this key take n now?", and the seam behind which it is found.

use std::time::Duration;

use model::limits::Rate;

use crate::Moment;

/// What was decided, with what a client needs to pace itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a decision that nobody reads limits nothing"]
pub enum Decision {
    /// Taken.
    Allowed {
        /// How many more could be taken at this moment.
        remaining: u32,
        /// Until the whole burst is there again.
        reset_after: Duration,
    },
    /// Nothing was taken.
    Refused {
        /// Until the same question would be answered with yes, if nobody else takes anything.
        retry_after: Duration,
        /// Until the whole burst is there again.
        reset_after: Duration,
    },
}

impl Decision {
    /// Whether it was taken.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }

    /// How many more could be taken at this moment; none after a refusal.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        match self {
            Self::Allowed { remaining, .. } => *remaining,
            Self::Refused { .. } => 0,
        }
    }
}

/// The bucket of one key. Never waits and never fails: a limiter that shares its limit with other processes
/// answers from what it was granted beforehand.
pub trait Limiter {
    /// Takes `n` at `now` if `rate` allows all of it, else takes nothing. More than `rate.burst` at once is
    /// always refused. The rate may differ from call to call: what an old rate left owing never keeps a key
    /// waiting for more than a second longer than the new rate's burst is worth.
    fn take(&self, now: Moment, rate: Rate, n: u32) -> Decision;

    /// Gives back `n` that were taken at `rate`, because a later stage refused: to every later question it
    /// is as if they had never been taken. (What others took between the two may be let off the time that
    /// passed between them.)
    fn refund(&self, now: Moment, rate: Rate, n: u32);
}
