//! Which records connect a domain at its provider, and what a plan for them is told as.

use model::domain::connection::{Findings, RecordChange, Trouble};
use model::domain::{Fate, Forbidden, RecordKind};
use store::DomainRecord;

use super::outcome::{Stop, printable};
use crate::adapters::{AdapterError, Apex, Content, Plan, Record, RecordName, Zone};

/// How long others keep a record of ours, in seconds: short, for it may be taken back.
const TTL: u32 = 300;
/// Most records that are told, and most characters of each.
const MAX_TOLD: (usize, usize) = (200, 300);
/// What leads visitors somewhere, and so may be replaced; ALIAS and ANAME are providers' own.
const ROUTES: [&str; 5] = ["A", "AAAA", "CNAME", "ALIAS", "ANAME"];
/// What others may have beside ours, and so is only added to.
const SHARED: [&str; 2] = ["TXT", "CAA"];
/// Made by servers themselves; they say nothing to people.
const DERIVED: [&str; 5] = ["RRSIG", "NSEC", "NSEC3", "SOA", "NS"];
/// Where it is said what becomes of mail that is forged (RFC 7489 §6.1).
const DMARC: &str = "_dmarc";

/// The plan for the best way that nothing stands in; with obstacles if there is none. `proving` is wanted in any case.
pub(super) async fn plan(
    zone: &dyn Zone,
    domain: &DomainRecord,
    proving: Option<&model::domain::Record>,
) -> Result<Plan, AdapterError> {
    let mut first = None;
    let proving = proving.and_then(own);
    for wanted in ways(zone, domain) {
        let wanted: Vec<Record> = wanted.into_iter().chain(proving.clone()).collect();
        let plan = zone.preview(&wanted).await?;
        if plan.obstacles.is_empty() {
            return Ok(plan);
        }
        first = first.or(Some(plan));
    }
    Ok(first.unwrap_or_else(|| Plan {
        zone: zone.zone().clone(),
        changes: Vec::new(),
        untouched: Vec::new(),
        obstacles: Vec::new(),
    }))
}

/// The alias, which is unique and so proves as well; or the addresses with their proof, where there can be no alias.
fn ways(zone: &dyn Zone, domain: &DomainRecord) -> Vec<Vec<Record>> {
    let target = &domain.target;
    let name = RecordName::from(&domain.host);
    let record = |content| Record::new(name.clone(), TTL, content);
    let proof = RecordName::parse(&target.proof_name())
        .map(|name| Record::new(name, TTL, Content::Txt(target.proof.clone())));
    let alias = record(Content::alias(target.cname.as_str()));
    let mut addresses: Vec<Record> = target
        .addresses
        .iter()
        .map(|address| match address {
            std::net::IpAddr::V4(v4) => record(Content::A(*v4)),
            std::net::IpAddr::V6(v6) => record(Content::Aaaa(*v6)),
        })
        .collect();
    let has_addresses = !addresses.is_empty();
    addresses.extend(proof.clone());
    let is_apex = domain.host.exact() == Some(zone.zone());
    let ways = match (is_apex, has_addresses) {
        (true, true) => vec![addresses],
        // A flattened alias is seen as addresses, which prove nothing.
        (true, false) if zone.apex() == Apex::Flattened => {
            vec![std::iter::once(alias).chain(proof).collect()]
        }
        (false, true) => vec![vec![alias], addresses],
        (_, false) => vec![vec![alias]],
    };
    let permission = domain.facts.forbidden.as_ref().and_then(|forbidden| permission(zone, forbidden));
    let with = |way: Vec<Record>| way.into_iter().chain(permission.clone()).collect();
    ways.into_iter().map(with).collect()
}

/// A record as providers have it.
fn own(record: &model::domain::Record) -> Option<Record> {
    let name = RecordName::parse(&record.name).ok()?;
    let content = match record.kind {
        RecordKind::Cname => Content::alias(&record.value),
        RecordKind::Txt => Content::Txt(record.value.clone()),
        _ => return None,
    };
    Some(Record::new(name, TTL, content))
}

/// The record that lets our authority make a certificate, where the zone has one that does not.
fn permission(zone: &dyn Zone, forbidden: &Forbidden) -> Option<Record> {
    let name = Some(RecordName::from(&forbidden.name)).filter(|name| name.is_within(zone.zone()))?;
    let mut words = forbidden.add.splitn(3, ' ');
    let (flags, tag, value) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let value = value.trim_matches('"').to_owned();
    Some(Record::new(name, TTL, Content::Caa { flags, tag: tag.to_owned(), value }))
}

/// Nothing but routes is ever replaced, whatever the plan was made from.
pub(super) fn check(plan: &Plan) -> Result<(), Stop> {
    let foreign = plan.changes.iter().find(|change| {
        let kind = change.kind.as_str();
        let is_added_to = SHARED.contains(&kind) && change.removed().next().is_none();
        !ROUTES.contains(&kind) && !is_added_to
    });
    match foreign {
        Some(change) => Err(Stop::new(Trouble::Refused, format!("this is not ours to change: {change}"))),
        None => Ok(()),
    }
}

/// What a plan means, and the records for e-mail that stand beside it.
pub(super) async fn findings(zone: &dyn Zone, plan: &Plan) -> Result<Findings, AdapterError> {
    let apex = zone.zone();
    let mut names: Vec<RecordName> = plan.changes.iter().map(|change| change.name.clone()).collect();
    names.push(RecordName::from(apex));
    names.extend(RecordName::parse(&format!("{DMARC}.{apex}")));
    names.sort();
    names.dedup();
    let beside = zone.records(&names).await?;
    let mail: Vec<&Record> = beside.iter().filter(|record| is_mail(record)).collect();
    let mut changes: Vec<RecordChange> = Vec::new();
    for change in &plan.changes {
        changes.extend(change.removed().map(|record| told(Fate::Remove, record)));
        changes.extend(change.added().map(|record| told(Fate::Add, record)));
    }
    let stays = plan.untouched.iter().filter(|record| !DERIVED.contains(&record.content.kind()));
    for kept in stays.chain(mail.iter().copied()).map(|record| told(Fate::Keep, record)) {
        if !changes.contains(&kept) {
            changes.push(kept);
        }
    }
    changes.truncate(MAX_TOLD.0);
    let zone = Some(plan.zone.clone());
    Ok(Findings { zone, changes, mail: !mail.is_empty(), ..Findings::default() })
}

/// Who takes mail, who may send it, how it is signed, and what becomes of what is forged.
fn is_mail(record: &Record) -> bool {
    match &record.content {
        Content::Other { kind, .. } => kind == "MX",
        Content::Txt(text) => {
            let text = text.trim().to_ascii_lowercase();
            ["v=spf1", "v=dmarc1", "v=dkim1"].iter().any(|start| text.starts_with(start))
        }
        _ => false,
    }
}

fn told(fate: Fate, record: &Record) -> RecordChange {
    let kind = record.content.kind().to_owned();
    let text = record.content.to_string();
    let value = text.strip_prefix(&kind).unwrap_or(&text).trim_start();
    let value = printable(value, MAX_TOLD.1);
    RecordChange { change: fate, kind, name: record.name.to_string(), value }
}
