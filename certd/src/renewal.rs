//! When a certificate is renewed: within the window that its authority advises (RFC 9773), else when a third of its
//! lifetime is left, and in any case when an eighth is.

use std::time::Duration;

use model::Timestamp;
use model::id::CertificateId;
use store::{Hastened, RenewalAdvice, Term, Urgency};

use crate::acme::Advice;

/// Which part of the lifetime is left at the latest.
const EMERGENCY: u32 = 8;
/// The part of a window in which a moment is chosen, in parts of it from its start: at its very edges a clock that is
/// a little wrong, or an order that takes a little longer, would fall out of it.
const WITHIN: (f64, f64) = (0.01, 0.9);

/// An order that failed is tried again before so much of what is left is over.
const LEFT: u32 = 16;
/// Others that are asked about when one certificate is wanted back.
const OTHERS: u32 = 100;
/// How long an answer is good enough meanwhile.
const LATELY: Duration = Duration::from_secs(20 * 60);
/// For how long a question is one process's: longer than an authority may take to answer.
pub(crate) const BEING_ASKED: Duration = Duration::from_secs(120);
/// And not before that, however little is left.
const HURRIED: Duration = Duration::from_secs(60);

/// The moment from which the certificate is renewed.
#[must_use]
pub fn due_at(held: impl Into<Term>) -> Timestamp {
    let held = held.into();
    let latest = held.not_after.minus(held.lifetime() / EMERGENCY);
    match held.window {
        Some(window) => chosen(held.id, window).min(latest),
        None => held.renews_at(),
    }
}

/// How much the renewal of a certificate hurries; none: there is no certificate.
#[must_use]
pub fn urgency(held: Option<impl Into<Term>>, now: Timestamp) -> Urgency {
    let Some(held) = held.map(Into::into).filter(|held| held.not_after > now) else {
        return Urgency::Waiting;
    };
    if held.not_after.since(now) <= held.lifetime() / EMERGENCY {
        Urgency::Emergency
    } else if held.window.is_some_and(|(_, end)| end <= now) {
        Urgency::Overdue
    } else {
        Urgency::Renewal
    }
}

/// What becomes of a certificate by what its authority said.
#[must_use]
pub fn heed(held: Term, advice: Advice, now: Timestamp) -> RenewalAdvice {
    let is_news = advice.window != held.window || held.window.is_none();
    let told = Term { window: advice.window, ..held };
    // What nobody writes down is not worked out: nearly all answers tell nothing new.
    let renew_at = if is_news { due_at(told) } else { now };
    let is_over = advice.window.is_some_and(|(_, end)| end <= now);
    let is_recalled = is_news && is_over && due_at(held) > now;
    RenewalAdvice {
        id: held.id,
        window: advice.window,
        renew_at,
        ask_in: advice.ask_in,
        is_news,
        is_recalled,
    }
}

/// Which other certificates of an authority are asked about sooner, because it wants one back that was not due, and
/// says to ask about that again in `ask_in`: it may want many, and each would be asked about hours from now only.
///
/// A certificate in a thousand that is wanted back costs some questions more; from one in a hundred on each that is found
/// leads to more than one other, so that all are found in as short a time as the pace of questions allows. Meanwhile none
/// is asked about twice within [`LATELY`].
#[must_use]
pub fn others_to_ask(ask_in: Duration) -> Hastened {
    Hastened { most: OTHERS, after: LATELY, instead_of: ask_in }
}

/// When an order is tried again that failed and would be at `retry_at`: an authority that is away for days is asked the
/// oftener the less is left of what the order takes the place of.
#[must_use]
pub fn hurried(retry_at: Timestamp, held: Option<impl Into<Term>>, now: Timestamp) -> Timestamp {
    let Some(held) = held.map(Into::into).filter(|held| held.not_after > now) else { return retry_at };
    retry_at.min(now.plus((held.not_after.since(now) / LEFT).max(HURRIED)))
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
    use model::certificate::{CertificateSource, CertificateStatus};
    use model::seal::SealingKey;
    use store::CertificateRecord;

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
            authority: None,
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
    fn an_authority_that_is_away_is_asked_the_oftener_the_less_is_left() {
        let held = held(DAY * 80, None);
        let wait = |left: Duration| {
            let now = held.not_after.minus(left);
            hurried(now.plus(DAY / 4), Some(&held), now).since(now)
        };
        assert_eq!(wait(DAY * 20), DAY / 4);
        assert_eq!(wait(DAY), DAY / 16);
        assert_eq!(wait(Duration::from_secs(90)), Duration::from_secs(60));
        let over = held.not_after.plus(DAY);
        assert_eq!(hurried(over.plus(DAY), Some(&held), over), over.plus(DAY));
    }

    #[test]
    fn what_is_said_again_is_no_news() {
        let window = (start().plus(DAY * 59), start().plus(DAY * 61));
        let advice = Advice { window: Some(window), ask_in: DAY / 4 };
        let term = Term::from(&held(DAY * 90, None));
        let told = heed(term, advice, start());
        assert!(told.is_news);
        assert_eq!(told.renew_at, due_at(Term { window: Some(window), ..term }));
        assert!(!heed(Term { window: Some(window), ..term }, advice, start()).is_news);
    }

    #[test]
    fn only_what_was_not_due_is_recalled() {
        let (before, after) =
            ((start(), start().plus(DAY / 2)), (start().plus(DAY * 59), start().plus(DAY * 61)));
        let over = Advice { window: Some(before), ask_in: DAY / 4 };
        let is_recalled = |window, days| {
            let term = Term::from(&held(DAY * 90, window));
            heed(term, over, start().plus(DAY * days)).is_recalled
        };
        assert!(is_recalled(Some(after), 1), "its window moved into the past");
        assert!(is_recalled(None, 1), "the first answer says so");
        assert!(!is_recalled(Some(before), 1), "it was said before");
        assert!(!is_recalled(Some(after), 62), "it was due");
        let later = Advice { window: Some(after), ..over };
        assert!(!heed(Term::from(&held(DAY * 90, None)), later, start()).is_recalled);
    }

    #[test]
    fn a_name_without_a_valid_certificate_has_somebody_waiting() {
        let held = held(DAY * 80, None);
        let urgencies = [0, 60, 70, 80].map(|days| urgency(Some(&held), start().plus(DAY * days)));
        let expected = [Urgency::Renewal, Urgency::Renewal, Urgency::Emergency, Urgency::Waiting];
        assert_eq!(urgencies, expected);
        assert_eq!(urgency(None::<Term>, start()), Urgency::Waiting);
    }
}
