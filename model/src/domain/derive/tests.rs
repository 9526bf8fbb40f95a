//! The statuses one by one, then promises over a million made-up vectors of facts.

use std::collections::HashSet;

use super::super::Unprovable;
use super::super::connection::Connector;
use super::super::{Authority, NameForm, Provider, Refusal, plain};
use super::*;
use crate::Host;
use crate::host::HostError;

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

fn target() -> Result<Target, HostError> {
    Ok(Target {
        host: Host::parse("shop.example.test")?.into(),
        cname: Host::parse("d1.cname.apps.test")?,
        proof: "stoa-proof=abc".to_owned(),
        addresses: vec![std::net::Ipv4Addr::new(192, 0, 2, 1).into()],
    })
}

fn ready() -> Certification {
    Certification::Ready { not_after: NOW.plus(Duration::from_secs(1)) }
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
        away_since: Some(NOW),
        ..Facts::unknown()
    };
    assert_eq!(derive(&facts, &target()?, NOW).0, DomainStatus::AtRisk);
    assert_eq!(derive(&facts, &target()?, NOW.plus(GRACE)).0, DomainStatus::Moved);
    Ok(())
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
        away_since: Some(NOW.minus(GRACE)),
        ..Facts::unknown()
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

fn here() -> Facts {
    Facts { claim: Claim::Proved, routing: Routing::Here, ..Facts::unknown() }
}

fn forbidden() -> Forbidden {
    Forbidden {
        allowed: Some("pki.goog".to_owned()),
        name: Host::parse("example.test").unwrap(),
        add: "0 issue \"letsencrypt.org\"".to_owned(),
    }
}

fn unprovable() -> Option<Unprovable> {
    Some(Unprovable { record: Some(delegation()) })
}

fn delegation() -> Record {
    Record::new(RecordKind::Cname, "_acme-challenge.shop.example.test", "d1.acme.apps.test")
}

fn authority(health: Health, form: NameForm) -> Authority {
    Authority {
        health,
        zone: Host::parse("example.test").ok(),
        servers: vec!["ns1.host.test".to_owned()],
        provider: Some(Provider {
            name: "Gandi".to_owned(),
            form,
            apex_alias: false,
            trap: Some("Mind the dot.".to_owned()),
            trap_kinds: vec![RecordKind::Cname],
            trap_apex: false,
            connect: None,
        }),
        stale: Some("Namecheap".to_owned()),
    }
}

#[test]
fn the_record_is_told_as_the_providers_form_wants_it() {
    let facts = Facts { authority: authority(Health::Sound, NameForm::At), ..Facts::unknown() };
    let (status, action) = derive(&facts, &target().unwrap(), NOW);
    let record = action.record.unwrap();
    assert_eq!((status, record.name.as_str()), (DomainStatus::NeedsDns, "shop.example.test"));
    assert_eq!((record.form_name.as_deref(), action.hint.as_deref()), (Some("shop"), Some("Mind the dot.")));
    assert_eq!(action.text, "Add the record below at Gandi. We look for it every few seconds.");
    let unproved = Facts { routing: Routing::Here, ..facts };
    let (_, action) = derive(&unproved, &target().unwrap(), NOW);
    assert_eq!((action.record.unwrap().kind, action.hint), (RecordKind::Txt, None), "no dot ends a text");
}

#[test]
fn a_record_that_we_can_set_ourselves_is_offered() {
    let mut facts = Facts { authority: authority(Health::Sound, NameForm::At), ..Facts::unknown() };
    let offer = |facts: &Facts| derive(facts, &target().unwrap(), NOW).1.connect;
    assert_eq!(offer(&facts), None, "a provider that we cannot speak to");
    let cloudflare = Provider { connect: Some(Connector::Cloudflare), ..Provider::named("Cloudflare") };
    facts.authority.provider = Some(cloudflare);
    let offered = offer(&facts).unwrap();
    assert_eq!(offered.provider, Connector::Cloudflare);
    assert_eq!(offered.text, "Or let us set it at Cloudflare for you: enter a key from there at any time.");
    facts.routing = Routing::Proxied { by: "Cloudflare".to_owned() };
    assert_eq!(offer(&facts), None, "the record is right, and hidden");
    let issuing = Facts { routing: Routing::Here, claim: Claim::Proved, ..facts };
    assert_eq!(offer(&issuing), None, "nothing to set");
}

