//! What a zone must be changed by: a pure function over what was read.
//!
//! Addresses and aliases at a wanted name are replaced, for only one answer can be right. Texts and CAA records
//! are added beside those of others. Everything else (MX, NS, SOA, SRV, …) is never touched: where it stands in
//! the way, the plan names it as an obstacle and nothing is done.

use std::collections::BTreeSet;
use std::fmt;

use model::Host;
use serde::{Deserialize, Serialize};

use super::record::{Content, Record, RecordName, same};
use super::undo::Applied;

/// Types of records that lead visitors somewhere; ALIAS and ANAME are providers' own.
pub(super) const ROUTES: [&str; 5] = ["A", "AAAA", "CNAME", "ALIAS", "ANAME"];
/// Made by the server from the others (RFC 4034): they stand beside everything.
pub(super) const DERIVED: [&str; 3] = ["RRSIG", "NSEC", "NSEC3"];

/// The records of one name and type, before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Where.
    pub name: RecordName,
    /// The type of record.
    pub kind: String,
    /// What was read.
    pub before: Vec<Record>,
    /// What shall be there.
    pub after: Vec<Record>,
}

impl Change {
    /// Records that the change brings.
    pub fn added(&self) -> impl Iterator<Item = &Record> {
        self.after.iter().filter(|record| !self.before.iter().any(|old| old.says(record)))
    }

    /// Records that the change takes away.
    pub fn removed(&self) -> impl Iterator<Item = &Record> {
        self.before.iter().filter(|record| !self.after.iter().any(|new| new.says(record)))
    }

    /// The records of the set in a zone of which `found` was read.
    pub(super) fn now(&self, found: &[Record]) -> Vec<Record> {
        let here = |record: &&Record| record.name == self.name && record.content.kind() == self.kind;
        found.iter().filter(here).cloned().collect()
    }

    /// Whether the set is not as it was, in a zone of which `found` was read.
    pub(super) fn is_overtaken_in(&self, found: &[Record]) -> bool {
        !same(&self.before, &self.now(found))
    }

    /// Whether others may have records of their own in the same set.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.kind.as_str(), "TXT" | "CAA")
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |records: &mut dyn Iterator<Item = &Record>| {
            records.map(|record| record.content.to_string()).collect::<Vec<_>>().join(", ")
        };
        let (added, removed) = (listed(&mut self.added()), listed(&mut self.removed()));
        match (removed.is_empty(), added.is_empty()) {
            (true, _) => write!(f, "add {} {added}", self.name),
            (_, true) => write!(f, "remove {} {removed}", self.name),
            _ => write!(f, "replace {} {removed} by {added}", self.name),
        }
    }
}

/// Why a wanted record cannot be had without touching what must not be touched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Obstacle {
    /// An alias is wanted where there is something that cannot stand beside one (RFC 1034 §3.6.2).
    Beside(Record),
    /// A text or a CAA record is wanted where there is an alias.
    Alias(Record),
    /// An alias and something else are wanted at one name.
    Contradiction(RecordName),
    /// Another zone begins at or above the name.
    Delegated(RecordName),
    /// The name does not lie in the zone.
    Outside(RecordName),
    /// A record of a type that Stoa writes in nobody's zone.
    Foreign(Record),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beside(record) => write!(
                f,
                "`{}` has {}, beside which no CNAME can stand: use A and AAAA records there",
                record.name, record.content
            ),
            Self::Alias(record) => write!(
                f,
                "`{}` is an alias ({}): add the record at the name that it leads to",
                record.name, record.content
            ),
            Self::Contradiction(name) => write!(f, "a CNAME and other records are wanted at `{name}`"),
            Self::Delegated(name) => {
                write!(f, "`{name}` is a zone of its own: connect that zone")
            }
            Self::Outside(name) => write!(f, "`{name}` does not lie in this zone"),
            Self::Foreign(record) => {
                write!(
                    f,
                    "{} records are left to others: `{}` must be set by hand",
                    record.content.kind(),
                    record.name
                )
            }
        }
    }
}

/// What would be done to a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Which zone.
    pub zone: Host,
    /// What would be changed; empty: everything wanted is there.
    pub changes: Vec<Change>,
    /// What stands at the same names and stays as it is.
    pub untouched: Vec<Record>,
    /// What is in the way. With one of them nothing is applied.
    pub obstacles: Vec<Obstacle>,
}

impl Plan {
    /// What undoes the plan, however much of it was done.
    #[must_use]
    pub fn applied(&self) -> Applied {
        let Self { zone, changes, untouched, .. } = self.clone();
        Applied { zone, changes, untouched }
    }

    /// The plan that was carried out, or was about to be.
    pub(crate) fn of(applied: Applied) -> Self {
        let Applied { zone, changes, untouched } = applied;
        Self { zone, changes, untouched, obstacles: Vec::new() }
    }

    /// The names that are read and written.
    pub(super) fn names(&self) -> Vec<RecordName> {
        names(&self.changes)
    }

    /// What is not as it was when the plan was made.
    pub(super) fn overtaken_by(&self, found: &[Record]) -> Option<String> {
        if let Some(change) = self.changes.iter().find(|change| change.is_overtaken_in(found)) {
            return Some(format!("{} at {}", change.kind, change.name));
        }
        let seen = |record: &Record| {
            let before = self.changes.iter().flat_map(|change| &change.before);
            before.chain(&self.untouched).any(|old| old.says(record))
        };
        found.iter().find(|record| !seen(record)).map(ToString::to_string)
    }
}

