//! The feed of edges that run apart: changes down, usage and reports up. Bodies are `model`'s own types.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use model::change::{Batch, Lineage, Revision};
use model::edge::EdgeReport;
use model::seal::{EDGE_FEED_PURPOSE, SealingKey};
use model::usage::UsageBatch;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::MAX_WAIT;
use crate::caller::EdgeCaller;
use crate::origin::StoreOrigin;
use crate::origin::reseal::{ResealError, reseal};
use crate::problem::{Answer, Problem};
use crate::request::query::refused;
use crate::request::{Json, Query};

/// Where the edge stands.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesQuery {
    /// The log that `after` belongs to; empty at the first start.
    lineage: Option<String>,
    /// The last revision that the edge has. Default 0.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// How long to wait for a change if there is none, in milliseconds; more than 30,000 counts as 30,000.
    #[param(value_type = Option<u64>)]
    wait_ms: Option<String>,
}

/// A stretch of the log, ordered by revision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
pub(crate) struct BatchSchema {
    /// The log these changes belong to.
    lineage: String,
    /// Whether these pages begin at revision 0 and are the whole truth.
    reset: bool,
    /// Whether another page follows at once.
    more: bool,
    /// What to ask after next.
    next: u64,
    /// Objects as they now are, each with its revision; private keys are sealed for this edge.
    changes: Vec<serde_json::Value>,
}

/// Increments that one edge counted; the pair of edge and sequence is taken at most once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageBatch)]
pub(crate) struct UsageBatchSchema {
    /// Who counted.
    edge: String,
    /// 1, 2, 3 … for this edge, over all its restarts.
    #[schema(minimum = 1)]
    sequence: u64,
    /// Tenant, app, window, class, requests, bytes_in and bytes_out of each sum.
    rows: Vec<serde_json::Value>,
}

/// How far an edge is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EdgeReport)]
pub(crate) struct EdgeReportSchema {
    /// Which edge.
    edge: String,
    /// Everything up to here is in its memory and in its replica.
    revision: u64,
    /// Version of its program.
    version: String,
    /// When it was started.
    #[schema(format = DateTime)]
    started_at: String,
    /// Apps in its memory.
    sites: u64,
    /// Certificates in its memory.
    certificates: u64,
}

fn number(name: &str, text: Option<&String>) -> Result<u64, Problem> {
    let text = text.map_or("0", String::as_str);
    text.parse().map_err(|_| refused(name, format!("`{text}` is not a number")))
}

/// Gives the changes after a revision; if there are none, waits for one.
#[utoipa::path(get, path = "/v1/edge/changes", params(ChangesQuery),
    responses((status = 200, description = "The changes, or none after the wait.", body = BatchSchema)))]
pub(crate) async fn edge_changes(
    State(state): State<crate::State>,
    edge: EdgeCaller,
    Query(query): Query<ChangesQuery>,
) -> Answer<Json<Batch>> {
    let after = Revision(number("after", query.after.as_ref())?);
    let wait = Duration::from_millis(number("wait_ms", query.wait_ms.as_ref())?).min(MAX_WAIT);
    let lineage = Lineage(query.lineage.unwrap_or_default());
    let batch = StoreOrigin::new(state.store().clone()).follow(&lineage, after, wait).await?;
    let key = SealingKey::derive(edge.secret.reveal().as_bytes(), EDGE_FEED_PURPOSE);
    let key = key.map_err(Problem::internal)?;
    match reseal(batch, state.master(), &key, state.store()).await {
        Ok(batch) => Ok(Json(batch)),
        Err(error @ ResealError::Behind(_)) => Err(Problem::unavailable(error)),
        Err(error) => Err(Problem::internal(error)),
    }
}

/// Takes usage; a batch that was taken before changes nothing. The first use of an edge's id binds it to the key:
/// with another key it is 403 `edge_of_another_key` until the first one is deleted.
#[utoipa::path(post, path = "/v1/edge/usage", request_body = UsageBatchSchema,
    responses((status = 204, description = "It is taken.")))]
pub(crate) async fn edge_usage(
    State(state): State<crate::State>,
    edge: EdgeCaller,
    Json(batch): Json<UsageBatch>,
) -> Answer<StatusCode> {
    state.store().ingest_usage_of(edge.key, &batch).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Notes how far an edge is. The edge's id is bound to the key as with usage.
#[utoipa::path(post, path = "/v1/edge/report", request_body = EdgeReportSchema,
    responses((status = 204, description = "It is noted.")))]
pub(crate) async fn edge_report(
    State(state): State<crate::State>,
    edge: EdgeCaller,
    Json(report): Json<EdgeReport>,
) -> Answer<StatusCode> {
    state.store().report_edge_of(edge.key, &report).await?;
    Ok(StatusCode::NO_CONTENT)
}
