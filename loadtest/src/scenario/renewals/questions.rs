//! Which certificate is asked about when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use model::Timestamp;

/// When which name's certificate is asked about.
type Question = (Timestamp, usize);

/// Questions by time. Nearly all are asked again after the same time, so that they come in the order in which they are
/// put in, and hundreds of millions of them cost no sorting.
#[derive(Debug, Default)]
pub(super) struct Questions {
    in_order: VecDeque<Question>,
    others: BinaryHeap<Reverse<Question>>,
}

impl Questions {
    /// The one that is next.
    pub(super) fn next(&self) -> Option<Question> {
        let other = self.others.peek().map(|Reverse(question)| *question);
        self.in_order.front().copied().into_iter().chain(other).min()
    }

    /// Takes it out.
    pub(super) fn pop(&mut self) -> Option<Question> {
        let next = self.next()?;
        if self.in_order.front() == Some(&next) {
            self.in_order.pop_front()
        } else {
            self.others.pop().map(|Reverse(question)| question)
        }
    }

    /// Puts one in.
    pub(super) fn push(&mut self, question: Question) {
        if self.in_order.back().is_none_or(|last| *last <= question) {
            self.in_order.push_back(question);
        } else {
            self.others.push(Reverse(question));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_comes_first_however_they_were_put_in() {
        let mut questions = Questions::default();
        let at = Timestamp::from_unix_seconds;
        for (seconds, name) in [(5, 0), (9, 1), (2, 2), (9, 3), (7, 4)] {
            questions.push((at(seconds), name));
        }
        let order = std::iter::from_fn(|| questions.pop().map(|(_, name)| name));
        assert_eq!(order.collect::<Vec<_>>(), [2, 0, 4, 1, 3]);
    }
}
