//! The authority whose client certificates a domain asks its visitors for (mTLS).

use axum::extract::State;
use http::StatusCode;
use model::Timestamp;
use model::client_ca::{Authority, ClientCa};
use model::id::DomainId;
use serde::{Deserialize, Serialize};
use store::DomainRecord;
use utoipa::ToSchema;

use super::Seen;
use super::domain::{DomainView, show};
use crate::caller::Member;
use crate::problem::{Answer, Fault, Problem};
use crate::request::{Id, Json};

/// An authority whose client certificates are accepted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClientCa)]
pub(crate) struct ClientCaView {
    /// Its name (RFC 4514).
    #[schema(example = "CN=Members,O=Example")]
    subject: String,
    /// Last moment of validity.
    #[schema(value_type = String, format = DateTime)]
    not_after: Timestamp,
}

/// Authorities for client certificates.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientCaBody {
    /// 1 to 16 certificates of authorities, PEM, at most 64 KiB. No private key.
    #[schema(example = "-----BEGIN CERTIFICATE-----\n…")]
    pem: String,
}

impl From<Authority> for ClientCaView {
    fn from(authority: Authority) -> Self {
        Self { subject: authority.subject, not_after: authority.not_after }
    }
}

/// Asks every visitor of the domain for a certificate of these authorities, from the next connection on. The
/// app gets `X-Client-Cert-Subject`, `X-Client-Cert-Fingerprint` and `Client-Cert` (RFC 9440).
#[utoipa::path(put, path = "/v1/domains/{d}/client-ca", params(("d" = String, Path, description = "Id of the domain.")),
    request_body = ClientCaBody,
    responses((status = 200, description = "The domain.", body = DomainView)))]
pub(crate) async fn set_client_ca(
    State(state): State<crate::State>,
    member: Member,
    Seen(domain): Seen<DomainRecord>,
    Json(body): Json<ClientCaBody>,
) -> Answer<Json<DomainView>> {
    let ca = ClientCa::inspect(&body.pem, state.now())
        .map_err(|error| Problem::faulty(vec![Fault::invalid("/pem", error)]))?;
    let domain = state.store().set_client_ca(&member.actor, member.access, domain.id, Some(ca)).await?;
    Ok(Json(show(&state, domain).await?))
}

/// Asks visitors of the domain for nothing any more.
#[utoipa::path(delete, path = "/v1/domains/{d}/client-ca", params(("d" = String, Path, description = "Id of the domain.")),
    responses((status = 204, description = "Nobody is asked.")))]
pub(crate) async fn remove_client_ca(
    State(state): State<crate::State>,
    member: Member,
    Id(domain): Id<DomainId>,
) -> Answer<StatusCode> {
    state.store().set_client_ca(&member.actor, member.access, domain, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