#[test]
fn a_zones_own_name_is_given_an_address_where_it_cannot_be_an_alias() {
    let target = Target { host: Host::parse("example.test").unwrap().into(), ..target().unwrap() };
    let mut facts = Facts { authority: authority(Health::Sound, NameForm::At), ..Facts::unknown() };
    let record = |facts: &Facts, target: &Target| {
        let record = derive(facts, target, NOW).1.record.unwrap();
        (record.kind, record.form_name)
    };
    assert_eq!(record(&facts, &target), (RecordKind::A, Some("@".to_owned())));
    facts.authority.provider.as_mut().unwrap().apex_alias = true;
    assert_eq!(record(&facts, &target), (RecordKind::Cname, Some("@".to_owned())));
    facts.authority.provider.as_mut().unwrap().apex_alias = false;
    let nowhere = Target { addresses: Vec::new(), ..target };
    assert_eq!(record(&facts, &nowhere).0, RecordKind::Cname);
}

/// Facts with the status that they mean: each status once at least.
fn each_status() -> Vec<(Facts, DomainStatus)> {
    let elsewhere = |found: &str| Routing::Elsewhere { found: found.to_owned() };
    let routed = |routing| Facts { routing, ..Facts::unknown() };
    let healthy = |health, routing| Facts { authority: authority(health, NameForm::At), ..routed(routing) };
    let failing = Certification::Failing { reason: "busy".to_owned(), retry_at: NOW };
    vec![
        (Facts { policy: Policy::Refused, ..here() }, DomainStatus::InvalidName),
        (Facts { claim: Claim::Contested, ..here() }, DomainStatus::ClaimedElsewhere),
        (
            Facts { claim: Claim::Contested, contest: Some(Contest::Asked), ..here() },
            DomainStatus::ClaimedElsewhere,
        ),
        (routed(Routing::Unknown), DomainStatus::NeedsDns),
        (
            routed(Routing::Misplaced { name: "shop.example.test.example.test".to_owned() }),
            DomainStatus::NeedsDns,
        ),
        (routed(elsewhere("A 192.0.2.9")), DomainStatus::Conflict),
        (routed(Routing::Partial { found: "AAAA 2001:db8::9".to_owned() }), DomainStatus::Conflict),
        (healthy(Health::Split, elsewhere("A 192.0.2.9")), DomainStatus::WrongZone),
        (healthy(Health::Unregistered, Routing::Absent), DomainStatus::DnsBroken),
        (healthy(Health::Lame, Routing::Broken { reason: String::new() }), DomainStatus::DnsBroken),
        (routed(Routing::Spreading { late: "ns2".to_owned(), seconds: 300 }), DomainStatus::Spreading),
        (routed(Routing::Proxied { by: "Cloudflare".to_owned() }), DomainStatus::Proxied),
        (Facts { forbidden: Some(forbidden()), ..here() }, DomainStatus::CaaBlock),
        (Facts { certification: Certification::Ordering, ..here() }, DomainStatus::Issuing),
        (Facts { certification: failing.clone(), ..here() }, DomainStatus::OurProblem),
        (
            Facts { certification: failing, old_until: Some(NOW.plus(GRACE)), ..here() },
            DomainStatus::Spreading,
        ),
        (
            Facts { claim: Claim::Proved, certification: ready(), ..routed(elsewhere("A 192.0.2.9")) },
            DomainStatus::Prepared,
        ),
        (Facts { certification: ready(), ..here() }, DomainStatus::Deploying),
        (Facts { certification: ready(), presence: Presence::Verified, ..here() }, DomainStatus::Live),
        (
            Facts {
                certification: ready(),
                presence: Presence::Verified,
                forbidden: Some(forbidden()),
                ..here()
            },
            DomainStatus::AtRisk,
        ),
        (
            Facts {
                certification: ready(),
                presence: Presence::Verified,
                away_since: Some(NOW.minus(GRACE)),
                ..routed(Routing::Absent)
            },
            DomainStatus::Moved,
        ),
        (Facts { policy: Policy::Suspended, ..here() }, DomainStatus::Suspended),
        (Facts { claim: Claim::Released, kept_until: Some(NOW), ..here() }, DomainStatus::Removed),
    ]
}

