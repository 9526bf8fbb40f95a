//! How the facts of a domain change with one more look. Pure.

use std::time::Duration;

use model::Timestamp;
use model::domain::{Authority, Certification, Claim, Facts, Forbidden, Presence, Routing, Unprovable};
use store::Shown;

/// What one look found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether the zone's own servers show the proof as a text.
    pub(crate) text: Shown,
    pub(crate) claim: Claim,
    pub(crate) routing: Routing,
    pub(crate) authority: Authority,
    pub(crate) certification: Certification,
    pub(crate) forbidden: Option<Forbidden>,
    /// What is missing to prove a wildcard.
    pub(crate) unprovable: Option<Unprovable>,
    /// Whether another tenant's wildcard covers the name, and nothing shows that the name is this one's still.
    pub(crate) is_covered: bool,
    /// For how long an old record is still remembered.
    pub(crate) remembered: Option<Duration>,
    /// Whether an edge shows the certificate; none: nobody looked.
    pub(crate) presence: Option<Presence>,
}

/// Whether a certificate may be ordered for a domain whose records now say `claim` and `routing`.
///
/// The first order needs the proof in the records. Once a domain `was_live`, its proof stays good as long as
/// it has pointed here without a pause, so that a creator may tidy the TXT record away; that the name leads
/// to us is proved anew to the authority with every order. After a pause the proof must be seen again.
///
/// A domain that was live is renewed also while one of its servers lags behind the others: the authority looks for
/// itself, and a padlock must not end because a provider forgets a server.
pub(crate) fn may_order(before: &Facts, was_live: bool, claim: Claim, routing: &Routing) -> bool {
    match routing {
        Routing::Here => claim == Claim::Proved || stays_good(before, was_live),
        Routing::Spreading { .. } => stays_good(before, was_live),
        _ => false,
    }
}

fn stays_good(before: &Facts, was_live: bool) -> bool {
    was_live && before.claim == Claim::Proved && before.away_since.is_none()
}

