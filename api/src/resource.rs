//! One file a resource: what it looks like in JSON, and its handlers.

pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod authority;
pub(crate) mod certificate;
pub(crate) mod client_ca;
pub(crate) mod connection;
pub(crate) mod domain;
pub(crate) mod edge;
pub(crate) mod inspection;
pub(crate) mod key;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod notice;
pub(crate) mod platform;
pub(crate) mod policy;
pub(crate) mod progress;
pub(crate) mod tenant;
pub(crate) mod transfer;
pub(crate) mod usage;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use model::id::{AppId, DomainId, TenantId};
use store::{App, DomainRecord, TenantRecord};

use crate::caller::Member;
use crate::problem::Problem;
use crate::request::Id;

/// How often a change without `If-Match` is tried again when somebody else was faster.
const TRIES: usize = 5;

/// What a path names, read before the body: who may not see it learns nothing from how its body is refused.
#[derive(Debug)]
pub(crate) struct Seen<T>(pub(crate) T);

impl FromRequestParts<crate::State> for Seen<TenantRecord> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &crate::State) -> Result<Self, Problem> {
        let member = Member::from_request_parts(parts, state).await?;
        let id = Id::<TenantId>::from_request_parts(parts, state).await?;
        Ok(Self(state.store().tenant(member.access, id.0).await?))
    }
}

impl FromRequestParts<crate::State> for Seen<App> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &crate::State) -> Result<Self, Problem> {
        let member = Member::from_request_parts(parts, state).await?;
        let id = Id::<AppId>::from_request_parts(parts, state).await?;
        Ok(Self(state.store().app(member.access, id.0).await?))
    }
}

impl FromRequestParts<crate::State> for Seen<DomainRecord> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &crate::State) -> Result<Self, Problem> {
        let member = Member::from_request_parts(parts, state).await?;
        let id = Id::<DomainId>::from_request_parts(parts, state).await?;
        Ok(Self(state.store().domain(member.access, id.0).await?))
    }
}

/// 201 with the place of what was made.
#[derive(Debug)]
pub(crate) struct Created<T>(pub(crate) String, pub(crate) T);

impl<T: IntoResponse> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, self.1).into_response();
        if let Ok(place) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    }
}
