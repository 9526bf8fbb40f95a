//! Who calls and what they may do, as types: a handler that takes [`Member`], [`Operator`] or [`EdgeCaller`]
//! cannot be reached by anybody else.
//!
//! What a key may not see is 404, the same as what is not there. 403 is only for what it may see but not do.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use http::request::Parts;
use model::id::{KeyId, RequestId, TenantId};
use model::secret::Secret;
use store::{Access, Actor, Key, Scope, Store, StoreError};

use crate::keys;
use crate::problem::{Code, Problem};

/// Whose key was sent.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key.
    pub(crate) key: Key,
    /// Its text.
    pub(crate) secret: Secret,
    /// The request.
    pub(crate) request: Option<RequestId>,
    /// Where the request came from.
    pub(crate) ip: Option<IpAddr>,
}

/// An operator or a tenant.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// What they may see.
    pub(crate) access: Access,
    /// Who they are, for the audit log.
    pub(crate) actor: Actor,
}

/// An operator.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    /// Who they are, for the audit log.
    pub(crate) actor: Actor,
}

/// An edge.
#[derive(Debug, Clone)]
pub(crate) struct EdgeCaller {
    /// Its key.
    pub(crate) key: KeyId,
    /// The text of its key, from which its sealing key is derived.
    pub(crate) secret: Secret,
}

impl Caller {
    pub(crate) fn from_parts(parts: &Parts) -> Result<&Self, Problem> {
        parts.extensions.get().ok_or_else(|| Problem::internal("a handler was reached without a caller"))
    }

    /// Whether the key still opens something.
    pub(crate) async fn is_valid(&self, store: &Store) -> Result<bool, StoreError> {
        let Some(parsed) = keys::parse(self.secret.reveal()) else { return Ok(false) };
        let key = store.authenticate(&parsed.lookup, &parsed.hash).await?;
        Ok(key.is_some_and(|key| {
            (key.id, key.scope, key.tenant) == (self.key.id, self.key.scope, self.key.tenant)
        }))
    }

    fn actor(&self) -> Actor {
        Actor { request: self.request, ip: self.ip, ..Actor::with_key(self.key.id) }
    }

    fn access(&self) -> Option<Access> {
        match (self.key.scope, self.key.tenant) {
            (Scope::Platform, _) => Some(Access::Platform),
            (Scope::Tenant, Some(tenant)) => Some(Access::Tenant(tenant)),
            (Scope::Tenant, None) | (Scope::Edge, _) => None,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Member {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = Caller::from_parts(parts)?;
        match caller.access() {
            Some(access) => Ok(Self { access, actor: caller.actor() }),
            None => Err(hidden(parts).unwrap_or_else(|| lacks("platform or tenant"))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_parts(parts)?.clone();
        match caller.access() {
            Some(Access::Platform) => Ok(Self { actor: caller.actor() }),
            Some(Access::Tenant(own)) if is_about(parts, state, own).await => Err(lacks("platform")),
            _ => Err(hidden(parts).unwrap_or_else(|| lacks("platform"))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for EdgeCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = Caller::from_parts(parts)?;
        match caller.key.scope {
            Scope::Edge => Ok(Self { key: caller.key.id, secret: caller.secret.clone() }),
            Scope::Platform | Scope::Tenant => Err(lacks("edge")),
        }
    }
}

/// The caller may see the thing, but not do this to it.
pub(crate) fn lacks(scope: &str) -> Problem {
    Problem::new(Code::ScopeMissing, format!("This needs a key of scope {scope}."))
}

/// Whether the path names the caller's own tenant.
async fn is_about<S: Send + Sync>(parts: &mut Parts, state: &S, own: TenantId) -> bool {
    let Ok(params) = RawPathParams::from_request_parts(parts, state).await else { return false };
    params.iter().any(|(_, value)| value.parse() == Ok(own))
}

/// The answer to a path with an id that the caller may not see; none for a path without one.
fn hidden(parts: &Parts) -> Option<Problem> {
    let route = parts.extensions.get::<MatchedPath>()?.as_str();
    let (_, rest) = route.split_once('{')?;
    let (name, _) = rest.split_once('}')?;
    Some(Problem::not_found(match name {
        "t" => "tenant",
        "a" => "app",
        "d" => "domain",
        "c" => "certificate",
        "n" => "notice",
        _ => "key",
    }))
}
