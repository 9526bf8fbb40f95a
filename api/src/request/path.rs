//! Ids in paths. An id of the wrong form is simply of nothing: the same answer as a missing one.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use model::id::{AppId, CertificateId, DomainId, KeyId, NoticeId, TenantId};

use crate::problem::Problem;

/// The one id of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id<T>(pub(crate) T);

/// An id that can stand in a path.
pub(crate) trait Kind: FromStr + Send {
    /// What it names, in plain words.
    const WHAT: &'static str;
}

impl Kind for TenantId {
    const WHAT: &'static str = "tenant";
}

impl Kind for AppId {
    const WHAT: &'static str = "app";
}

impl Kind for DomainId {
    const WHAT: &'static str = "domain";
}

impl Kind for CertificateId {
    const WHAT: &'static str = "certificate";
}

impl Kind for KeyId {
    const WHAT: &'static str = "key";
}

impl Kind for NoticeId {
    const WHAT: &'static str = "notice";
}

impl<T: Kind, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing = || Problem::not_found(T::WHAT);
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| missing())?;
        let text = params.iter().next().map(|(_, value)| value).unwrap_or_default();
        text.parse().map(Self).map_err(|_| missing())
    }
}
