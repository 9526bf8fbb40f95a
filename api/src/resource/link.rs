//! Links with which creators let their own provider set the records (Domain Connect). Whoever comes back from one only
//! has the domain looked at: what counts is in the records.
//!
//! Each link that is looked for costs us a few requests to wherever the domain's zone says, so few are at a time, of one
//! tenant and in all; certd asks about a zone only once in a while.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use model::Timestamp;
use model::domain::catalogue::Notice;
use model::id::TenantId;
use serde::{Deserialize, Serialize};
use store::{DomainRecord, Return};
use utoipa::ToSchema;

use super::Seen;
use crate::caller::Member;
use crate::places::{Place, Places};
use crate::problem::{Answer, Code, Problem};
use crate::request::Json;

/// Most links that are looked for at a time for the domains of one tenant.
const MAX_OF_TENANT: usize = 2;
/// Most in all.
const MAX_IN_ALL: usize = 16;
/// When one is free again at the latest, in seconds: a look ends within 4.
const FREE_AGAIN: HeaderValue = HeaderValue::from_static("5");

/// How many links are being looked for, by tenant.
pub(crate) type Links = Places<TenantId>;

fn take(links: &Links, tenant: TenantId) -> Option<Place<TenantId>> {
    links.take(tenant, |taken| {
        let own = taken.get(&tenant).copied().unwrap_or(0);
        own < MAX_OF_TENANT && taken.values().sum::<usize>() < MAX_IN_ALL
    })
}

/// A link to the domain's provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectLink)]
pub(crate) struct LinkView {
    /// To be opened in the creator's browser; null: the records must be set by hand.
    url: Option<String>,
    /// Whose pages it opens.
    provider: Option<String>,
    /// What to do, in one sentence.
    text: String,
    /// Until when the link can be used, once.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// What a provider sends a browser back with. It may say more, which is not read.
#[derive(Debug, Deserialize)]
pub(crate) struct ReturnQuery {
    /// Of the link.
    #[serde(default)]
    state: String,
    /// Why it was not done.
    #[serde(default)]
    error: Option<String>,
}

/// Looks whether the domain's provider sets records on its own pages, and gives a signed link to them.
#[utoipa::path(post, path = "/v1/domains/{d}/connect/link",
    params(("d" = String, Path, description = "Id of the domain.")),
    responses((status = 200, description = "The link, or that there is none.", body = LinkView)))]
pub(crate) async fn link_domain(
    State(state): State<crate::State>,
    member: Member,
    Seen(domain): Seen<DomainRecord>,
) -> Answer<Json<LinkView>> {
    let now = state.now();
    let by_hand =
        || Json(LinkView { url: None, provider: None, text: Notice::ByHand.text(now), expires_at: None });
    let Some(consent) = state.consent() else { return Ok(by_hand()) };
    let Some(_place) = take(state.links(), domain.tenant) else {
        let detail = format!(
            "{MAX_OF_TENANT} links are being looked for already for the domains of tenant `{}`, or {MAX_IN_ALL} in all. \
             Try again in a few seconds.",
            domain.tenant
        );
        return Err(Problem::new(Code::TooManyLinks, detail).with_header(header::RETRY_AFTER, FREE_AGAIN));
    };
    let (token, until) = state.store().begin_consent(&member.actor, member.access, domain.id).await?;
    let Some(link) = consent.link(&domain, &token).await else {
        state.store().drop_consent(&token).await?;
        return Ok(by_hand());
    };
    let text = Notice::Follow { provider: &link.provider, until }.text(now);
    Ok(Json(LinkView { url: Some(link.url), provider: Some(link.provider), text, expires_at: Some(until) }))
}

/// Where a creator's browser comes back to from such a link: the domain is looked at, whatever is said here.
#[utoipa::path(get, path = "/v1/connect/return",
    params(("state" = Option<String>, Query, description = "Of the link."),
        ("error" = Option<String>, Query, description = "Why the provider did nothing.")),
    responses((status = 200, description = "One sentence for whoever comes back.", body = String,
        content_type = "text/plain")))]
pub(crate) async fn return_from_link(
    State(state): State<crate::State>,
    query: Result<axum::extract::Query<ReturnQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer<Response> {
    let (token, how) = match query {
        Ok(axum::extract::Query(ReturnQuery { state, error })) => {
            (state, if error.is_some() { Return::Refused } else { Return::Done })
        }
        Err(_) => (String::new(), Return::Done),
    };
    let known = state.store().end_consent(&token, how).await?;
    let notice = match (known, how) {
        (None, _) => Notice::LinkIsUsed,
        (Some(_), Return::Refused) => Notice::NotWanted,
        (Some(_), Return::Done) => Notice::Returned,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, format!("{}\n", notice.text(state.now()))).into_response())
}
