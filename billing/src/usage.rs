//! What a tenant used: what is billable, and apart from it what was refused or blocked.
//!
//! What is blocked or refused is never billed, and never hidden: every sum is shown by class. Which class is
//! billable is said in one place, [`UsageClass::is_billable`].

use model::Timestamp;
use model::id::{AppId, TenantId};
use model::usage::{Counters, UsageClass};
use serde::{Deserialize, Serialize};
use store::{Access, Store, StoreError, UsageGroup, UsageLine, UsageQuery};

/// Sums by what became of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ByClass {
    /// Served by an app.
    pub visitor: Counters,
    /// Refused for a reason that is not the visitor's.
    pub refused: Counters,
    /// Stopped by a limit or by the firewall.
    pub blocked: Counters,
}

/// One part of a summary: an app, a class, an hour or a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which app, by app.
    pub app: Option<AppId>,
    /// Which class, by class.
    pub class: Option<UsageClass>,
    /// Begin of the hour or the day, by hour or day.
    pub start: Option<Timestamp>,
    /// What is billable of it; by class, all of the class.
    pub counters: Counters,
    /// All of it by class.
    pub by_class: ByClass,
}

/// What a tenant used in a stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What is billable.
    pub billable: Counters,
    /// Everything by class.
    pub by_class: ByClass,
    /// The parts that were asked for; none if it was not grouped.
    pub groups: Vec<Group>,
    /// When usage last arrived from any edge; none: never.
    pub as_of: Option<Timestamp>,
}

impl ByClass {
    /// The sum of one class.
    #[must_use]
    pub const fn of(&self, class: UsageClass) -> Counters {
        match class {
            UsageClass::Visitor => self.visitor,
            UsageClass::Refused => self.refused,
            UsageClass::Blocked => self.blocked,
        }
    }

    /// What goes on a bill.
    #[must_use]
    pub fn billable(&self) -> Counters {
        let mut sum = Counters::default();
        for class in UsageClass::ALL.into_iter().filter(|class| class.is_billable()) {
            sum.add(self.of(class));
        }
        sum
    }

    fn add(&mut self, line: &UsageLine) {
        for (class, counters) in &line.by_class {
            match class {
                UsageClass::Visitor => self.visitor.add(*counters),
                UsageClass::Refused => self.refused.add(*counters),
                UsageClass::Blocked => self.blocked.add(*counters),
            }
        }
    }
}

impl Group {
    fn of(line: &UsageLine) -> Self {
        let mut by_class = ByClass::default();
        by_class.add(line);
        let counters = line.class.map_or_else(|| by_class.billable(), |class| by_class.of(class));
        Self { app: line.app, class: line.class, start: line.start, counters, by_class }
    }
}

/// Sums what `tenant` used in the windows that begin in `query.from..query.to`.
///
/// # Errors
/// [`StoreError::NotFound`] for the tenant, [`StoreError::Invalid`] for a stretch of time that cannot be
/// meant or has too many groups.
pub async fn summary(
    store: &Store,
    access: Access,
    tenant: TenantId,
    query: UsageQuery,
) -> Result<Summary, StoreError> {
    // Read first: the sums may then be newer than it says, never older.
    let as_of = store.usage_freshness().await?;
    let lines = store.usage(access, tenant, query).await?;
    Ok(sum(&lines, query.group_by, as_of))
}

/// The total is the sum of the groups: the two cannot disagree.
fn sum(lines: &[UsageLine], group_by: UsageGroup, as_of: Option<Timestamp>) -> Summary {
    let mut by_class = ByClass::default();
    lines.iter().for_each(|line| by_class.add(line));
    let groups = match group_by {
        UsageGroup::None => Vec::new(),
        UsageGroup::App | UsageGroup::Class | UsageGroup::Hour | UsageGroup::Day => {
            lines.iter().map(Group::of).collect()
        }
    };
    Summary { billable: by_class.billable(), by_class, groups, as_of }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(requests: u64) -> Counters {
        Counters { requests, bytes_in: requests * 10, bytes_out: requests * 100 }
    }

    fn line(class: Option<UsageClass>, parts: &[(UsageClass, u64)]) -> UsageLine {
        let by_class = parts.iter().map(|(class, requests)| (*class, counters(*requests))).collect();
        UsageLine { class, by_class, ..UsageLine::default() }
    }

    #[test]
    fn what_is_blocked_or_refused_is_shown_and_never_billable() {
        let lines = [
            line(None, &[(UsageClass::Visitor, 5), (UsageClass::Blocked, 1_000)]),
            line(None, &[(UsageClass::Visitor, 2), (UsageClass::Refused, 7)]),
        ];
        let summary = sum(&lines, UsageGroup::Day, None);
        assert_eq!(summary.billable, counters(7));
        assert_eq!((summary.by_class.blocked, summary.by_class.refused), (counters(1_000), counters(7)));
        assert_eq!(summary.groups.iter().map(|group| group.counters.requests).collect::<Vec<_>>(), [5, 2]);
    }

    #[test]
    fn a_group_by_class_counts_its_class() {
        let lines = [line(Some(UsageClass::Blocked), &[(UsageClass::Blocked, 3)])];
        let summary = sum(&lines, UsageGroup::Class, None);
        assert_eq!(summary.groups.first().map(|group| group.counters), Some(counters(3)));
        assert_eq!(summary.billable, Counters::default());
    }

    #[test]
    fn without_groups_there_is_only_the_total() {
        let summary = sum(&[line(None, &[(UsageClass::Visitor, 1)])], UsageGroup::None, None);
        assert!(summary.groups.is_empty());
        assert_eq!(summary.billable, counters(1));
    }
}
