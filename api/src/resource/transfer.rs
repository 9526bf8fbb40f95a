//! Deciding about a domain that another account has proved.

use axum::extract::State;
use serde::Deserialize;
use store::{Access, Decision, DomainRecord};
use utoipa::ToSchema;

use super::Seen;
use super::domain::{DomainView, show};
use crate::caller::{Member, lacks};
use crate::problem::Answer;
use crate::request::Json;

/// What is decided.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Transfer)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferBody {
    /// `release`: the domain moves to the account that proved it, at once, or as soon as its new certificate is there,
    /// which is waited for up to an hour. `keep`: it stays; only an operator decides
    /// so, its holder keeps it by adding the record that the domain shows.
    #[schema(value_type = String, example = "release")]
    decision: Decision,
}

/// Decides about a domain that is to move to another account. `d` is the holder's domain or, for an operator, the claim.
#[utoipa::path(post, path = "/v1/domains/{d}/transfer",
    params(("d" = String, Path, description = "Id of the domain.")), request_body = TransferBody,
    responses((status = 200, description = "The domain.", body = DomainView)))]
pub(crate) async fn decide_transfer(
    State(state): State<crate::State>,
    member: Member,
    Seen(domain): Seen<DomainRecord>,
    Json(body): Json<TransferBody>,
) -> Answer<Json<DomainView>> {
    if body.decision == Decision::Keep && member.access != Access::Platform {
        return Err(lacks("platform"));
    }
    let store = state.store();
    let decided = store.decide_contest(&member.actor, member.access, domain.id, body.decision).await?;
    Ok(Json(show(&state, decided).await?))
}
