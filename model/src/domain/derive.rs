//! From facts to one status and one next action.

use std::time::Duration;

use super::catalogue::{self, Message, Pace};
use super::{
    Actor, Certification, Claim, Contest, DomainStatus, Facts, Forbidden, Health, NextAction, Offer, Policy,
    Presence, Record, RecordKind, Routing, Target,
};
use crate::Timestamp;

/// How long a domain that points elsewhere is still served and told to be at risk.
pub const GRACE: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long before the end of an uploaded certificate its owner is asked for the next.
const UPLOAD_NOTICE: Duration = Duration::from_secs(21 * 24 * 3600);

/// The one status and the one next action that the facts mean at `now`.
///
/// A domain that was served stays `live`, `at_risk` or `moved`: it never falls back to a status of its
/// first connection while its certificate is valid.
#[must_use]
pub fn derive(facts: &Facts, target: &Target, now: Timestamp) -> (DomainStatus, NextAction) {
    let status = status(facts, now);
    (status, next_action(status, facts, target, now))
}

fn status(facts: &Facts, now: Timestamp) -> DomainStatus {
    match (facts.policy, facts.claim) {
        (Policy::Refused, _) => return DomainStatus::InvalidName,
        (_, Claim::Released) => return DomainStatus::Removed,
        (_, Claim::Contested) => return DomainStatus::ClaimedElsewhere,
        (Policy::Suspended, _) => return DomainStatus::Suspended,
        (Policy::Allowed, Claim::Proved | Claim::Unproved) => {}
    }
    let certified = facts.certified_until(now).is_some();
    if certified && facts.presence == Presence::Verified {
        return served(facts, now);
    }
    if challenged_until(facts).is_some() {
        return DomainStatus::NeedsDns;
    }
    let prepared = certified && facts.claim == Claim::Proved && facts.away_since.is_none();
    let stale = facts.authority.health == Health::Split;
    match &facts.routing {
        Routing::Absent | Routing::Elsewhere { .. } if prepared => DomainStatus::Prepared,
        Routing::Absent | Routing::Elsewhere { .. } if stale => DomainStatus::WrongZone,
        Routing::Absent if facts.authority.health == Health::Unregistered => DomainStatus::DnsBroken,
        Routing::Unknown | Routing::Absent | Routing::Misplaced { .. } => DomainStatus::NeedsDns,
        Routing::Elsewhere { .. } | Routing::Partial { .. } => DomainStatus::Conflict,
        Routing::Proxied { .. } => DomainStatus::Proxied,
        Routing::Broken { .. } => DomainStatus::DnsBroken,
        Routing::Spreading { .. } => DomainStatus::Spreading,
        Routing::Here if needs_proof(facts) => DomainStatus::NeedsDns,
        Routing::Here => connected(facts, certified, now),
    }
}

/// A domain whose certificate was seen from outside.
fn served(facts: &Facts, now: Timestamp) -> DomainStatus {
    match facts.away_since {
        None if is_barred(facts) || challenged_until(facts).is_some() => DomainStatus::AtRisk,
        None => DomainStatus::Live,
        // Back, but without its proof: served until the certificate ends.
        Some(_) if facts.routing == Routing::Here => DomainStatus::AtRisk,
        Some(since) if now.since(since) < GRACE => DomainStatus::AtRisk,
        Some(_) => DomainStatus::Moved,
    }
}

/// A domain that points here and is proved.
fn connected(facts: &Facts, certified: bool, now: Timestamp) -> DomainStatus {
    match facts.certification {
        Certification::Ready { .. } if certified => DomainStatus::Deploying,
        _ if missing(facts).is_some() => DomainStatus::NeedsDns,
        _ if facts.forbidden.is_some() => DomainStatus::CaaBlock,
        // The authority most likely saw what others still see.
        Certification::Failing { .. } if facts.old_until.is_some_and(|until| until > now) => {
            DomainStatus::Spreading
        }
        Certification::Failing { .. } => DomainStatus::OurProblem,
        _ if facts.unprovable.is_some() => DomainStatus::OurProblem,
        _ => DomainStatus::Issuing,
    }
}

/// The record that is missing to prove a wildcard.
fn missing(facts: &Facts) -> Option<&Record> {
    facts.unprovable.as_ref()?.record.as_ref()
}

/// Whether something keeps our authority from making a certificate.
const fn is_barred(facts: &Facts) -> bool {
    facts.forbidden.is_some() || facts.unprovable.is_some()
}

/// Whether the domain points here, but nothing shows (any more) that it is its claimant's.
fn needs_proof(facts: &Facts) -> bool {
    let proved = facts.claim == Claim::Proved && facts.away_since.is_none();
    facts.routing == Routing::Here && !proved
}

/// When the domain moves to another account, if this one does not show anew that it is its own.
const fn challenged_until(facts: &Facts) -> Option<Timestamp> {
    match facts.contest {
        Some(Contest::Challenged { until }) => Some(until),
        _ => None,
    }
}