/// The names of changes, each once.
pub(super) fn names(changes: &[Change]) -> Vec<RecordName> {
    changes.iter().map(|change| change.name.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Names that must be read for a plan: those that are wanted, and those above, where another zone may begin.
pub(super) fn read_for(zone: &Host, wanted: &[Record]) -> Vec<RecordName> {
    let mut read = BTreeSet::new();
    for name in wanted.iter().map(|record| &record.name).filter(|name| name.is_within(zone)) {
        read.extend(name.ancestors(zone));
        read.insert(name.clone());
    }
    read.into_iter().collect()
}

/// Whether the provider answers an alias at the zone's own name with the addresses behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apex {
    /// A CNAME there is refused (RFC 1034 §3.6.2).
    Plain,
    /// A CNAME there is flattened and stands beside everything.
    Flattened,
}

/// The plan that brings `wanted` into a zone of which `found` was read.
pub(super) fn make(zone: &Host, apex: Apex, wanted: &[Record], found: &[Record]) -> Plan {
    let mut plan =
        Plan { zone: zone.clone(), changes: Vec::new(), untouched: Vec::new(), obstacles: Vec::new() };
    let places: BTreeSet<&RecordName> = wanted.iter().map(|record| &record.name).collect();
    for name in places {
        let at = |records: &[Record]| -> Vec<Record> {
            records.iter().filter(|record| record.name == *name).cloned().collect()
        };
        let place = Place { zone, apex, name, wanted: at(wanted), here: at(found) };
        match place.obstacle(found) {
            Some(obstacle) => plan.obstacles.push(obstacle),
            None => plan.changes.extend(place.changes()),
        }
        let stays = |record: &&Record| {
            !plan.changes.iter().any(|change| change.removed().any(|removed| removed.says(record)))
        };
        plan.untouched.extend(place.here.iter().filter(stays).cloned());
    }
    plan
}

/// What is wanted, and what is there, at one name.
struct Place<'a> {
    zone: &'a Host,
    apex: Apex,
    name: &'a RecordName,
    wanted: Vec<Record>,
    here: Vec<Record>,
}

impl Place<'_> {
    fn wants(&self, kind: &str) -> bool {
        self.wanted.iter().any(|record| record.content.kind() == kind)
    }

    fn is_flattened(&self) -> bool {
        self.apex == Apex::Flattened && self.name.as_str() == self.zone.as_str()
    }

    fn obstacle(&self, found: &[Record]) -> Option<Obstacle> {
        if !self.name.is_within(self.zone) {
            return Some(Obstacle::Outside(self.name.clone()));
        }
        let is_foreign = |record: &&Record| matches!(record.content, Content::Other { .. });
        if let Some(foreign) = self.wanted.iter().find(is_foreign) {
            return Some(Obstacle::Foreign(foreign.clone()));
        }
        let mut above = self.name.ancestors(self.zone);
        if self.name.as_str() != self.zone.as_str() {
            above.insert(0, self.name.clone());
        }
        let is_cut = |name: &&RecordName| {
            found.iter().any(|record| record.name == **name && record.content.kind() == "NS")
        };
        if let Some(cut) = above.iter().find(is_cut) {
            return Some(Obstacle::Delegated(cut.clone()));
        }
        if self.wants("CNAME") && self.wanted.len() > 1 {
            return Some(Obstacle::Contradiction(self.name.clone()));
        }
        let in_the_way = |record: &&Record| {
            let kind = record.content.kind();
            !ROUTES.contains(&kind) && !DERIVED.contains(&kind)
        };
        if self.wants("CNAME") && !self.is_flattened() {
            return self.here.iter().find(in_the_way).cloned().map(Obstacle::Beside);
        }
        let replaced = self.wants("A") || self.wants("AAAA") || self.is_flattened();
        let alias = self.here.iter().find(|record| record.content.kind() == "CNAME");
        alias.filter(|_| !replaced).cloned().map(Obstacle::Alias)
    }

    fn changes(&self) -> Vec<Change> {
        let routed = ROUTES.iter().any(|kind| self.wants(kind));
        let kinds: BTreeSet<&str> =
            self.wanted.iter().chain(&self.here).map(|record| record.content.kind()).collect();
        let touched = |kind: &&str| self.wants(kind) || (routed && ROUTES.contains(kind));
        let changed = |change: &Change| change.added().next().is_some() || change.removed().next().is_some();
        kinds.into_iter().filter(touched).map(|kind| self.change(kind)).filter(changed).collect()
    }

    /// One set of records. Those that stay keep their time to live, which a set has but one of (RFC 2181 §5.2).
    fn change(&self, kind: &str) -> Change {
        let of_kind = |records: &[Record]| -> Vec<Record> {
            records.iter().filter(|record| record.content.kind() == kind).cloned().collect()
        };
        let (before, wanted) = (of_kind(&self.here), of_kind(&self.wanted));
        let mut change = Change { name: self.name.clone(), kind: kind.to_owned(), before, after: Vec::new() };
        if change.is_shared() {
            change.after.clone_from(&change.before);
        }
        let is_kept = |old: &&Record| wanted.iter().any(|new| new.says(old));
        let ttl = change.after.first().or(change.before.iter().find(is_kept)).map(|record| record.ttl);
        for new in wanted {
            if change.after.iter().any(|there| there.says(&new)) {
                continue;
            }
            let kept = change.before.iter().find(|old| old.says(&new)).cloned();
            change.after.push(kept.unwrap_or(Record { ttl: ttl.unwrap_or(new.ttl), ..new }));
        }
        change
    }
}

#[cfg(test)]
mod tests;
