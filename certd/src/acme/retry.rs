//! When an order that failed is tried again, by why it failed.

use std::time::Duration;

use model::Timestamp;

use super::AcmeError;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// The authority is away: often a matter of seconds, sometimes of hours. Let's Encrypt asks for back-off up
/// to a day; six hours keep a renewal (15 days of cover and more) safe.
const AUTHORITY: [Duration; 7] = [
    Duration::from_secs(30),
    MINUTE.saturating_mul(2),
    MINUTE.saturating_mul(10),
    MINUTE.saturating_mul(30),
    HOUR,
    HOUR.saturating_mul(2),
    HOUR.saturating_mul(6),
];
/// The proof was not seen: Let's Encrypt allows five failures an hour for a name.
const VALIDATION: [Duration; 5] =
    [MINUTE, MINUTE.saturating_mul(10), HOUR, HOUR.saturating_mul(6), HOUR.saturating_mul(24)];
/// Refused for good: an operator must act; a look a day shows whether somebody did.
const REFUSED: [Duration; 2] = [HOUR.saturating_mul(6), HOUR.saturating_mul(24)];
/// Our own store, a lost order, a lost account.
const OURS: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(15),
    MINUTE.saturating_mul(2),
    MINUTE.saturating_mul(10),
    HOUR,
];
/// The wait when a limit is reached and the authority does not say for how long.
pub(crate) const LIMITED: Duration = HOUR;
/// The least wait, even if the authority asks to come back at once.
const LEAST: Duration = SECOND.saturating_mul(2);

/// When to try again after `attempts` failures in a row, the last one for `error`. `jitter` is from 0 to 1:
/// a table's wait is moved by up to a fifth to either side, a wait the authority asked for only grows, by up
/// to a tenth.
#[must_use]
pub fn next_at(error: &AcmeError, attempts: u32, now: Timestamp, jitter: f64) -> Timestamp {
    let jitter = jitter.clamp(0.0, 1.0);
    let asked = |at: Timestamp| now.plus(at.since(now).max(LEAST).mul_f64(1.0 + 0.1 * jitter));
    match error {
        AcmeError::Busy { retry_at: Some(at), .. } | AcmeError::Limited { retry_at: Some(at), .. } => {
            asked(*at)
        }
        // A turn of our own that is reserved: nobody else has it.
        AcmeError::Spent { until } => (*until).max(now),
        AcmeError::Limited { retry_at: None, .. } => asked(now.plus(LIMITED)),
        _ => now.plus(row(table(error), attempts).mul_f64(0.8 + 0.4 * jitter)),
    }
}

fn table(error: &AcmeError) -> &'static [Duration] {
    match error {
        AcmeError::Busy { .. } | AcmeError::Limited { .. } | AcmeError::Unfinished { .. } => &AUTHORITY,
        AcmeError::Validation { .. }
        | AcmeError::NotYet { .. }
        | AcmeError::NotHere { .. }
        | AcmeError::Forbidden { .. }
        | AcmeError::Unusable(_) => &VALIDATION,
        AcmeError::Refused(_) => &REFUSED,
        AcmeError::UnknownAccount(_)
        | AcmeError::OrderGone
        | AcmeError::KeyChanged
        | AcmeError::Replaced(_)
        | AcmeError::Spent { .. }
        | AcmeError::Proof(_)
        | AcmeError::Fenced
        | AcmeError::Store(_)
        | AcmeError::Seal(_)
        | AcmeError::Crypto(_) => &OURS,
    }
}

/// The wait after the `attempts`th failure, counted from 1; the last row counts for all later ones.
fn row(table: &[Duration], attempts: u32) -> Duration {
    let at = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    table.get(at).or(table.last()).copied().unwrap_or(HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    fn wait(error: &AcmeError, attempts: u32, jitter: f64) -> Duration {
        next_at(error, attempts, now(), jitter).since(now())
    }

    fn busy(retry_at: Option<Timestamp>) -> AcmeError {
        AcmeError::Busy { reason: String::new(), retry_at }
    }

    #[test]
    fn an_absent_authority_is_asked_more_and_more_seldom() {
        let waits: Vec<u64> = (1..=9).map(|attempts| wait(&busy(None), attempts, 0.5).as_secs()).collect();
        assert_eq!(waits, [30, 120, 600, 1800, 3600, 7200, 21600, 21600, 21600]);
        assert_eq!(wait(&busy(None), 0, 0.5).as_secs(), 30);
        assert_eq!(wait(&busy(None), u32::MAX, 0.5).as_secs(), 21600);
    }

    #[test]
    fn jitter_moves_a_wait_by_a_fifth_at_most() {
        assert_eq!(wait(&busy(None), 1, 0.0), Duration::from_secs(24));
        assert_eq!(wait(&busy(None), 1, 1.0), Duration::from_secs(36));
        assert_eq!(wait(&busy(None), 1, 99.0), Duration::from_secs(36));
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept_and_never_shortened() {
        for error in [
            busy(Some(now().plus(HOUR))),
            AcmeError::Limited { reason: String::new(), retry_at: Some(now().plus(HOUR)) },
            AcmeError::Limited { reason: String::new(), retry_at: None },
        ] {
            assert_eq!(wait(&error, 1, 0.0), HOUR);
            assert_eq!(wait(&error, 7, 1.0), Duration::from_secs(3960));
        }
        assert_eq!(wait(&busy(Some(now())), 1, 0.0), LEAST);
        assert_eq!(wait(&busy(Some(now().minus(HOUR))), 1, 0.0), LEAST);
    }

    #[test]
    fn a_failed_check_of_a_name_stays_under_five_an_hour() {
        let error = AcmeError::Validation { host: String::new(), reason: String::new() };
        let tries_in_an_hour = (1..)
            .scan(Duration::ZERO, |at, attempts| {
                *at += wait(&error, attempts, 0.0);
                (*at < HOUR).then_some(())
            })
            .count();
        assert!(tries_in_an_hour < 5, "{tries_in_an_hour}");
    }

    #[test]
    fn what_is_refused_for_good_is_looked_at_once_a_day() {
        assert_eq!(wait(&AcmeError::Refused(String::new()), 2, 0.5), HOUR * 24);
    }
}