fn next_action(status: DomainStatus, facts: &Facts, target: &Target, now: Timestamp) -> NextAction {
    let entry = matches!(facts.routing, Routing::Misplaced { .. }).then(|| entry(facts, target));
    let message = message(status, facts, target, entry.as_deref(), now);
    let who = message.who();
    let record = record(&message, facts, target).map(|record| as_entered(record, facts));
    let is_theirs = who == Actor::You && record.is_some();
    let asked = record.as_ref().filter(|_| is_theirs).zip(facts.authority.provider.as_ref());
    let trap = asked.and_then(|(record, provider)| provider.trap_of(record, facts.authority.zone.as_ref()));
    let hint = trap.map(str::to_owned);
    // What a proxy of the provider's own hides is right already: only the creator can put the proxy away.
    let is_hidden = matches!(message, Message::Proxied { .. });
    let connect = offer(facts).filter(|_| is_theirs && !is_hidden && facts.contest.is_none());
    NextAction { who, text: message.text(now, Pace::of(facts)), record, hint, connect }
}

/// That we set the record at the domain's provider, if we know how.
fn offer(facts: &Facts) -> Option<Offer> {
    let known = facts.authority.provider.as_ref()?;
    let provider = known.connect?;
    Some(Offer { provider, text: catalogue::offer(&known.name) })
}

fn message<'a>(
    status: DomainStatus,
    facts: &'a Facts,
    target: &'a Target,
    entry: Option<&'a str>,
    now: Timestamp,
) -> Message<'a> {
    let until = facts.certified_until(now).unwrap_or(now);
    let allowed = facts.forbidden.as_ref().and_then(|forbidden| forbidden.allowed.as_deref());
    match status {
        DomainStatus::InvalidName => Message::InvalidName,
        DomainStatus::Suspended => Message::Suspended,
        DomainStatus::Removed => Message::Removed { until: facts.kept_until },
        DomainStatus::ClaimedElsewhere => contested(facts, now),
        DomainStatus::NeedsDns | DomainStatus::AtRisk | DomainStatus::Moved
            if let Some(until) = challenged_until(facts) =>
        {
            // Until it has moved, its holder can keep it still.
            Message::Challenged { until: until.max(now) }
        }
        DomainStatus::NeedsDns | DomainStatus::Conflict => records(facts, target, entry),
        DomainStatus::WrongZone => wrong_zone(facts, target),
        DomainStatus::DnsBroken => broken(facts, target),
        DomainStatus::Spreading => spreading(facts, now),
        DomainStatus::Proxied => Message::Proxied { by: proxy(facts) },
        DomainStatus::CaaBlock => Message::OthersOnly { allowed },
        DomainStatus::Issuing => Message::Issuing,
        DomainStatus::OurProblem if facts.unprovable.is_some() => Message::NotReady,
        DomainStatus::OurProblem => Message::OurProblem { retry_at: retry_at(facts, now) },
        DomainStatus::Prepared => Message::Prepared,
        DomainStatus::Deploying => Message::Deploying,
        DomainStatus::Live => match facts.uploaded_until {
            Some(until) if until.since(now) <= UPLOAD_NOTICE => Message::UploadEnds { until },
            Some(_) => Message::Uploaded,
            None => Message::Live { until },
        },
        DomainStatus::AtRisk if needs_proof(facts) => Message::Unproved { until },
        DomainStatus::AtRisk => match facts.away_since {
            None if facts.forbidden.is_none() && missing(facts).is_none() => Message::NotReady,
            None if facts.forbidden.is_none() => Message::Unprovable { until },
            None => Message::NoRenewal { allowed, until },
            Some(since) => Message::Changed { until: until.min(since.plus(GRACE)) },
        },
        DomainStatus::Moved => Message::Moved { until },
    }
}

/// How a claim of a name stands that another account has.
fn contested(facts: &Facts, now: Timestamp) -> Message<'_> {
    match facts.contest {
        Some(Contest::Waiting { .. }) if missing(facts).is_some() => {
            Message::Delegate { provider: provider(facts) }
        }
        Some(Contest::Waiting { until }) if until > now => Message::Moving { until },
        Some(Contest::Waiting { .. }) => Message::MovingSoon,
        Some(Contest::Refused { cause }) => Message::Kept { cause },
        Some(Contest::Lost) => Message::Lost,
        Some(Contest::Asked) => Message::ProveElsewhere { provider: provider(facts) },
        Some(Contest::Challenged { .. }) | None => Message::ClaimedElsewhere { free_at: facts.kept_until },
    }
}

/// What to change of the domain's records.
fn records<'a>(facts: &'a Facts, target: &Target, entry: Option<&'a str>) -> Message<'a> {
    let provider = provider(facts);
    match &facts.routing {
        Routing::Elsewhere { found } if has_ending(found, target) => Message::Ending,
        Routing::Elsewhere { found } => Message::Conflict { found, provider },
        Routing::Partial { found } => Message::LeftOver { found },
        Routing::Misplaced { name } => Message::Misplaced { entry: entry.unwrap_or(name) },
        _ if needs_proof(facts) => Message::Prove { provider },
        Routing::Here if missing(facts).is_some() => Message::Delegate { provider },
        _ => Message::Add { provider },
    }
}

