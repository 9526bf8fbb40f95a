//! What an account is told without having asked, until it takes it away.

use axum::extract::State;
use http::StatusCode;
use model::domain::NoticeKind;
use model::id::{DomainId, NoticeId, TenantId};
use model::{HostPattern, Timestamp};
use serde::Serialize;
use store::NoticeRecord;
use utoipa::ToSchema;

use crate::caller::Member;
use crate::problem::Answer;
use crate::request::{Id, Json, List, ListQuery, Query};

/// Something that an account should know.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notice)]
pub(crate) struct NoticeView {
    /// Its id.
    #[schema(value_type = String, example = "ntc_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    id: NoticeId,
    /// Whom it tells.
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// challenged, claim_ended, moved_away, proof_seen, proof_gone, claim_refused or moved_here.
    #[schema(value_type = String, example = "challenged")]
    kind: NoticeKind,
    /// At most 25 words without jargon.
    text: String,
    /// The account's own domain or claim that it is about; null: it has none any more.
    #[schema(value_type = Option<String>)]
    domain_id: Option<DomainId>,
    /// The name.
    #[schema(value_type = String, example = "shop.example.com")]
    hostname: HostPattern,
    /// When the domain moves, where it is to.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl NoticeView {
    fn of(notice: NoticeRecord, now: Timestamp) -> Self {
        Self {
            text: notice.kind.text(&notice.host, notice.until, now),
            id: notice.id,
            tenant_id: notice.tenant,
            kind: notice.kind,
            domain_id: notice.domain,
            hostname: notice.host,
            until: notice.until,
            created_at: notice.created_at,
        }
    }
}

/// Lists notices, the oldest first. The newest 200 of an account are kept until they are taken away.
#[utoipa::path(get, path = "/v1/notices", params(ListQuery),
    responses((status = 200, description = "A page of notices.", body = List<NoticeView>)))]
pub(crate) async fn list_notices(
    State(state): State<crate::State>,
    member: Member,
    Query(query): Query<ListQuery>,
) -> Answer<Json<List<NoticeView>>> {
    let page = state.store().notices(member.access, &query.page()?).await?;
    let now = state.now();
    Ok(Json(List::of(page, |notice| NoticeView::of(notice, now))))
}

/// Takes a notice away that was read.
#[utoipa::path(delete, path = "/v1/notices/{n}", params(("n" = String, Path, description = "Id of the notice.")),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete_notice(
    State(state): State<crate::State>,
    member: Member,
    Id(notice): Id<NoticeId>,
) -> Answer<StatusCode> {
    state.store().delete_notice(&member.actor, member.access, notice).await?;
    Ok(StatusCode::NO_CONTENT)
}