/// The facts after `look` at a domain that `was_live` or not.
///
/// What was proved stays proved, and what was seen on the edges stays seen while a certificate is valid: a
/// domain that is served is not told to begin anew because a record is gone, a resolver is silent or a
/// renewal is on its way. Without a valid certificate the claim is proved only if [`may_order`] would agree,
/// since the creator must otherwise be asked for the proof. A domain that was away is back with its proof.
pub(crate) fn after(before: &Facts, was_live: bool, look: Look, now: Timestamp) -> Facts {
    let certified = matches!(look.certification, Certification::Ready { not_after } if not_after > now);
    // Its own record is gone: visitors of the name are meant for the other tenant, who has all names beside it. While it
    // points here by itself, perhaps, it is served, and not renewed.
    let is_lost = look.is_covered
        && !matches!(
            look.routing,
            Routing::Here | Routing::Broken { .. } | Routing::Unknown | Routing::Spreading { .. }
        );
    let presence = match (certified, before.presence) {
        (false, _) => Presence::Absent,
        (true, _) if is_lost => Presence::Absent,
        (true, Presence::Verified) => Presence::Verified,
        (true, Presence::Absent) => look.presence.unwrap_or(Presence::Absent),
    };
    let claim = match (look.claim, &look.routing) {
        (Claim::Proved, _) => Claim::Proved,
        (_, _) if is_lost => Claim::Unproved,
        (_, Routing::Here) if !certified && !stays_good(before, was_live) => Claim::Unproved,
        (_, _) => before.claim,
    };
    let away_since = match &look.routing {
        Routing::Here if look.claim == Claim::Proved => None,
        Routing::Here if look.is_covered && was_live => before.away_since.or(Some(now)),
        // Back without the proof is not back, and without a pause there is nothing to come back from.
        Routing::Here => before.away_since,
        // Silence is no move: the records may be as they were. Neither is what some servers do not know yet.
        Routing::Broken { .. } | Routing::Unknown | Routing::Spreading { .. } => before.away_since,
        Routing::Absent
        | Routing::Misplaced { .. }
        | Routing::Elsewhere { .. }
        | Routing::Partial { .. }
        | Routing::Proxied { .. }
            if was_live || presence == Presence::Verified =>
        {
            before.away_since.or(Some(now))
        }
        Routing::Absent
        | Routing::Misplaced { .. }
        | Routing::Elsewhere { .. }
        | Routing::Partial { .. }
        | Routing::Proxied { .. } => None,
    };
    Facts {
        claim,
        routing: look.routing,
        authority: look.authority,
        certification: look.certification,
        forbidden: look.forbidden,
        unprovable: look.unprovable,
        presence,
        policy: before.policy,
        checked_at: Some(now),
        away_since,
        old_until: look.remembered.map(|for_how_long| now.plus(for_how_long)),
        kept_until: before.kept_until,
        look_every_seconds: before.look_every_seconds,
        contest: before.contest,
        uploaded_until: before.uploaded_until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    fn live() -> Facts {
        after(&Facts::unknown(), false, look(Claim::Proved, Routing::Here), now())
    }

    fn look(claim: Claim, routing: Routing) -> Look {
        let certification = Certification::Ready { not_after: now().plus(HOUR * 24) };
        Look {
            text: Shown::Untold,
            claim,
            routing,
            authority: Authority::default(),
            certification,
            forbidden: None,
            unprovable: None,
            is_covered: false,
            remembered: None,
            presence: Some(Presence::Verified),
        }
    }

    fn uncertified(routing: Routing) -> Look {
        Look { certification: Certification::None, presence: None, ..look(Claim::Unproved, routing) }
    }

    #[test]
    fn a_live_domain_that_points_elsewhere_counts_from_the_first_look() {
        let gone = after(&live(), true, look(Claim::Unproved, Routing::Absent), now().plus(HOUR));
        assert_eq!(gone.away_since, Some(now().plus(HOUR)));
        let still = after(&gone, true, look(Claim::Unproved, Routing::Absent), now().plus(HOUR * 2));
        assert_eq!(still.away_since, Some(now().plus(HOUR)));
        let back = after(&still, true, look(Claim::Proved, Routing::Here), now().plus(HOUR * 3));
        assert_eq!(back.away_since, None);
    }

    #[test]
    fn silent_name_servers_are_no_move() {
        let silent = Routing::Broken { reason: "the name servers do not answer".to_owned() };
        assert_eq!(after(&live(), true, look(Claim::Unproved, silent), now()).away_since, None);
    }

    #[test]
    fn what_was_proved_stays_proved() {
        assert_eq!(after(&live(), true, look(Claim::Unproved, Routing::Here), now()).claim, Claim::Proved);
        let new = after(&Facts::unknown(), false, uncertified(Routing::Here), now());
        assert_eq!(new.claim, Claim::Unproved);
    }

    #[test]
    fn the_proof_of_a_live_domain_stays_good_without_a_pause() {
        let (proved, here) = (Claim::Proved, Routing::Here);
        assert!(may_order(&live(), true, Claim::Unproved, &here));
        assert!(may_order(&Facts::unknown(), false, proved, &here));
        assert!(!may_order(&live(), false, Claim::Unproved, &here));
        assert!(!may_order(&Facts::unknown(), true, Claim::Unproved, &here));
        assert!(!may_order(&live(), true, proved, &Routing::Absent));
        let spreading = Routing::Spreading { late: "ns2.example.com".to_owned(), seconds: 300 };
        assert!(may_order(&live(), true, Claim::Unproved, &spreading), "a server that lags ends no padlock");
        assert!(!may_order(&live(), false, proved, &spreading), "a first order waits for all of them");
        let expired = after(&live(), true, uncertified(Routing::Here), now());
        assert_eq!((expired.claim, expired.away_since), (proved, None));
    }

    #[test]
    fn a_domain_that_is_back_without_its_proof_is_not_back() {
        let gone = after(&live(), true, look(Claim::Unproved, Routing::Absent), now());
        let back = after(&gone, true, look(Claim::Unproved, Routing::Here), now().plus(HOUR));
        // Served as long as its certificate is valid, but not renewed.
        assert_eq!((back.claim, back.away_since), (Claim::Proved, Some(now())));
        assert!(!may_order(&back, true, Claim::Unproved, &Routing::Here));
        let ended = after(&back, true, uncertified(Routing::Here), now().plus(HOUR * 24));
        assert_eq!((ended.claim, ended.away_since), (Claim::Unproved, Some(now())));
        let proved = after(&ended, true, look(Claim::Proved, Routing::Here), now().plus(HOUR * 25));
        assert_eq!((proved.claim, proved.away_since), (Claim::Proved, None));
    }

    #[test]
    fn a_pause_after_the_certificates_end_is_a_pause() {
        let ended = after(&live(), true, uncertified(Routing::Here), now());
        let gone = after(&ended, true, uncertified(Routing::Absent), now());
        let back = after(&gone, true, uncertified(Routing::Here), now());
        assert_eq!((gone.away_since, back.claim), (Some(now()), Claim::Unproved));
    }

    #[test]
    fn a_proof_that_is_gone_before_the_first_certificate_is_asked_for_again() {
        let proved = Look { claim: Claim::Proved, ..uncertified(Routing::Here) };
        let proved = after(&Facts::unknown(), false, proved, now());
        assert_eq!(proved.claim, Claim::Proved);
        assert_eq!(after(&proved, false, uncertified(Routing::Here), now()).claim, Claim::Unproved);
    }

    #[test]
    fn a_renewal_on_its_way_takes_nothing_back() {
        let renewed = Look { presence: None, ..look(Claim::Proved, Routing::Here) };
        assert_eq!(after(&live(), true, renewed, now()).presence, Presence::Verified);
        let unseen = Look { presence: Some(Presence::Absent), ..look(Claim::Proved, Routing::Here) };
        assert_eq!(after(&live(), true, unseen, now()).presence, Presence::Verified);
    }

    #[test]
    fn an_expired_certificate_is_not_there() {
        let expired = Look {
            certification: Certification::Ready { not_after: now() },
            ..look(Claim::Proved, Routing::Here)
        };
        assert_eq!(after(&live(), true, expired, now()).presence, Presence::Absent);
    }

    #[test]
    fn a_name_that_lies_below_anothers_wildcard_is_given_up_without_its_proof() {
        let covered = |routing| Look { is_covered: true, ..look(Claim::Unproved, routing) };
        for routing in [Routing::Absent, Routing::Elsewhere { found: "CNAME a.b".to_owned() }] {
            let lost = after(&live(), true, covered(routing), now());
            assert_eq!((lost.claim, lost.presence), (Claim::Unproved, Presence::Absent));
        }
        // An address of ours may be its own or the wildcard's: it is asked for its proof until its certificate ends.
        let asked = after(&live(), true, covered(Routing::Here), now());
        assert_eq!((asked.claim, asked.presence), (Claim::Proved, Presence::Verified));
        assert_eq!(asked.away_since, Some(now()));
        let shown = after(&asked, true, look(Claim::Proved, Routing::Here), now().plus(HOUR));
        assert_eq!(shown.away_since, None);
        let silent = Routing::Broken { reason: "the name servers do not answer".to_owned() };
        assert_eq!(after(&live(), true, covered(silent), now()).claim, Claim::Proved);
    }

    #[test]
    fn a_domain_that_never_was_live_is_not_away() {
        assert_eq!(after(&Facts::unknown(), false, uncertified(Routing::Absent), now()).away_since, None);
    }
}
