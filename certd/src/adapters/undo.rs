//! How a change is taken back out of a zone: a pure function over what was done and what is there now.
//!
//! What others have changed since is left alone and named. Their texts and CAA records beside ours stay.

use std::fmt;

use model::Host;
use serde::{Deserialize, Serialize};

use super::plan::{Apex, Change, DERIVED, ROUTES, names};
use super::record::{Record, same};

/// What was done to a zone: all that is needed to take it back, also if only a part of it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Which zone.
    pub zone: Host,
    /// What was changed.
    pub changes: Vec<Change>,
    /// What stood at the same names and stayed as it was.
    pub untouched: Vec<Record>,
}

/// How much of a change is in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// None of it.
    Nothing,
    /// Some of it.
    Part,
    /// All of it.
    Whole,
}

impl Applied {
    /// How much of the change is in a zone of which `found` was read.
    pub(super) fn extent_in(&self, found: &[Record]) -> Extent {
        let is_whole = self.changes.iter().all(|change| {
            let now = change.now(found);
            let is_there = |record: &Record| now.iter().any(|there| there.says(record));
            change.added().all(is_there) && !change.removed().any(is_there)
        });
        match (is_whole, self.remains_in(found).is_empty()) {
            (true, _) => Extent::Whole,
            (false, true) => Extent::Nothing,
            (false, false) => Extent::Part,
        }
    }

    /// The part of the change that is in a zone of which `found` was read.
    pub(super) fn remains_in(&self, found: &[Record]) -> Vec<Change> {
        let remains = |change: &&Change| {
            let now = change.now(found);
            let ours_is_there = change.added().any(|ours| now.iter().any(|record| record.says(ours)));
            let theirs_is_gone = change.removed().any(|theirs| !now.iter().any(|record| record.says(theirs)));
            ours_is_there || theirs_is_gone
        };
        self.changes.iter().filter(remains).cloned().collect()
    }
}

/// A record set that was changed by others after us: it is left alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// What we had done.
    pub change: Change,
    /// What is there now.
    pub found: Vec<Record>,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found: Vec<String> = self.found.iter().map(|record| record.content.to_string()).collect();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        write!(f, "`{}` was changed by others since and is left alone: it has {found}", self.change.name)
    }
}

/// Names at which everything that we had set is gone without what stood before being back, of a change of which all was
/// set: somebody took it away on purpose, and what stood before is not put there again.
pub(super) fn given_up(applied: &Applied, found: &[Record]) -> Vec<Left> {
    let mut left = Vec::new();
    for name in names(&applied.changes) {
        let is_route = |change: &&Change| change.name == name && !change.is_shared();
        let routes: Vec<&Change> = applied.changes.iter().filter(is_route).collect();
        let is_there = |record: &Record| found.iter().any(|there| there.says(record));
        let mut ours = routes.iter().flat_map(|change| change.added()).peekable();
        let are_gone = ours.peek().is_some() && !ours.any(is_there);
        let are_back = routes.iter().flat_map(|change| &change.before).all(is_there);
        if are_gone && !are_back {
            left.extend(
                routes.into_iter().map(|change| Left { change: change.clone(), found: change.now(found) }),
            );
        }
    }
    left
}

/// What takes `changes` back out of a zone in which `found` was read, and what must be left. Knows a change that
/// was applied in part only, or taken back already.
pub(super) fn reverse(applied: &Applied, apex: Apex, found: &[Record]) -> (Vec<Change>, Vec<Left>) {
    let changes = applied.changes.as_slice();
    let (mut back, mut left) = (Vec::new(), Vec::new());
    for name in names(changes) {
        let here: Vec<&Change> = changes.iter().filter(|change| change.name == name).collect();
        let there: Vec<&Record> = found.iter().filter(|record| record.name == name).collect();
        let flattened = apex == Apex::Flattened && name.as_str() == applied.zone.as_str();
        let alias =
            !flattened && here.iter().any(|change| change.kind == "CNAME" && !change.before.is_empty());
        let foreign = is_foreign(&here, &applied.untouched, &there, alias);
        for change in here {
            let now = change.now(found);
            let after = if change.is_shared() {
                let ours: Vec<&Record> = change.added().collect();
                now.iter().filter(|record| !ours.iter().any(|our| our.says(record))).cloned().collect()
            } else if foreign {
                left.push(Left { change: change.clone(), found: now });
                continue;
            } else {
                change.before.clone()
            };
            if !same(&now, &after) {
                back.push(Change { before: now, after, ..change.clone() });
            }
        }
    }
    (back, left)
}

/// Whether somebody else has put something where routes are to be taken back, `alias`es among them.
fn is_foreign(here: &[&Change], stayed: &[Record], there: &[&Record], alias: bool) -> bool {
    let known = |record: &Record| {
        let ours = here.iter().flat_map(|change| change.before.iter().chain(&change.after));
        ours.chain(stayed).any(|ours| ours.says(record))
    };
    there.iter().any(|record| {
        let kind = record.content.kind();
        (ROUTES.contains(&kind) || (alias && !DERIVED.contains(&kind))) && !known(record)
    })
}
