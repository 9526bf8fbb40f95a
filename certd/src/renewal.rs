//! When a certificate is renewed: when a third of its lifetime is left, whatever the lifetime is.

use std::time::Duration;

use model::Timestamp;

/// The moment from which the certificate is renewed.
#[must_use]
pub fn due_at(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    not_after.minus(not_after.since(not_before) / 3)
}

/// [`due_at`] moved earlier by up to a thirtieth of the lifetime, so that certificates that were made
/// together are not renewed together. `share` is from 0 to 1 and must stay the same for a certificate.
#[must_use]
pub fn spread_due_at(not_before: Timestamp, not_after: Timestamp, share: f64) -> Timestamp {
    let lifetime: Duration = not_after.since(not_before);
    due_at(not_before, not_after).minus((lifetime / 30).mul_f64(share.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
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
    fn renewals_are_spread_a_thirtieth_earlier_at_most() {
        let end = start().plus(DAY * 90);
        assert_eq!(spread_due_at(start(), end, 0.0), due_at(start(), end));
        assert_eq!(spread_due_at(start(), end, 1.0), due_at(start(), end).minus(DAY * 3));
        assert_eq!(spread_due_at(start(), end, 7.0), spread_due_at(start(), end, 1.0));
    }

    #[test]
    fn a_certificate_that_ends_before_it_begins_is_due_at_its_end() {
        assert_eq!(due_at(start().plus(DAY), start()), start());
    }
}