#[test]
fn each_fact_has_its_status() {
    let target = target().unwrap();
    let mut seen = Vec::new();
    for (facts, wanted) in each_status() {
        let (status, action) = derive(&facts, &target, NOW);
        assert_eq!(status, wanted, "{facts:?}");
        assert_eq!(plain::check_step(action.who, &action.text), Ok(()));
        seen.push(status);
    }
    assert!(DomainStatus::ALL.iter().all(|status| seen.contains(status)), "all eighteen");
}

#[test]
fn a_value_with_the_domain_at_its_end_is_told_apart_from_an_old_record() {
    let facts =
        |found: &str| Facts { routing: Routing::Elsewhere { found: found.to_owned() }, ..Facts::unknown() };
    let target = target().unwrap();
    let action = derive(&facts("CNAME d1.cname.apps.test.example.test"), &target, NOW).1;
    assert!(action.text.starts_with("The record's value has your domain added"), "{}", action.text);
    assert_eq!(action.record.unwrap().value, "d1.cname.apps.test.");
    let other = derive(&facts("CNAME d1.cname.apps.testing"), &target, NOW).1;
    assert!(other.text.starts_with("An old record is in the way"), "{}", other.text);
}

#[test]
fn the_record_that_lets_us_make_a_padlock_is_told_exactly() {
    let facts = Facts { forbidden: Some(forbidden()), ..here() };
    let record = derive(&facts, &target().unwrap(), NOW).1.record.unwrap();
    let told = (record.kind, record.name.as_str(), record.value.as_str());
    assert_eq!(told, (RecordKind::Caa, "example.test", "0 issue \"letsencrypt.org\""));
}

fn wildcard() -> Target {
    Target { host: "*.shop.example.test".parse().unwrap(), ..target().unwrap() }
}

#[test]
fn a_wildcard_is_connected_by_one_alias_for_all_names_and_one_for_its_padlock() {
    let target = wildcard();
    let new = Facts { authority: authority(Health::Sound, NameForm::At), ..Facts::unknown() };
    let zone = Host::parse("shop.example.test").ok();
    let new = Facts { authority: Authority { zone, ..new.authority }, routing: Routing::Absent, ..new };
    let record = derive(&new, &target, NOW).1.record.unwrap();
    assert_eq!(
        (record.kind, record.name.as_str(), record.form_name.as_deref()),
        (RecordKind::Cname, "*.shop.example.test", Some("*")),
        "an alias, although the zone's own name could have none"
    );
    let here = Facts { unprovable: unprovable(), authority: new.authority, ..here() };
    let (status, action) = derive(&here, &target, NOW);
    assert_eq!(status, DomainStatus::NeedsDns);
    let record = action.record.unwrap();
    assert_eq!(
        (record.name, record.form_name.as_deref(), record.value),
        (delegation().name, Some("_acme-challenge"), delegation().value)
    );
    let live = Facts { certification: ready(), presence: Presence::Verified, ..here.clone() };
    let (status, action) = derive(&live, &target, NOW);
    assert_eq!(
        (status, action.record.map(|record| record.name)),
        (DomainStatus::AtRisk, Some(delegation().name))
    );
    assert!(action.text.starts_with("Still live, but the record that renews"), "{}", action.text);
    let ours = Facts { unprovable: Some(Unprovable { record: None }), ..live.clone() };
    let (status, action) = derive(&ours, &target, NOW);
    assert_eq!((status, action.who, action.record), (DomainStatus::AtRisk, Actor::Us, None));
    let new = Facts { unprovable: Some(Unprovable { record: None }), ..here };
    assert_eq!(derive(&new, &target, NOW).0, DomainStatus::OurProblem);
    let mended = Facts { unprovable: None, ..live };
    assert_eq!(derive(&mended, &target, NOW).0, DomainStatus::Live);
    assert_eq!(target.text_record().name, "_stoa.shop.example.test");
}

#[test]
fn facts_of_before_there_were_five_are_still_read() {
    let old = r#"{"claim":"proved","routing":{"value":"elsewhere","found":"A 192.0.2.1"},
        "certification":{"value":"failing","reason":"x","retry_at":"2026-11-22T18:30:00Z"},
        "presence":"absent","checked_at":null,"away_since":"2026-11-22T18:30:00Z"}"#;
    let facts: Facts = serde_json::from_str(old).unwrap();
    assert_eq!(facts.routing, Routing::Elsewhere { found: "A 192.0.2.1".to_owned() });
    assert_eq!((facts.authority, facts.policy), (Authority::default(), Policy::Allowed));
    let written = serde_json::to_string(&Facts::unknown()).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&written).unwrap(), Facts::unknown());
}

