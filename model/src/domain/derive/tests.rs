use proptest::prelude::*;

use super::*;
use crate::Host;
use crate::host::HostError;

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

fn target() -> Result<Target, HostError> {
    Ok(Target {
        host: Host::parse("shop.example.test")?,
        cname: Host::parse("d1.cname.apps.test")?,
        proof: "stoa-proof=abc".to_owned(),
        addresses: vec![std::net::Ipv4Addr::new(192, 0, 2, 1).into()],
    })
}

fn ready() -> Certification {
    Certification::Ready { not_after: NOW.plus(Duration::from_secs(1)) }
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let claim = prop_oneof![Just(Claim::Unproved), Just(Claim::Proved)];
    let routing = prop_oneof![
        Just(Routing::Unknown),
        Just(Routing::Absent),
        Just(Routing::Elsewhere { found: "A 192.0.2.9".to_owned() }),
        Just(Routing::Broken { reason: "SERVFAIL".to_owned() }),
        Just(Routing::Here),
    ];
    let certification = prop_oneof![
        Just(Certification::None),
        Just(Certification::Ordering),
        Just(Certification::Failing { reason: "busy".to_owned(), retry_at: NOW }),
        (-100_i64..100).prop_map(|seconds| Certification::Ready {
            not_after: Timestamp::from_unix_seconds(NOW.unix_seconds() + seconds)
        }),
    ];
    let presence = prop_oneof![Just(Presence::Absent), Just(Presence::Verified)];
    let away = proptest::option::of(0_u64..3_000_000);
    (claim, routing, certification, presence, away).prop_map(
        |(claim, routing, certification, presence, away)| Facts {
            claim,
            routing,
            certification,
            presence,
            checked_at: Some(NOW),
            away_since: away.map(|seconds| NOW.minus(Duration::from_secs(seconds))),
        },
    )
}

#[test]
fn a_new_domain_is_told_the_one_record_to_add() -> Result<(), HostError> {
    let target = target()?;
    let (status, action) = derive(&Facts::unknown(), &target, NOW);
    assert_eq!(
        (status, action.who, action.record),
        (DomainStatus::NeedsDns, Actor::You, Some(target.cname_record()))
    );
    Ok(())
}

#[test]
fn a_live_domain_that_moves_away_is_at_risk_then_moved_never_unknown() -> Result<(), HostError> {
    let facts = Facts {
        claim: Claim::Proved,
        routing: Routing::Absent,
        certification: Certification::Ready { not_after: NOW.plus(GRACE * 3) },
        presence: Presence::Verified,
        checked_at: None,
        away_since: Some(NOW),
    };
    assert_eq!(derive(&facts, &target()?, NOW).0, DomainStatus::AtRisk);
    assert_eq!(derive(&facts, &target()?, NOW.plus(GRACE)).0, DomainStatus::Moved);
    Ok(())
}

proptest! {
    #[test]
    fn every_action_is_short_and_says_who(facts in any_facts()) {
        let (status, action) = derive(&facts, &target()?, NOW);
        prop_assert!(action.text.split_whitespace().count() <= 25, "{}", action.text);
        prop_assert_eq!(action.record.is_some(), action.who == Actor::You && status != DomainStatus::DnsBroken);
    }

    #[test]
    fn live_means_a_valid_certificate_that_was_seen_from_outside(facts in any_facts()) {
        let live = derive(&facts, &target()?, NOW).0 == DomainStatus::Live;
        let valid = matches!(facts.certification, Certification::Ready { not_after } if not_after > NOW);
        prop_assert_eq!(live, valid && facts.presence == Presence::Verified && facts.away_since.is_none());
    }

    #[test]
    fn mending_the_routing_never_worsens(facts in any_facts()) {
        let mended = Facts { routing: Routing::Here, claim: Claim::Proved, away_since: None, ..facts.clone() };
        let rank = |status| match status {
            DomainStatus::NeedsDns | DomainStatus::Conflict | DomainStatus::DnsBroken => 0,
            DomainStatus::OurProblem => 1,
            DomainStatus::Issuing => 2,
            DomainStatus::Deploying => 3,
            DomainStatus::Moved => 4,
            DomainStatus::AtRisk => 5,
            DomainStatus::Live => 6,
        };
        prop_assert!(rank(derive(&mended, &target()?, NOW).0) >= rank(derive(&facts, &target()?, NOW).0));
    }
}

#[test]
fn a_certificate_that_is_ready_but_unseen_is_deploying() -> Result<(), HostError> {
    let facts =
        Facts { claim: Claim::Proved, routing: Routing::Here, certification: ready(), ..Facts::unknown() };
    assert_eq!(derive(&facts, &target()?, NOW).0, DomainStatus::Deploying);
    Ok(())
}

#[test]
fn a_domain_that_is_back_without_its_proof_is_asked_for_it() -> Result<(), HostError> {
    let back = Facts {
        claim: Claim::Proved,
        routing: Routing::Here,
        certification: ready(),
        presence: Presence::Verified,
        checked_at: None,
        away_since: Some(NOW.minus(GRACE)),
    };
    let asked = |facts: &Facts, now| -> Result<_, HostError> {
        let (status, action) = derive(facts, &target()?, now);
        Ok((status, action.record.map(|record| record.kind)))
    };
    assert_eq!(asked(&back, NOW)?, (DomainStatus::AtRisk, Some(RecordKind::Txt)));
    // After the certificate's end, whether or not somebody has looked since.
    assert_eq!(asked(&back, NOW.plus(GRACE))?, (DomainStatus::NeedsDns, Some(RecordKind::Txt)));
    let looked_at = Facts { claim: Claim::Unproved, certification: Certification::None, ..back };
    assert_eq!(asked(&looked_at, NOW)?, (DomainStatus::NeedsDns, Some(RecordKind::Txt)));
    Ok(())
}