/// Whether a record holds our alias with something behind it: the provider's form wanted a dot at its end.
fn has_ending(found: &str, target: &Target) -> bool {
    let rest = found.strip_prefix("CNAME ").and_then(|value| value.strip_prefix(target.cname.as_str()));
    rest.is_some_and(|rest| rest.starts_with('.'))
}

fn provider(facts: &Facts) -> Option<&str> {
    facts.authority.provider.as_ref().map(|provider| provider.name.as_str())
}

fn zone<'a>(facts: &'a Facts, target: &'a Target) -> &'a str {
    facts.authority.zone.as_ref().unwrap_or_else(|| target.host.base()).as_str()
}

fn wrong_zone<'a>(facts: &'a Facts, target: &'a Target) -> Message<'a> {
    let first = facts.authority.servers.first().map_or("others", String::as_str);
    Message::WrongZone {
        zone: zone(facts, target),
        stale: facts.authority.stale.as_deref().unwrap_or("others"),
        runs: provider(facts).unwrap_or(first),
    }
}

fn broken<'a>(facts: &'a Facts, target: &'a Target) -> Message<'a> {
    let zone = zone(facts, target);
    match facts.authority.health {
        Health::Lame => Message::Strangers { zone },
        Health::Unsigned => Message::BadSignature { zone },
        Health::Circular => Message::Circle,
        Health::Unregistered => Message::Unregistered { zone },
        Health::Unknown | Health::Sound | Health::Silent | Health::Failing | Health::Split => {
            Message::Silent { zone, provider: provider(facts) }
        }
    }
}

fn spreading(facts: &Facts, now: Timestamp) -> Message<'_> {
    match facts.routing {
        Routing::Spreading { seconds, .. } => Message::Late { holds: Duration::from_secs(seconds.into()) },
        _ => Message::Remembered { until: facts.old_until.unwrap_or(now) },
    }
}

fn proxy(facts: &Facts) -> &str {
    match &facts.routing {
        Routing::Proxied { by } => by,
        _ => "your provider",
    }
}

fn retry_at(facts: &Facts, now: Timestamp) -> Timestamp {
    match facts.certification {
        Certification::Failing { retry_at, .. } => retry_at,
        _ => now,
    }
}

/// The record that belongs to a message.
fn record(message: &Message<'_>, facts: &Facts, target: &Target) -> Option<Record> {
    match message {
        Message::Prove { .. } | Message::Unproved { .. } => Some(target.proof_record()),
        Message::ProveElsewhere { .. } | Message::Challenged { .. } => Some(target.text_record()),
        Message::OthersOnly { .. } | Message::NoRenewal { .. } => facts.forbidden.as_ref().map(caa_record),
        Message::Delegate { .. } | Message::Unprovable { .. } => missing(facts).cloned(),
        Message::Ending => {
            let record = target.cname_record();
            Some(Record { value: format!("{}.", record.value), ..record })
        }
        Message::Add { .. }
        | Message::Misplaced { .. }
        | Message::Conflict { .. }
        | Message::WrongZone { .. }
        | Message::Circle
        | Message::Proxied { .. }
        | Message::Prepared
        | Message::Changed { .. }
        | Message::Moved { .. } => Some(recommended(facts, target)),
        _ => None,
    }
}

fn caa_record(forbidden: &Forbidden) -> Record {
    Record::new(RecordKind::Caa, &forbidden.name, &forbidden.add)
}

/// The alias, or an address where the name is the zone's own and its provider has no alias for that (RFC 1034
/// §3.6.2: a name with an alias has no other records, and a zone's own name always has some).
fn recommended(facts: &Facts, target: &Target) -> Record {
    let is_apex = facts.authority.zone.as_ref().is_some_and(|zone| target.host.exact() == Some(zone));
    let alias = facts.authority.provider.as_ref().is_some_and(|provider| provider.apex_alias);
    let address = target.address_records().next().filter(|_| is_apex && !alias);
    address.unwrap_or_else(|| target.cname_record())
}

fn as_entered(mut record: Record, facts: &Facts) -> Record {
    if let (Some(zone), Some(provider)) = (&facts.authority.zone, &facts.authority.provider) {
        record.form_name = Some(provider.form.entry(&record, zone));
    }
    record
}

fn entry(facts: &Facts, target: &Target) -> String {
    let form = facts.authority.provider.as_ref().map(|provider| provider.form).unwrap_or_default();
    let record = target.cname_record();
    facts.authority.zone.as_ref().map_or_else(|| record.name.clone(), |zone| form.entry(&record, zone))
}

#[cfg(test)]
mod tests;
