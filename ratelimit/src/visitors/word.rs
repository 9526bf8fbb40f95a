//! One bucket in 64 bits: tag (24) and paid-up time in microseconds (40, modular). The word 0 is empty.

/// Bits of the time.
const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// Most that a key can owe, in microseconds (38 hours): an eighth of the circle of 2^40. A time more than
/// twice as far ahead is a time in the past.
pub(super) const HORIZON: u64 = 1 << 37;

/// The tag of a hash: its low 24 bits, never 0. The high bits choose the line.
pub(super) fn tag(hash: u64) -> u64 {
    (hash & ((1 << (u64::BITS - TIME_BITS)) - 1)).max(1)
}

/// The word of a key that owes `owed` microseconds at `now`.
pub(super) fn pack(tag: u64, now: u64, owed: u64) -> u64 {
    (tag << TIME_BITS) | (now.wrapping_add(owed.min(HORIZON)) & TIME_MASK)
}

/// Whether the word is `tag`'s.
pub(super) fn has_tag(word: u64, tag: u64) -> bool {
    word >> TIME_BITS == tag
}

/// What the word owes at `now`, in microseconds; an empty one nothing.
pub(super) fn debt(word: u64, now: u64) -> u64 {
    let ahead = word.wrapping_sub(now) & TIME_MASK;
    if word == 0 || ahead > 2 * HORIZON { 0 } else { ahead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debt_survives_the_wrap_of_the_clock() {
        let now = TIME_MASK - 5;
        let word = pack(7, now, 20);
        assert!(has_tag(word, 7));
        assert_eq!(debt(word, now), 20);
        assert_eq!(debt(word, now + 19), 1);
        assert_eq!(debt(word, now + 21), 0);
        assert_eq!(debt(word, now + HORIZON * 5), 0);
    }

    #[test]
    fn an_empty_word_owes_nothing_at_any_time() {
        assert_eq!(debt(0, TIME_MASK), 0);
        assert!(!has_tag(0, tag(0)));
    }

    #[test]
    fn nobody_owes_more_than_the_horizon() {
        assert_eq!(debt(pack(1, 3, u64::MAX), 3), HORIZON);
    }
}
