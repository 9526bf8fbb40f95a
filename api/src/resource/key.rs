//! API keys. The secret is shown once, when the key is made, and is kept nowhere.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use model::Timestamp;
use model::id::{KeyId, TenantId};
use model::secret::Secret;
use serde::{Deserialize, Serialize, Serializer};
use store::{Access, Key, Scope};
use utoipa::ToSchema;

use super::Created;
use crate::caller::{Member, lacks};
use crate::keys;
use crate::layer::idempotency::WithoutSecret;
use crate::problem::{Answer, Code, Fault, Problem};
use crate::request::{Id, Json, List, ListQuery, Query};

/// An API key, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    /// Its id.
    #[schema(value_type = String, example = "key_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    id: KeyId,
    /// What it may do: platform, tenant or edge.
    scopes: Vec<ScopeWord>,
    /// The tenant whose key it is, with scope tenant.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantId>,
    /// What people call it.
    name: Option<String>,
    /// How its text begins, to tell it from others.
    #[schema(example = "sk_live_4fT0qZ9a")]
    prefix: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used: Option<Timestamp>,
}

/// A new key with its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewKey)]
pub(crate) struct NewKeyView {
    #[serde(flatten)]
    key: KeyView,
    /// The key's text: shown now and never again. Null in an answer that is given again to the same
    /// Idempotency-Key: the secret is not kept; delete the key and make another if it is lost.
    #[serde(serialize_with = "reveal")]
    #[schema(value_type = Option<String>)]
    secret: Option<Secret>,
    /// Says so if the secret is not in this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Scope)]
pub(crate) enum ScopeWord {
    /// An operator: everything.
    Platform,
    /// One tenant.
    Tenant,
    /// An edge that runs apart: the feed, nothing else.
    Edge,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKeyBody {
    /// What it may do; one scope. Give this or `scope`.
    #[schema(max_items = 1, min_items = 1)]
    scopes: Option<Vec<ScopeWord>>,
    /// The same as `scopes` with one entry.
    scope: Option<ScopeWord>,
    /// Whose key it is, with scope tenant. A tenant's key may leave it out: it makes keys for itself.
    #[schema(value_type = Option<String>)]
    tenant: Option<String>,
    /// What people call it, 1 to 200 characters.
    #[schema(example = "deploy from CI")]
    name: Option<String>,
}

/// The one place where a secret goes into an answer.
fn reveal<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::reveal).serialize(serializer)
}

impl From<Scope> for ScopeWord {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Platform => Self::Platform,
            Scope::Tenant => Self::Tenant,
            Scope::Edge => Self::Edge,
        }
    }
}

impl From<ScopeWord> for Scope {
    fn from(word: ScopeWord) -> Self {
        match word {
            ScopeWord::Platform => Self::Platform,
            ScopeWord::Tenant => Self::Tenant,
            ScopeWord::Edge => Self::Edge,
        }
    }
}

impl From<Key> for KeyView {
    fn from(key: Key) -> Self {
        Self {
            id: key.id,
            scopes: vec![key.scope.into()],
            tenant: key.tenant,
            name: key.name,
            prefix: keys::prefix(&key.lookup),
            created_at: key.created_at,
            last_used: key.last_used_at,
        }
    }
}

impl NewKeyBody {
    fn scope(&self) -> Result<Scope, Problem> {
        match (self.scopes.as_deref(), self.scope) {
            (Some([scope]), None) => Ok(Scope::from(*scope)),
            (None, Some(scope)) => Ok(scope.into()),
            _ => {
                let message = "give one scope: platform, tenant or edge";
                Err(Problem::faulty(vec![Fault::invalid("/scopes", message)]))
            }
        }
    }

    /// Whose key it will be. What the caller may not see is answered like what is not there.
    fn owner(&self, scope: Scope, access: Access) -> Result<Option<TenantId>, Problem> {
        let given = self.tenant.as_deref().map(str::parse::<TenantId>).transpose();
        let given = given.map_err(|_| Problem::not_found("tenant"))?;
        match (scope, access) {
            (Scope::Platform | Scope::Edge, Access::Tenant(_)) => Err(lacks("platform")),
            (Scope::Tenant, Access::Tenant(own)) => Ok(Some(given.unwrap_or(own))),
            (_, Access::Platform) => Ok(given),
        }
    }
}

/// Lists keys, the oldest first. A tenant's key sees its own tenant's only.
#[utoipa::path(get, path = "/v1/keys", params(ListQuery),
    responses((status = 200, description = "A page of keys, without secrets.", body = List<KeyView>)))]
pub(crate) async fn list_keys(
    State(state): State<crate::State>,
    member: Member,
    Query(query): Query<ListQuery>,
) -> Answer<Json<List<KeyView>>> {
    let page = state.store().keys(member.access, &query.page()?).await?;
    Ok(Json(List::of(page, KeyView::from)))
}

/// Makes a key. A tenant's key makes keys for its own tenant only.
#[utoipa::path(post, path = "/v1/keys", request_body = NewKeyBody,
    responses((status = 201, description = "The new key; its secret is shown only here.", body = NewKeyView)))]
pub(crate) async fn create_key(
    State(state): State<crate::State>,
    member: Member,
    Json(body): Json<NewKeyBody>,
) -> Answer<Response> {
    let scope = body.scope()?;
    let (secret, mut new) = keys::mint(scope, body.owner(scope, member.access)?);
    new.name = body.name;
    let key: KeyView = state.store().create_key(&member.actor, member.access, new).await?.into();
    let note = "The secret was shown once and is not kept: delete this key and make another if it is lost.";
    let again = NewKeyView { key: key.clone(), secret: None, note: Some(note) };
    let again = serde_json::to_string(&again).map_err(Problem::internal)?;
    let place = format!("/v1/keys/{}", key.id);
    let view = NewKeyView { key, secret: Some(secret), note: None };
    let mut response = Created(place, Json(view)).into_response();
    response.extensions_mut().insert(WithoutSecret(again));
    Ok(response)
}

/// Deletes a key: it opens nothing from now on. A key cannot delete itself, so the last one stays.
#[utoipa::path(delete, path = "/v1/keys/{k}", params(("k" = String, Path, description = "Id of the key.")),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete_key(
    State(state): State<crate::State>,
    member: Member,
    Id(key): Id<KeyId>,
) -> Answer<StatusCode> {
    if member.actor.key == Some(key) {
        let detail = "A key cannot delete itself: make another key and delete this one with it.";
        return Err(Problem::new(Code::Conflict("own_key"), detail));
    }
    state.store().delete_key(&member.actor, member.access, key).await?;
    Ok(StatusCode::NO_CONTENT)
}
