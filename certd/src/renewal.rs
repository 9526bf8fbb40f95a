//! When a certificate is renewed: when a third of its lifetime is left, whatever the lifetime is.

use model::Timestamp;

/// The moment from which the certificate is renewed.
#[must_use]
pub fn due_at(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    not_after.minus(not_after.since(not_before) / 3)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn start() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    #[test]
    fn a_third_of_any_lifetime_is_left_at_renewal() {
        for lifetime in [DAY * 90, DAY * 47, Duration::from_secs(30), Duration::from_millis(3)] {
            let end = start().plus(lifetime);
            assert_eq!(end.since(due_at(start(), end)), lifetime / 3);
        }
    }

    #[test]
    fn a_certificate_that_ends_before_it_begins_is_due_at_its_end() {
        assert_eq!(due_at(start().plus(DAY), start()), start());
    }
}
