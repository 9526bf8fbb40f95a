//! From facts to one status and one next action.

use std::time::Duration;

use super::{
    Actor, Certification, Claim, DomainStatus, Facts, NextAction, Presence, Record, RecordKind, Routing,
    Target,
};
use crate::Timestamp;

/// How long a domain that points elsewhere is still served and told to be at risk.
pub const GRACE: Duration = Duration::from_secs(14 * 24 * 3600);

/// The one status and the one next action that the facts mean at `now`.
///
/// A domain that was served stays `live`, `at_risk` or `moved`: it never falls back to a status of its
/// first connection while its certificate is valid.
#[must_use]
pub fn derive(facts: &Facts, target: &Target, now: Timestamp) -> (DomainStatus, NextAction) {
    let status = status(facts, now);
    (status, next_action(status, facts, target))
}

fn status(facts: &Facts, now: Timestamp) -> DomainStatus {
    let certified = matches!(facts.certification, Certification::Ready { not_after } if not_after > now);
    if certified && facts.presence == Presence::Verified {
        return match facts.away_since {
            None => DomainStatus::Live,
            // Back, but without its proof: served until the certificate ends.
            Some(_) if facts.routing == Routing::Here => DomainStatus::AtRisk,
            Some(since) if now.since(since) < GRACE => DomainStatus::AtRisk,
            Some(_) => DomainStatus::Moved,
        };
    }
    match (&facts.routing, facts.claim) {
        (Routing::Unknown | Routing::Absent, _) => DomainStatus::NeedsDns,
        (Routing::Elsewhere { .. }, _) => DomainStatus::Conflict,
        (Routing::Broken { .. }, _) => DomainStatus::DnsBroken,
        (Routing::Here, _) if needs_proof(facts) => DomainStatus::NeedsDns,
        (Routing::Here, _) => match facts.certification {
            Certification::Ready { .. } if certified => DomainStatus::Deploying,
            Certification::Failing { .. } => DomainStatus::OurProblem,
            _ => DomainStatus::Issuing,
        },
    }
}

/// Whether the domain points here, but nothing shows (any more) that it is its claimant's.
fn needs_proof(facts: &Facts) -> bool {
    let proved = facts.claim == Claim::Proved && facts.away_since.is_none();
    facts.routing == Routing::Here && !proved
}

fn next_action(status: DomainStatus, facts: &Facts, target: &Target) -> NextAction {
    let plain = |who, text: &str| NextAction { who, text: text.to_owned(), record: None };
    let record = |text: String| NextAction { who: Actor::You, text, record: Some(target.cname_record()) };
    match status {
        DomainStatus::NeedsDns => needs_dns(facts, target),
        DomainStatus::Conflict => record(conflict(facts)),
        DomainStatus::DnsBroken => plain(
            Actor::You,
            "Your domain's own name servers do not answer properly. Ask the company where you bought the domain.",
        ),
        DomainStatus::Issuing => {
            plain(Actor::Nobody, "Found it. Your padlock is being made; this takes about ten seconds.")
        }
        DomainStatus::OurProblem => plain(Actor::Us, &our_problem(facts)),
        DomainStatus::Deploying => plain(Actor::Nobody, "Almost there: the padlock is being installed."),
        DomainStatus::Live => {
            plain(Actor::Nobody, "Live and secure. Nothing to do; the padlock renews by itself.")
        }
        DomainStatus::AtRisk if needs_proof(facts) => NextAction {
            who: Actor::You,
            text: "Still live, but we no longer see that it is yours. Add the record below, or the padlock will end."
                .to_owned(),
            record: Some(proof_record(target)),
        },
        DomainStatus::AtRisk => record(
            "Still live, but the record below changed. Put it back, or visitors will lose this address."
                .to_owned(),
        ),
        DomainStatus::Moved => record(
            "This domain no longer points here. Put the record below back, or remove the domain.".to_owned(),
        ),
    }
}

fn needs_dns(facts: &Facts, target: &Target) -> NextAction {
    let (text, record) = if needs_proof(facts) {
        ("Your domain points here. Add the record below to prove that it is yours.", proof_record(target))
    } else {
        (
            "Add the record below where you manage your domain. We look for it every few seconds.",
            target.cname_record(),
        )
    };
    NextAction { who: Actor::You, text: text.to_owned(), record: Some(record) }
}

/// The TXT record, or the alias, which proves as well, where we have no addresses to point at.
fn proof_record(target: &Target) -> Record {
    let proof = target.records().into_iter().find(|record| record.kind == RecordKind::Txt);
    proof.unwrap_or_else(|| target.cname_record())
}

fn conflict(facts: &Facts) -> String {
    match &facts.routing {
        Routing::Elsewhere { found } => {
            format!("An old record is in the way: replace \"{found}\" with the record below.")
        }
        _ => "An old record is in the way: replace it with the record below.".to_owned(),
    }
}

fn our_problem(facts: &Facts) -> String {
    match &facts.certification {
        Certification::Failing { retry_at, .. } => format!(
            "Everything is right on your side. Our certificate provider is busy; we try again at {retry_at}."
        ),
        _ => "Everything is right on your side. We are working on it.".to_owned(),
    }
}

#[cfg(test)]
mod tests;
