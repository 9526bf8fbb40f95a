//! What a creator is told, for everything that their records can be: real servers (BIND, Knot, PowerDNS) with one
//! zone a case, a registry above them, a resolver before them, and the same table for each.

mod cases;
mod world;

use std::sync::Arc;

use certd::dns::{Inspector, Issuer, Providers, look, permission};
use futures_util::future::join_all;
use model::Timestamp;
use model::domain::{Claim, DomainStatus, Facts, NextAction, Routing, Target, Witness, derive, plain};

use cases::Case;
use world::{Main, World};

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

/// As certd does it: records and servers, then CAA records, then the one status and the one action.
async fn told(world: &World, case: &Case) -> (DomainStatus, NextAction) {
    let target = case.target();
    let found = look(&world.resolver, &world.providers, &target).await;
    let mut facts = Facts {
        claim: found.claim,
        routing: found.routing,
        authority: found.authority,
        old_until: found.remembered.map(|time| NOW.plus(time)),
        ..Facts::unknown()
    };
    if facts.routing == Routing::Here && facts.claim == Claim::Proved {
        let issuer = Issuer {
            identities: vec!["letsencrypt.org".to_owned()],
            account: None,
            method: "http-01".to_owned(),
        };
        facts.forbidden = permission(&world.resolver, &target.host, &issuer).await.unwrap();
    }
    derive(&facts, &target, NOW)
}

/// What is wrong with what is told, if anything.
async fn fault(world: &World, case: &Case) -> Option<String> {
    let (status, action) = told(world, case).await;
    let kind = action.record.as_ref().map(|record| record.kind);
    let plain = plain::check_step(action.who, &action.text);
    let right =
        status == case.status && action.text.starts_with(case.text) && kind == case.record && plain.is_ok();
    (!right).then(|| format!("{}: {status:?} {action:?} {plain:?}", case.name))
}

async fn matrix(main: Main) {
    if !world::is_installed() {
        return;
    }
    let cases = cases::all();
    assert!(cases.len() >= 60, "{}", cases.len());
    let world = World::start(main, &cases).await;
    let faults: Vec<String> =
        join_all(cases.iter().map(|case| fault(&world, case))).await.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} of {}: {faults:#?}", faults.len(), cases.len());
}

#[tokio::test]
async fn every_case_is_told_right_on_bind() {
    matrix(Main::Bind).await;
}

#[tokio::test]
async fn every_case_is_told_right_on_knot() {
    matrix(Main::Knot).await;
}

#[tokio::test]
async fn every_case_is_told_right_on_powerdns() {
    matrix(Main::PowerDns).await;
}

impl Case {
    fn target(&self) -> Target {
        Target {
            host: self.host().parse().unwrap(),
            cname: "d1.cname.apps.test".parse().unwrap(),
            proof: "stoa-proof-1".to_owned(),
            addresses: vec!["203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        }
    }
}

#[tokio::test]
async fn a_record_is_told_in_the_words_of_the_domains_provider() {
    if !world::is_installed() {
        return;
    }
    let cases = cases::all();
    let world = World::start(Main::Bind, &cases).await;
    let form = async |name: &str| {
        let case = cases.iter().find(|case| case.name == name).unwrap();
        let (_, action) = told(&world, case).await;
        (action.record.unwrap().form_name, action.hint.is_some())
    };
    assert_eq!(form("at-cloudflare").await, (Some("shop".to_owned()), true));
    assert_eq!(form("at-cloudflare-itself").await, (Some("@".to_owned()), true));
    // What is said of texts there stands beside texts only.
    assert_eq!(form("at-route53").await, (Some("shop.at-route53.test".to_owned()), false));
    let (_, action) =
        told(&world, cases.iter().find(|case| case.name == "at-route53-unproved").unwrap()).await;
    assert!(action.hint.unwrap().starts_with("Values of TXT records"));
    assert_eq!(form("nothing").await, (None, false));
    assert!(Providers::built_in().is_ok());
}

#[tokio::test]
async fn a_look_before_anything_is_done_finds_every_kind_of_record() {
    if !world::is_installed() {
        return;
    }
    let cases = cases::all();
    let world = World::start(Main::Bind, &cases).await;
    let lookup: Arc<dyn certd::dns::Lookup> = Arc::new(world.resolver);
    let inspector = Inspector::new(lookup, world.providers.clone());
    let seen = inspector.inspect(&"itself-old.test".parse().unwrap(), Witness::Servers).await;
    let found: Vec<String> =
        seen.records.iter().map(|found| format!("{} {}", found.kind.as_str(), found.value)).collect();
    let wanted = ["A 192.0.2.1", "MX 10 mail.itself-old.test", "TXT v=spf1 -all", "NS ns1.itself-old.test"];
    assert_eq!(found, wanted);
    assert!(seen.has_mail() && seen.unanswered.is_empty());
    let below = inspector.inspect(&"shop.caa-others.test".parse().unwrap(), Witness::Servers).await;
    assert_eq!(below.zone.unwrap().as_str(), "caa-others.test");
    let at_zone = below.records.iter().filter(|found| found.name.as_str() == "caa-others.test");
    assert!(at_zone.into_iter().any(|found| found.value == "0 issue \"pki.goog\""), "{:?}", below.records);
    let nothing = inspector.inspect(&"shop.silent.test".parse().unwrap(), Witness::Servers).await;
    assert_eq!((nothing.records.len(), nothing.unanswered.is_empty()), (0, false));
}
