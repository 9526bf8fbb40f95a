//! How often a domain is looked at: every few seconds while a creator waits, every six hours when all is well.

use std::time::Duration;

use model::Timestamp;
use model::domain::{Certification, Claim, Contest, Facts, Presence, Routing};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Until how old a connection that is not made yet is looked at how often. After the last: once a day.
const YOUNG: [(Duration, Duration); 5] = [
    (MINUTE, SECOND.saturating_mul(2)),
    (MINUTE.saturating_mul(5), SECOND.saturating_mul(5)),
    (HOUR, MINUTE),
    (DAY, MINUTE.saturating_mul(5)),
    (DAY.saturating_mul(14), HOUR),
];
/// A domain that is live.
const LIVE: Duration = HOUR.saturating_mul(6);
/// A certificate that no edge has shown yet: the handshake costs next to nothing.
const DEPLOYING: Duration = SECOND;
/// An order that is under way tells when it ends; this is for the case that it cannot.
const ORDERING: Duration = SECOND.saturating_mul(15);
/// An order that failed and waits for its next attempt, which tells as well.
const FAILING: Duration = MINUTE.saturating_mul(5);

/// A domain whose page somebody looks at.
pub const WATCHED: Duration = SECOND.saturating_mul(5);
/// A domain that another account has proved, and the claim of that account: who acts sees it soon, and a proof that
/// goes away is noticed.
const CONTESTED: Duration = MINUTE;

/// When to look again, given what is now known. `since` is when the present wait began: when the domain was
/// added, or went away. `jitter` is from 0 to 1 and moves the wait by up to a tenth to either side.
#[must_use]
pub fn next_check_at(facts: &Facts, since: Timestamp, now: Timestamp, jitter: f64) -> Timestamp {
    let age = now.since(since);
    let proved = facts.claim == Claim::Proved && facts.away_since.is_none();
    let here = facts.routing == Routing::Here && proved;
    let certified = matches!(facts.certification, Certification::Ready { not_after } if not_after > now);
    let wait = match (here, certified, facts.presence) {
        (true, true, Presence::Verified) => LIVE,
        (true, true, Presence::Absent) if age < HOUR => DEPLOYING,
        (true, true, Presence::Absent) => ORDERING,
        (true, false, _) if matches!(facts.certification, Certification::Failing { .. }) => FAILING,
        // Nothing is ordered until that changes.
        (true, false, _) if facts.forbidden.is_some() || facts.unprovable.is_some() => young(age),
        (true, false, _) => ORDERING,
        (false, _, _) => young(age),
    };
    let wait = if facts.contest.is_some() { wait.min(CONTESTED) } else { wait };
    now.plus(wait.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)))
}

/// The same while somebody looks at the domain's page: every few seconds.
#[must_use]
pub fn watched(next: Timestamp, watched_until: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match watched_until {
        Some(until) if until > now => next.min(now.plus(WATCHED)),
        _ => next,
    }
}

/// When to look again at a claim, made at `since`, of a name that another account has.
#[must_use]
pub fn next_claim_check_at(contest: Contest, since: Timestamp, now: Timestamp, jitter: f64) -> Timestamp {
    let wait = match contest {
        Contest::Asked => young(now.since(since)),
        _ => CONTESTED,
    };
    now.plus(wait.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)))
}

fn young(age: Duration) -> Duration {
    YOUNG.iter().find(|(until, _)| age < *until).map_or(DAY, |(_, every)| *every)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    fn wait(facts: &Facts, age: Duration) -> Duration {
        next_check_at(facts, now().minus(age), now(), 0.5).since(now())
    }

    fn live() -> Facts {
        Facts {
            claim: Claim::Proved,
            routing: Routing::Here,
            certification: Certification::Ready { not_after: now().plus(DAY) },
            presence: Presence::Verified,
            ..Facts::unknown()
        }
    }

    #[test]
    fn a_waiting_creator_is_looked_at_within_seconds() {
        assert_eq!(wait(&Facts::unknown(), SECOND), SECOND * 2);
        assert_eq!(wait(&Facts::unknown(), MINUTE * 4), SECOND * 5);
        assert_eq!(wait(&Facts::unknown(), MINUTE * 30), MINUTE);
        assert_eq!(wait(&Facts::unknown(), HOUR * 3), MINUTE * 5);
        assert_eq!(wait(&Facts::unknown(), DAY * 3), HOUR);
        assert_eq!(wait(&Facts::unknown(), DAY * 300), DAY);
    }

    #[test]
    fn a_domain_that_is_watched_is_looked_at_every_few_seconds() {
        let (now, later) = (now(), now().plus(DAY));
        assert_eq!(watched(later, Some(now.plus(SECOND)), now), now.plus(WATCHED));
        assert_eq!(watched(now, Some(now.plus(SECOND)), now), now);
        assert_eq!([watched(later, Some(now), now), watched(later, None, now)], [later; 2]);
    }

    #[test]
    fn who_fights_for_a_name_is_looked_at_every_minute() {
        let contest = Some(Contest::Challenged { until: now() });
        assert_eq!(wait(&Facts { contest, ..live() }, DAY), MINUTE);
        let claim = |contest, age| next_claim_check_at(contest, now().minus(age), now(), 0.5).since(now());
        assert_eq!(claim(Contest::Waiting { until: now() }, DAY), MINUTE);
        assert_eq!((claim(Contest::Asked, SECOND), claim(Contest::Asked, DAY * 2)), (SECOND * 2, HOUR));
    }

    #[test]
    fn a_live_domain_is_looked_at_four_times_a_day() {
        assert_eq!(wait(&live(), DAY), HOUR * 6);
    }

    #[test]
    fn a_domain_that_went_away_is_looked_at_as_a_new_one() {
        let away = Facts { routing: Routing::Absent, ..live() };
        assert_eq!(wait(&away, SECOND), SECOND * 2);
        let unproved = Facts { away_since: Some(now()), ..live() };
        assert_eq!(wait(&unproved, SECOND), SECOND * 2);
    }

    #[test]
    fn a_certificate_on_its_way_is_looked_for_every_second() {
        let deploying = Facts { presence: Presence::Absent, ..live() };
        assert_eq!(wait(&deploying, MINUTE), SECOND);
        assert_eq!(wait(&deploying, DAY), SECOND * 15);
    }

    #[test]
    fn a_failing_order_is_left_to_its_own_retries() {
        let failing = Certification::Failing { reason: String::new(), retry_at: now() };
        assert_eq!(wait(&Facts { certification: failing, ..live() }, SECOND), MINUTE * 5);
        assert_eq!(wait(&Facts { certification: Certification::Ordering, ..live() }, SECOND), SECOND * 15);
    }

    #[test]
    fn jitter_moves_a_wait_by_a_tenth_at_most() {
        let at = |jitter| next_check_at(&live(), now(), now(), jitter).since(now());
        assert_eq!((at(0.0), at(1.0)), (HOUR * 6 * 9 / 10, HOUR * 6 * 11 / 10));
    }
}
