//! What a tenant used: what is billable first, what was refused or blocked apart.

use axum::extract::State;
use billing::period::Month;
use billing::usage::{self, ByClass, Group, Summary};
use model::Timestamp;
use model::id::{AppId, TenantId};
use model::usage::{Counters, UsageClass, WINDOW};
use serde::{Deserialize, Serialize};
use store::{StoreError, UsageGroup, UsageQuery};
use utoipa::ToSchema;

use crate::caller::Member;
use crate::problem::{Answer, Problem};
use crate::request::query::refused;
use crate::request::{Id, Json, Query};

/// What is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageParams {
    /// From the minute that begins then on, RFC 3339 or a date. Default: begin of this month (UTC).
    #[param(example = "2026-11-01")]
    from: Option<String>,
    /// Up to the minute that begins then, which is not in it. Default: end of this minute.
    #[param(example = "2026-12-01")]
    to: Option<String>,
    /// app, class, hour or day. Default: one sum.
    #[param(example = "day")]
    group_by: Option<String>,
}

/// What a tenant used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageView {
    /// Begin of the stretch of time.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// End of the stretch of time.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// Billable, i.e. served: what class visitor has. What was refused or blocked is never billed.
    #[serde(flatten)]
    billable: CountersView,
    /// Everything by what became of it.
    by_class: ByClassView,
    /// The parts, with `group_by`.
    groups: Vec<GroupView>,
    /// How new the figures are.
    freshness: FreshnessView,
}

/// One part of the usage.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageGroup)]
pub(crate) struct GroupView {
    /// Which app, by app.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    app_id: Option<AppId>,
    /// Which class, by class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    class: Option<UsageClass>,
    /// Begin of the hour or the day (UTC), by hour or day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    start: Option<Timestamp>,
    /// Billable; by class, all of the class.
    #[serde(flatten)]
    counters: CountersView,
    /// Everything by what became of it.
    by_class: ByClassView,
}

/// A sum. Bytes are of bodies.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Counters)]
pub(crate) struct CountersView {
    /// Requests that ended.
    requests: u64,
    /// Bytes received from visitors.
    bytes_in: u64,
    /// Bytes sent to visitors.
    bytes_out: u64,
}

/// Sums by what became of the requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ByClass)]
pub(crate) struct ByClassView {
    /// Served by an app; the only class that is billed.
    visitor: CountersView,
    /// Refused for a reason that is not the visitor's, e.g. no backend.
    refused: CountersView,
    /// Stopped by a limit or by the firewall.
    blocked: CountersView,
}

/// How new the figures are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Freshness)]
pub(crate) struct FreshnessView {
    /// When usage last arrived from any edge; null: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Timestamp>,
}

impl From<Counters> for CountersView {
    fn from(counters: Counters) -> Self {
        Self { requests: counters.requests, bytes_in: counters.bytes_in, bytes_out: counters.bytes_out }
    }
}

impl From<ByClass> for ByClassView {
    fn from(sums: ByClass) -> Self {
        Self { visitor: sums.visitor.into(), refused: sums.refused.into(), blocked: sums.blocked.into() }
    }
}

impl From<Group> for GroupView {
    fn from(group: Group) -> Self {
        Self {
            app_id: group.app,
            class: group.class,
            start: group.start,
            counters: group.counters.into(),
            by_class: group.by_class.into(),
        }
    }
}

impl UsageView {
    fn of(query: UsageQuery, summary: Summary) -> Self {
        Self {
            from: query.from,
            to: query.to,
            billable: summary.billable.into(),
            by_class: summary.by_class.into(),
            groups: summary.groups.into_iter().map(GroupView::from).collect(),
            freshness: FreshnessView { as_of: summary.as_of },
        }
    }
}

impl UsageParams {
    fn query(&self, now: Timestamp) -> Result<UsageQuery, Problem> {
        let minute = || Ok(now.floor_to(WINDOW).plus(WINDOW));
        let month = || Month::containing(now).map(Month::start).map_err(Problem::internal);
        Ok(UsageQuery {
            from: self.from.as_deref().map_or_else(month, |text| moment("from", text))?,
            to: self.to.as_deref().map_or_else(minute, |text| moment("to", text))?,
            group_by: group(self.group_by.as_deref())?,
        })
    }
}

/// RFC 3339, or a date alone: its first moment in UTC.
fn moment(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let date = text.len() == 10;
    let whole = if date { format!("{text}T00:00:00Z") } else { text.to_owned() };
    whole.parse().map_err(|_| {
        refused(name, format!("`{text}` is not a moment: write it as 2026-11-22T18:30:00Z or 2026-11-22"))
    })
}

fn group(text: Option<&str>) -> Result<UsageGroup, Problem> {
    match text {
        None => Ok(UsageGroup::None),
        Some("app") => Ok(UsageGroup::App),
        Some("class") => Ok(UsageGroup::Class),
        Some("hour") => Ok(UsageGroup::Hour),
        Some("day") => Ok(UsageGroup::Day),
        Some(text) => Err(refused("group_by", format!("`{text}` is none of app, class, hour and day"))),
    }
}

/// Sums what a tenant used.
#[utoipa::path(get, path = "/v1/tenants/{t}/usage",
    params(("t" = String, Path, description = "Id of the tenant."), UsageParams),
    responses((status = 200, description = "The usage.", body = UsageView)))]
pub(crate) async fn get_usage(
    State(state): State<crate::State>,
    member: Member,
    Id(tenant): Id<TenantId>,
    Query(params): Query<UsageParams>,
) -> Answer<Json<UsageView>> {
    let query = params.query(state.now())?;
    match usage::summary(state.store(), member.access, tenant, query).await {
        Ok(summary) => Ok(Json(UsageView::of(query, summary))),
        Err(StoreError::Invalid { field, reason }) => Err(refused(field, reason)),
        Err(error) => Err(error.into()),
    }
}