/// A generator that is fast without optimisation (SplitMix64, Steele, Lea and Flood 2014), for a million vectors.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap() % bound
    }
}

/// Costs no allocation when it is cloned a million times.
fn terse() -> Forbidden {
    Forbidden { allowed: None, add: String::new(), ..forbidden() }
}

/// Any facts, likely and unlikely ones alike.
fn any_facts(dice: &mut Dice, forbidden: &Forbidden) -> Facts {
    let text = String::new;
    let routing = match dice.below(11) {
        0 => Routing::Unknown,
        1 => Routing::Absent,
        2 => Routing::Misplaced { name: text() },
        3 => Routing::Elsewhere { found: text() },
        4 => Routing::Partial { found: text() },
        5 => Routing::Proxied { by: text() },
        6 => Routing::Broken { reason: text() },
        7 => Routing::Spreading { late: text(), seconds: 300 },
        _ => Routing::Here,
    };
    let near =
        |dice: &mut Dice| NOW.plus(GRACE * 2).minus(GRACE / 64 * u32::try_from(dice.below(256)).unwrap());
    let certification = match dice.below(6) {
        0 => Certification::None,
        1 => Certification::Ordering,
        2 => Certification::Failing { reason: text(), retry_at: near(dice) },
        _ => Certification::Ready { not_after: near(dice) },
    };
    let health = [
        Health::Unknown,
        Health::Sound,
        Health::Silent,
        Health::Failing,
        Health::Lame,
        Health::Unsigned,
        Health::Circular,
        Health::Unregistered,
        Health::Split,
    ][dice.below(9)];
    Facts {
        claim: [Claim::Unproved, Claim::Proved, Claim::Proved, Claim::Contested, Claim::Released]
            [dice.below(5)],
        routing,
        authority: Authority { health, ..Authority::default() },
        certification,
        forbidden: (dice.below(5) == 0).then(|| forbidden.clone()),
        unprovable: (dice.below(5) == 0).then(|| Unprovable {
            record: (dice.below(2) == 0).then(|| Record::new(RecordKind::Cname, "", "")),
        }),
        presence: [Presence::Absent, Presence::Verified][dice.below(2)],
        policy: [Policy::Allowed, Policy::Allowed, Policy::Suspended, Policy::Refused][dice.below(4)],
        checked_at: None,
        away_since: (dice.below(5) < 2).then(|| near(dice).min(NOW)),
        old_until: (dice.below(10) < 3).then(|| near(dice)),
        kept_until: (dice.below(10) < 3).then(|| near(dice)),
        look_every_seconds: None,
        contest: (dice.below(5) < 2).then(|| {
            let until = near(dice);
            [
                Contest::Asked,
                Contest::Waiting { until },
                Contest::Refused { cause: Refusal::Lapsed },
                Contest::Lost,
                Contest::Challenged { until },
            ][dice.below(5)]
        }),
        uploaded_until: (dice.below(10) < 3).then(|| near(dice)),
    }
}

/// Each way to mend one thing and leave the rest; the vectors take turns.
const MENDS: [fn(&mut Facts); 12] = [
    |facts| facts.policy = Policy::Allowed,
    |facts| facts.claim = Claim::Proved,
    |facts| facts.routing = Routing::Here,
    |facts| facts.authority.health = Health::Sound,
    |facts| facts.certification = Certification::Ready { not_after: NOW.plus(GRACE) },
    |facts| facts.forbidden = None,
    |facts| facts.unprovable = None,
    |facts| facts.presence = Presence::Verified,
    |facts| facts.away_since = None,
    |facts| facts.old_until = None,
    |facts| facts.contest = None,
    |facts| facts.uploaded_until = None,
];

#[test]
fn who_uploaded_a_certificate_is_asked_for_the_next_21_days_before_its_end() {
    let day = Duration::from_secs(86_400);
    let live = |end| Facts {
        certification: Certification::Ready { not_after: NOW.plus(end) },
        presence: Presence::Verified,
        uploaded_until: Some(NOW.plus(end)),
        ..here()
    };
    let target = target().unwrap();
    for (end, who, part) in [(day * 22, Actor::Nobody, "21 days"), (day * 20, Actor::You, "Upload a new one")]
    {
        let (status, action) = derive(&live(end), &target, NOW);
        assert_eq!((status, action.who), (DomainStatus::Live, who));
        assert!(action.text.contains(part) && !action.text.contains("renews by itself"), "{}", action.text);
    }
}

