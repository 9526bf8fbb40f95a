//! From what was seen to whose the domain is and where it points. Pure.

use std::net::IpAddr;

use model::domain::{Claim, Health, Routing, Target};
use store::Shown;

use super::{LookupError, Observation, View};

/// What an observation means.
///
/// The unique alias target proves the claim and the way at once, whatever addresses a resolver reports. The
/// addresses of the edges are the same for everybody: they prove the way only, and count only if every
/// address is ours, because a visitor may be sent to any of them. The TXT proof alone proves the claim.
/// A proof must be seen at every server that answers: one that somebody else got hold of proves nothing.
#[must_use]
pub fn judge(seen: &Observation, target: &Target) -> (Claim, Routing) {
    if seen.unsigned {
        let error = LookupError::Unsigned(target.host.to_string());
        return (Claim::Unproved, broken(&error));
    }
    let answering: Vec<&View> = seen.views.iter().filter(|view| view.failure().is_none()).collect();
    let judged: Vec<(Claim, Routing)> = answering.iter().map(|view| one(view, target)).collect();
    let Some((_, first)) = judged.first() else {
        return (proof(&seen.views, target), failed(seen));
    };
    let proved = judged.iter().all(|(claim, _)| *claim == Claim::Proved);
    let claim = if proved { Claim::Proved } else { Claim::Unproved };
    // One that cannot tell is not late: visitors ask another one.
    let is_late = |routing: &Routing| !matches!(routing, Routing::Here | Routing::Broken { .. });
    let late = answering.iter().zip(&judged).find(|(_, (_, routing))| is_late(routing));
    let routing = match late {
        None if judged.iter().any(|(_, routing)| *routing == Routing::Here) => Routing::Here,
        None => worst(&judged).unwrap_or(first).clone(),
        Some((late, _)) if judged.iter().any(|(_, routing)| *routing == Routing::Here) => {
            Routing::Spreading { late: late.server.clone().unwrap_or_default(), seconds: late.seconds }
        }
        Some(_) => worst(&judged).unwrap_or(first).clone(),
    };
    match (&routing, &seen.misplaced) {
        (Routing::Absent, Some(name)) => (claim, Routing::Misplaced { name: name.clone() }),
        _ => (claim, routing),
    }
}

/// How well the domain's own servers work.
#[must_use]
pub(super) fn health(seen: &Observation) -> Health {
    let of = |error: &LookupError| match error {
        LookupError::Timeout => Health::Silent,
        LookupError::Failure(_) => Health::Failing,
        LookupError::Lame(_) => Health::Lame,
        LookupError::Unsigned(_) => Health::Unsigned,
        LookupError::Circle(_) | LookupError::TooLong(_) => Health::Circular,
    };
    let fault = seen.views.iter().find_map(|view| {
        let addresses = || view.v4.as_ref().err().or(view.v6.as_ref().err());
        view.alias_error.as_ref().or_else(|| if view.aliases.is_empty() { addresses() } else { None })
    });
    match (&seen.zone, &seen.zone_error) {
        _ if seen.unsigned => Health::Unsigned,
        (None, Some(error)) if seen.views.iter().all(|view| view.failure().is_some()) => of(error),
        (Some(zone), _) if zone.servers.is_empty() => Health::Unregistered,
        (Some(zone), _) if !zone.stale.is_empty() => Health::Split,
        _ => match fault {
            Some(error) => of(error),
            None if seen.zone.is_some() => Health::Sound,
            None => Health::Unknown,
        },
    }
}

/// What one server's answer means.
fn one(seen: &View, target: &Target) -> (Claim, Routing) {
    if seen.aliases.iter().any(|alias| alias == target.cname.as_str()) {
        return (Claim::Proved, Routing::Here);
    }
    let claim = proof(std::slice::from_ref(seen), target);
    (claim, routing(seen, target, claim))
}

