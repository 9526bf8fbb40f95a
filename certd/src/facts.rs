//! How the facts of a domain change with one more look. Pure.

use model::Timestamp;
use model::domain::{Certification, Claim, Facts, Presence, Routing};

/// What one look found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) claim: Claim,
    pub(crate) routing: Routing,
    pub(crate) certification: Certification,
    /// Whether an edge shows the certificate; none: nobody looked.
    pub(crate) presence: Option<Presence>,
}

/// The facts after `look`.
///
/// What was proved stays proved, and what was seen on the edges stays seen while a certificate is valid: a
/// domain that is served is not told to begin anew because a record is gone, a resolver is silent or a
/// renewal is on its way. Orders do not rely on this memory: they look again.
pub(crate) fn after(before: &Facts, look: Look, now: Timestamp) -> Facts {
    let certified = matches!(look.certification, Certification::Ready { not_after } if not_after > now);
    let presence = match (certified, before.presence) {
        (false, _) => Presence::Absent,
        (true, Presence::Verified) => Presence::Verified,
        (true, Presence::Absent) => look.presence.unwrap_or(Presence::Absent),
    };
    let claim = if before.claim == Claim::Proved { Claim::Proved } else { look.claim };
    let away_since = match &look.routing {
        Routing::Here => None,
        // Silence is no move: the records may be as they were.
        Routing::Broken { .. } | Routing::Unknown => before.away_since,
        Routing::Absent | Routing::Elsewhere { .. } if presence == Presence::Verified => {
            before.away_since.or(Some(now))
        }
        Routing::Absent | Routing::Elsewhere { .. } => None,
    };
    Facts {
        claim,
        routing: look.routing,
        certification: look.certification,
        presence,
        checked_at: Some(now),
        away_since,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    fn live() -> Facts {
        after(&Facts::unknown(), look(Claim::Proved, Routing::Here), now())
    }

    fn look(claim: Claim, routing: Routing) -> Look {
        let certification = Certification::Ready { not_after: now().plus(HOUR * 24) };
        Look { claim, routing, certification, presence: Some(Presence::Verified) }
    }

    fn uncertified(routing: Routing) -> Look {
        Look { certification: Certification::None, presence: None, ..look(Claim::Unproved, routing) }
    }

    #[test]
    fn a_live_domain_that_points_elsewhere_counts_from_the_first_look() {
        let gone = after(&live(), look(Claim::Unproved, Routing::Absent), now().plus(HOUR));
        assert_eq!(gone.away_since, Some(now().plus(HOUR)));
        let still = after(&gone, look(Claim::Unproved, Routing::Absent), now().plus(HOUR * 2));
        assert_eq!(still.away_since, Some(now().plus(HOUR)));
        let back = after(&still, look(Claim::Proved, Routing::Here), now().plus(HOUR * 3));
        assert_eq!(back.away_since, None);
    }

    #[test]
    fn silent_name_servers_are_no_move() {
        let silent = Routing::Broken { reason: "the name servers do not answer".to_owned() };
        assert_eq!(after(&live(), look(Claim::Unproved, silent), now()).away_since, None);
    }

    #[test]
    fn what_was_proved_stays_proved() {
        assert_eq!(after(&live(), look(Claim::Unproved, Routing::Here), now()).claim, Claim::Proved);
        let new = after(&Facts::unknown(), uncertified(Routing::Here), now());
        assert_eq!(new.claim, Claim::Unproved);
    }

    #[test]
    fn a_renewal_on_its_way_takes_nothing_back() {
        let renewed = Look { presence: None, ..look(Claim::Proved, Routing::Here) };
        assert_eq!(after(&live(), renewed, now()).presence, Presence::Verified);
        let unseen = Look { presence: Some(Presence::Absent), ..look(Claim::Proved, Routing::Here) };
        assert_eq!(after(&live(), unseen, now()).presence, Presence::Verified);
    }

    #[test]
    fn an_expired_certificate_is_not_there() {
        let expired = Look {
            certification: Certification::Ready { not_after: now() },
            ..look(Claim::Proved, Routing::Here)
        };
        assert_eq!(after(&live(), expired, now()).presence, Presence::Absent);
    }

    #[test]
    fn a_domain_that_never_was_live_is_not_away() {
        assert_eq!(after(&Facts::unknown(), uncertified(Routing::Absent), now()).away_since, None);
    }
}
