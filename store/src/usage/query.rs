//! What a tenant used, by app, class, hour or day.

use std::collections::BTreeMap;

use model::Timestamp;
use model::id::{AppId, TenantId};
use model::usage::{Counters, UsageClass};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

use crate::Store;
use crate::caller::Access;
use crate::error::{Result, StoreError};
use crate::row::Columns as _;

/// Most lines of one answer.
const MAX_LINES: usize = 10_000;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// By what usage is summed. Hours and days are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageGroup {
    /// One sum.
    #[default]
    None,
    /// One for each app.
    App,
    /// One for each class.
    Class,
    /// One for each hour.
    Hour,
    /// One for each day.
    Day,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageQuery {
    /// From the window that begins then on.
    pub from: Timestamp,
    /// Up to the window that begins then, which is not in it.
    pub to: Timestamp,
    /// How it is summed.
    pub group_by: UsageGroup,
}

/// One sum.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageLine {
    /// Whose it is, by app.
    pub app: Option<AppId>,
    /// Which it is, by class.
    pub class: Option<UsageClass>,
    /// Begin of the hour or day.
    pub start: Option<Timestamp>,
    /// Everything together.
    pub counters: Counters,
    /// The same, by what became of the requests; a class without any is left out.
    pub by_class: BTreeMap<UsageClass, Counters>,
}

impl Store {
    /// What a tenant used, in order of app, class or time. By none there is always one line.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant, [`StoreError::Invalid`] if `from` is after `to` or the
    /// answer would have more than 10,000 lines.
    pub async fn usage(&self, access: Access, tenant: TenantId, query: UsageQuery) -> Result<Vec<UsageLine>> {
        let UsageQuery { from, to, group_by } = query;
        if from > to {
            return Err(StoreError::invalid("from", format!("from {from} is after to {to}")));
        }
        self.tenant(access, tenant).await?;
        let rows = sqlx::query(statement(group_by))
            .bind(tenant.to_string())
            .bind(from.unix_millis())
            .bind(to.unix_millis())
            .bind(i64::try_from(MAX_LINES * UsageClass::ALL.len()).unwrap_or(i64::MAX))
            .fetch_all(self.pool())
            .await?;
        let mut lines: Vec<UsageLine> = Vec::new();
        for row in &rows {
            let (line, class, counters) = read(row, group_by)?;
            match lines.last_mut().filter(|last| is_same(last, &line)) {
                Some(last) => last.take(class, counters),
                None => {
                    lines.push(line);
                    lines.iter_mut().rev().take(1).for_each(|line| line.take(class, counters));
                }
            }
        }
        if lines.len() >= MAX_LINES {
            return Err(StoreError::invalid(
                "from",
                format!("more than {MAX_LINES} lines: ask for a shorter time"),
            ));
        }
        if lines.is_empty() && group_by == UsageGroup::None {
            lines.push(UsageLine::default());
        }
        Ok(lines)
    }
}

impl UsageLine {
    fn take(&mut self, class: UsageClass, counters: Counters) {
        self.counters.add(counters);
        self.by_class.entry(class).or_default().add(counters);
    }
}

fn is_same(one: &UsageLine, other: &UsageLine) -> bool {
    (one.app, one.class, one.start) == (other.app, other.class, other.start)
}

/// Each statement gives `part` (what it is grouped by), `class` and the sums, ordered by part and class.
fn statement(group_by: UsageGroup) -> &'static str {
    match group_by {
        UsageGroup::None => {
            "SELECT '' AS part, class, CAST(SUM(requests) AS BIGINT) AS requests,
             CAST(SUM(bytes_in) AS BIGINT) AS bytes_in, CAST(SUM(bytes_out) AS BIGINT) AS bytes_out
             FROM usage_sums WHERE tenant_id = $1 AND window_start >= $2 AND window_start < $3
             GROUP BY class ORDER BY class LIMIT $4"
        }
        UsageGroup::App => {
            "SELECT app_id AS part, class, CAST(SUM(requests) AS BIGINT) AS requests,
             CAST(SUM(bytes_in) AS BIGINT) AS bytes_in, CAST(SUM(bytes_out) AS BIGINT) AS bytes_out
             FROM usage_sums WHERE tenant_id = $1 AND window_start >= $2 AND window_start < $3
             GROUP BY app_id, class ORDER BY app_id, class LIMIT $4"
        }
        UsageGroup::Class => {
            "SELECT class AS part, class, CAST(SUM(requests) AS BIGINT) AS requests,
             CAST(SUM(bytes_in) AS BIGINT) AS bytes_in, CAST(SUM(bytes_out) AS BIGINT) AS bytes_out
             FROM usage_sums WHERE tenant_id = $1 AND window_start >= $2 AND window_start < $3
             GROUP BY class ORDER BY class LIMIT $4"
        }
        UsageGroup::Hour => {
            "SELECT CAST(window_start / 3600000 AS TEXT) AS part, window_start / 3600000 AS slot, class,
             CAST(SUM(requests) AS BIGINT) AS requests,
             CAST(SUM(bytes_in) AS BIGINT) AS bytes_in, CAST(SUM(bytes_out) AS BIGINT) AS bytes_out
             FROM usage_sums WHERE tenant_id = $1 AND window_start >= $2 AND window_start < $3
             GROUP BY window_start / 3600000, class ORDER BY slot, class LIMIT $4"
        }
        UsageGroup::Day => {
            "SELECT CAST(window_start / 86400000 AS TEXT) AS part, window_start / 86400000 AS slot, class,
             CAST(SUM(requests) AS BIGINT) AS requests,
             CAST(SUM(bytes_in) AS BIGINT) AS bytes_in, CAST(SUM(bytes_out) AS BIGINT) AS bytes_out
             FROM usage_sums WHERE tenant_id = $1 AND window_start >= $2 AND window_start < $3
             GROUP BY window_start / 86400000, class ORDER BY slot, class LIMIT $4"
        }
    }
}

fn read(row: &AnyRow, group_by: UsageGroup) -> Result<(UsageLine, UsageClass, Counters)> {
    let class: UsageClass = row.word("class")?;
    let counters = Counters {
        requests: row.natural("requests")?,
        bytes_in: row.natural("bytes_in")?,
        bytes_out: row.natural("bytes_out")?,
    };
    let start = |width: i64| -> Result<Option<Timestamp>> {
        Ok(Some(Timestamp::from_unix_millis(row.parsed::<i64>("part")?.saturating_mul(width))))
    };
    let mut line = UsageLine::default();
    match group_by {
        UsageGroup::None => {}
        UsageGroup::App => line.app = Some(row.parsed("part")?),
        UsageGroup::Class => line.class = Some(class),
        UsageGroup::Hour => line.start = start(HOUR)?,
        UsageGroup::Day => line.start = start(DAY)?,
    }
    Ok((line, class, counters))
}
