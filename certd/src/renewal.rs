//! When a certificate is renewed: within the window that its authority advises (RFC 9773), else when a third of its
//! lifetime is left, and in any case when an eighth is.

use model::Timestamp;
use model::id::CertificateId;
use store::{CertificateRecord, Urgency};

/// Which part of the lifetime is left at the latest.
const EMERGENCY: u32 = 8;
/// The part of a window in which a moment is chosen, in parts of it from its start: at its very edges a clock that is
/// a little wrong, or an order that takes a little longer, would fall out of it.
const WITHIN: (f64, f64) = (0.01, 0.9);

/// The moment from which the certificate is renewed.
#[must_use]
pub fn due_at(held: &CertificateRecord) -> Timestamp {
    let lifetime = held.not_after.since(held.not_before);
    let latest = held.not_after.minus(lifetime / EMERGENCY);
    match held.renewal_window {
        Some(window) => chosen(held.id, window).min(latest),
        None => held.renews_at(),
    }
}

/// How much the renewal of a certificate hurries; none: there is no certificate.
#[must_use]
pub fn urgency(held: Option<&CertificateRecord>, now: Timestamp) -> Urgency {
    let Some(held) = held.filter(|held| held.not_after > now) else { return Urgency::Waiting };
    let lifetime = held.not_after.since(held.not_before);
    if held.not_after.since(now) <= lifetime / EMERGENCY {
        Urgency::Emergency
    } else if held.renewal_window.is_some_and(|(_, end)| end <= now) {
        Urgency::Overdue
    } else {
        Urgency::Renewal
    }
}

/// A moment in the window, evenly spread over certificates and always the same for one: a restart does not draw again.
fn chosen(id: CertificateId, (start, end): (Timestamp, Timestamp)) -> Timestamp {
    let part = WITHIN.0 + (WITHIN.1 - WITHIN.0) * fraction(&id.to_string());
    start.plus(end.since(start).mul_f64(part))
}

/// From 0 to 1, by the text alone: FNV-1a, whose last step is mixed once more (the finaliser of MurmurHash3) because
/// the ids of one moment differ in few bits.
fn fraction(text: &str) -> f64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    // The upper 32 bits: a whole number that f64 holds exactly.
    u32::try_from(mixed >> 32).map_or(0.0, |part| f64::from(part) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::certificate::{CertificateSource, CertificateStatus};
    use model::seal::SealingKey;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn start() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    fn held(lifetime: Duration, window: Option<(Timestamp, Timestamp)>) -> CertificateRecord {
        CertificateRecord {
            id: CertificateId::generate(start()),
            tenant: None,
            app: None,
            source: CertificateSource::Acme,
            issuer: String::new(),
            serial: String::new(),
            names: Vec::new(),
            chain_pem: String::new(),
            key: SealingKey::generate().seal("test", b"key").unwrap(),
            not_before: start(),
            not_after: start().plus(lifetime),
            renewal_window: window,
            status: CertificateStatus::Active,
            created_at: start(),
        }
    }

    #[test]
    fn a_third_of_any_lifetime_is_left_at_renewal_without_advice() {
        for lifetime in [DAY * 90, DAY * 47, Duration::from_secs(30), Duration::from_millis(3)] {
            let held = held(lifetime, None);
            assert_eq!(held.not_after.since(due_at(&held)), lifetime / 3);
        }
    }

    #[test]
    fn a_certificate_that_ends_before_it_begins_is_due_at_its_end() {
        let mut held = held(Duration::ZERO, None);
        held.not_before = start().plus(DAY);
        assert_eq!(due_at(&held), start());
    }

    #[test]
    fn the_moment_lies_within_the_window_and_stays_where_it_is() {
        let window = (start().plus(DAY * 59), start().plus(DAY * 61));
        let mut moments = Vec::new();
        for _ in 0..500 {
            let held = held(DAY * 90, Some(window));
            assert_eq!(due_at(&held), due_at(&held));
            moments.push(due_at(&held).since(window.0).as_secs_f64() / (DAY * 2).as_secs_f64());
        }
        assert!(moments.iter().all(|part| (0.01..=0.9).contains(part)));
        for quarter in [0.01, 0.2325, 0.455, 0.6775] {
            let within = moments.iter().filter(|part| (quarter..quarter + 0.2225).contains(*part)).count();
            // 125 are expected, with a standard deviation of 10.
            assert!((75..175).contains(&within), "{within} of 500 from {quarter} on");
        }
    }

    #[test]
    fn a_window_beyond_the_last_eighth_does_not_let_a_certificate_end() {
        let late = (start().plus(DAY * 85), start().plus(DAY * 95));
        assert_eq!(due_at(&held(DAY * 80, Some(late))), start().plus(DAY * 70));
    }

    #[test]
    fn a_window_that_is_past_is_now() {
        let past = (start().minus(DAY), start().minus(DAY / 2));
        let revoked = held(DAY * 90, Some(past));
        assert!(due_at(&revoked) < start());
        assert_eq!(urgency(Some(&revoked), start()), Urgency::Overdue);
    }

    #[test]
    fn a_name_without_a_valid_certificate_has_somebody_waiting() {
        let held = held(DAY * 80, None);
        let urgencies = [0, 60, 70, 80].map(|days| urgency(Some(&held), start().plus(DAY * days)));
        let expected = [Urgency::Renewal, Urgency::Renewal, Urgency::Emergency, Urgency::Waiting];
        assert_eq!(urgencies, expected);
        assert_eq!(urgency(None, start()), Urgency::Waiting);
    }
}
