//! Health of this process, and the edges as the control plane sees them.

use axum::extract::State;
use model::Timestamp;
use model::change::Revision;
use model::id::EdgeId;
use serde::Serialize;
use store::EdgeRecord;
use utoipa::ToSchema;

use crate::caller::Operator;
use crate::problem::Answer;
use crate::request::{Json, List};

/// Whether the process is well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`; if it is not well there is no such answer.
    #[schema(example = "ok")]
    status: &'static str,
}

/// An edge.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Edge)]
pub(crate) struct EdgeView {
    /// Its id, the same over its restarts.
    #[schema(value_type = String, example = "edg_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    id: EdgeId,
    /// Everything up to this revision is in its memory and its replica.
    #[schema(value_type = u64)]
    revision: Revision,
    /// Revisions it is behind the control plane.
    lag: u64,
    /// Version of its program.
    version: String,
    /// When it was started.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// Apps in its memory.
    sites: u64,
    /// Certificates in its memory.
    certificates: u64,
    /// When it was last heard of.
    #[schema(value_type = String, format = DateTime)]
    seen_at: Timestamp,
}

impl EdgeView {
    fn of(edge: EdgeRecord, head: Revision) -> Self {
        let report = edge.report;
        Self {
            id: report.edge,
            revision: report.revision,
            lag: head.0.saturating_sub(report.revision.0),
            version: report.version,
            started_at: report.started_at,
            sites: report.sites,
            certificates: report.certificates,
            seen_at: edge.seen_at,
        }
    }
}

/// Tells that the process answers.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "It does.", body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Tells that the store answers too, so that requests can be sent here.
#[utoipa::path(get, path = "/readyz", responses((status = 200, description = "It does.", body = Health)))]
pub(crate) async fn readyz(State(state): State<crate::State>) -> Answer<Json<Health>> {
    state.store().head().await?;
    Ok(Json(Health { status: "ok" }))
}

/// Lists the edges that were heard of in the last week.
#[utoipa::path(get, path = "/v1/platform/edges",
    responses((status = 200, description = "All edges.", body = List<EdgeView>)))]
pub(crate) async fn list_edges(
    State(state): State<crate::State>,
    _operator: Operator,
) -> Answer<Json<List<EdgeView>>> {
    let head = state.store().head().await?;
    let edges = state.store().edges().await?;
    Ok(Json(List::whole(edges.into_iter().map(|edge| EdgeView::of(edge, head)).collect())))
}