#[test]
fn a_million_vectors_have_one_status_and_no_mending_worsens_any() {
    let (terse, mut dice) = (terse(), Dice(5));
    for vector in 0..1_000_000 {
        let facts = any_facts(&mut dice, &terse);
        let before = status(&facts, NOW);
        assert_eq!(before, status(&facts, NOW));
        let mut better = facts.clone();
        MENDS[vector % MENDS.len()](&mut better);
        let after = status(&better, NOW);
        assert!(after.rank() >= before.rank(), "{before:?} to {after:?}: {facts:?} to {better:?}");
    }
}

#[test]
fn every_vector_has_exactly_one_plain_action() {
    let target = target().unwrap();
    let (terse, mut dice) = (terse(), Dice(6));
    for _ in 0..10_000 {
        let facts = any_facts(&mut dice, &terse);
        let (status, action) = derive(&facts, &target, NOW);
        assert_eq!(derive(&facts, &target, NOW), (status, action.clone()));
        assert_eq!(plain::check_step(action.who, &action.text), Ok(()), "{facts:?}");
        assert!(action.record.is_none() || action.who == Actor::You, "{action:?}");
    }
}

#[test]
fn live_means_a_valid_certificate_that_was_seen_from_outside() {
    let (terse, mut dice) = (terse(), Dice(7));
    for _ in 0..100_000 {
        let facts = any_facts(&mut dice, &terse);
        if status(&facts, NOW) == DomainStatus::Live {
            let valid = facts.certified_until(NOW).is_some();
            assert!(valid && facts.presence == Presence::Verified && facts.away_since.is_none(), "{facts:?}");
        }
    }
}

#[test]
fn a_domain_that_another_account_proved_is_at_risk_and_told_the_one_record_that_keeps_it() {
    let until = NOW.plus(Duration::from_secs(24 * 3600));
    let contest = Some(Contest::Challenged { until });
    let live = Facts { certification: ready(), presence: Presence::Verified, contest, ..here() };
    let target = target().unwrap();
    let (status, action) = derive(&live, &target, NOW);
    assert_eq!((status, action.record), (DomainStatus::AtRisk, Some(target.text_record())));
    assert!(action.text.contains("by 16 January 2027 to keep it"), "{}", action.text);
    assert_eq!(derive(&Facts { contest: None, ..live.clone() }, &target, NOW).0, DomainStatus::Live);
    let young = Facts { presence: Presence::Absent, ..live };
    assert_eq!(derive(&young, &target, NOW).0, DomainStatus::NeedsDns);
}

#[test]
fn a_claim_of_another_accounts_domain_is_told_each_step() {
    let target = target().unwrap();
    let told = |contest| {
        let facts = Facts { claim: Claim::Contested, contest: Some(contest), ..Facts::unknown() };
        let (status, action) = derive(&facts, &target, NOW);
        assert_eq!(status, DomainStatus::ClaimedElsewhere);
        (action.who, action.record.map(|record| record.kind), action.text)
    };
    let asked = told(Contest::Asked);
    assert_eq!((asked.0, asked.1), (Actor::You, Some(RecordKind::Txt)), "{}", asked.2);
    let waiting = told(Contest::Waiting { until: NOW.plus(Duration::from_secs(3600)) });
    assert_eq!((waiting.0, waiting.1), (Actor::Nobody, None));
    assert!(waiting.2.starts_with("Found it. The domain moves here by 09:00 UTC"), "{}", waiting.2);
    let late = told(Contest::Waiting { until: NOW });
    assert!(late.0 == Actor::Nobody && late.2.contains("as soon as all is ready"), "{}", late.2);
    let ends = [Refusal::Proved, Refusal::Decided, Refusal::Lapsed].map(|cause| Contest::Refused { cause });
    let ends: HashSet<_> = ends.into_iter().chain([Contest::Lost]).map(|end| told(end).2).collect();
    assert_eq!(ends.len(), 4, "each end is told as it was: {ends:?}");
    assert_eq!(ends.iter().filter(|text| text.contains("present owner has shown")).count(), 1);
}