/// Whether the texts alone prove the claim, at every server that answers.
fn proof(views: &[View], target: &Target) -> Claim {
    let has = |texts: &Vec<String>| texts.iter().any(|text| unquoted(text) == target.proof);
    let mut answers = views.iter().filter_map(|view| view.texts.as_ref().ok()).peekable();
    let proved = answers.peek().is_some() && answers.all(has);
    if proved { Claim::Proved } else { Claim::Unproved }
}

/// Whether the zone's own servers show a proof, each one that answers. What only a resolver says tells nothing: a name
/// may depend on it that somebody else has.
#[must_use]
pub fn shown(seen: &Observation, proof: &str) -> Shown {
    if seen.unsigned || seen.views.iter().any(|view| view.server.is_none()) {
        return Shown::Untold;
    }
    let has = |texts: &Vec<String>| texts.iter().any(|text| unquoted(text) == proof);
    let mut answers = seen.views.iter().filter_map(|view| view.texts.as_ref().ok()).peekable();
    if answers.peek().is_none() {
        return Shown::Untold;
    }
    if answers.all(has) { Shown::Everywhere } else { Shown::Missing }
}

/// Some providers' forms store the quotes that people paste.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// Of several answers that are all not right, the one that asks for most.
fn worst(judged: &[(Claim, Routing)]) -> Option<&Routing> {
    let wanted: [fn(&Routing) -> bool; 3] = [
        |routing| matches!(routing, Routing::Partial { .. }),
        |routing| matches!(routing, Routing::Elsewhere { .. }),
        |routing| matches!(routing, Routing::Broken { .. }),
    ];
    wanted.iter().find_map(|wanted| judged.iter().map(|(_, routing)| routing).find(|routing| wanted(routing)))
}

fn failed(seen: &Observation) -> Routing {
    let error = seen.zone_error.as_ref().filter(|error| matches!(error, LookupError::Unsigned(_)));
    match error.or_else(|| seen.views.iter().find_map(View::failure)) {
        Some(error) => broken(error),
        None => Routing::Unknown,
    }
}

fn routing(seen: &View, target: &Target, claim: Claim) -> Routing {
    if let Some(error) = &seen.alias_error {
        return broken(error);
    }
    match (seen.aliases.first(), found(seen)) {
        // An alias that ends at our addresses is a way to us only with the proof: some resolvers invent
        // addresses, and without the proof the answer is the same in any case: use our alias.
        (Some(_), Ok(found)) if claim == Claim::Proved && is_ours(&found, target) => Routing::Here,
        (Some(_), Err(error)) if claim == Claim::Proved => broken(&error),
        (Some(alias), _) => Routing::Elsewhere { found: format!("CNAME {alias}") },
        (None, Err(error)) => broken(&error),
        (None, Ok(found)) => addressed(&found, target),
    }
}

/// Where addresses of the domain itself lead.
fn addressed(found: &[IpAddr], target: &Target) -> Routing {
    let strange = found.iter().find(|address| !target.addresses.contains(address));
    match strange.map(named) {
        None if found.is_empty() => Routing::Absent,
        None => Routing::Here,
        Some(found_name) if found.iter().any(|address| target.addresses.contains(address)) => {
            Routing::Partial { found: found_name }
        }
        Some(found_name) => Routing::Elsewhere { found: found_name },
    }
}

fn broken(error: &LookupError) -> Routing {
    Routing::Broken { reason: error.to_string() }
}

fn found(seen: &View) -> Result<Vec<IpAddr>, LookupError> {
    let mut found = seen.v4.clone()?;
    found.extend(seen.v6.clone()?);
    Ok(found)
}

fn is_ours(found: &[IpAddr], target: &Target) -> bool {
    !found.is_empty() && found.iter().all(|address| target.addresses.contains(address))
}

fn named(address: &IpAddr) -> String {
    if address.is_ipv4() { format!("A {address}") } else { format!("AAAA {address}") }
}
