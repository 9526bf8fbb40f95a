//! From what was seen to whose the domain is and where it points. Pure.

use std::net::IpAddr;

use model::domain::{Claim, Routing, Target};

use super::{LookupError, Observation};

/// What an observation means.
///
/// The unique alias target proves the claim and the way at once, whatever addresses a resolver reports. The
/// addresses of the edges are the same for everybody: they prove the way only, and count only if every
/// address is ours, because a visitor may be sent to any of them. The TXT proof alone proves the claim.
#[must_use]
pub fn judge(seen: &Observation, target: &Target) -> (Claim, Routing) {
    if seen.aliases.iter().any(|alias| alias == target.cname.as_str()) {
        return (Claim::Proved, Routing::Here);
    }
    let proved = seen.texts.iter().flatten().any(|text| unquoted(text) == target.proof);
    let claim = if proved { Claim::Proved } else { Claim::Unproved };
    (claim, routing(seen, target, claim))
}

/// Some providers' forms store the quotes that people paste.
fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

fn routing(seen: &Observation, target: &Target, claim: Claim) -> Routing {
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
        (None, Ok(found)) if is_ours(&found, target) => Routing::Here,
        (None, Ok(found)) => match found.iter().find(|address| !target.addresses.contains(address)) {
            Some(address) => Routing::Elsewhere { found: named(address) },
            None => Routing::Absent,
        },
    }
}

fn broken(error: &LookupError) -> Routing {
    Routing::Broken { reason: error.to_string() }
}

fn found(seen: &Observation) -> Result<Vec<IpAddr>, LookupError> {
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
