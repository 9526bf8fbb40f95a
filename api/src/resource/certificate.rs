//! Certificates: what is there, and upload of a creator's own. A private key goes in and never comes out.

use axum::extract::State;
use http::StatusCode;
use model::certificate::{Certificate, CertificateSource, CertificateStatus};
use model::chain::{self, Inspected, Part};
use model::domain::Claim;
use model::id::{AppId, CertificateId, TenantId};
use model::secret::Secret;
use model::{HostPattern, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use store::{App, CertificateFilter, CertificateRecord, NewCertificate, Page, Store};
use utoipa::ToSchema;

use super::{Created, Seen};
use crate::caller::Member;
use crate::problem::{Answer, Code, Fault, Problem};
use crate::request::{Id, Json, List, ListQuery, Query, query};

/// A certificate, without its private key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Certificate)]
pub(crate) struct CertificateView {
    /// Its id.
    #[schema(value_type = String, example = "crt_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    id: CertificateId,
    /// Whose it is; null: the marketplace's.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The app it is for; null: the marketplace's zones.
    #[schema(value_type = Option<String>)]
    app_id: Option<AppId>,
    /// The names it is served for.
    #[schema(value_type = Vec<String>)]
    names: Vec<HostPattern>,
    /// local_ca, acme or upload.
    #[schema(value_type = String, example = "acme")]
    source: CertificateSource,
    /// Who signed it.
    issuer: String,
    /// Serial number, hexadecimal.
    serial: String,
    /// First moment of validity.
    #[schema(value_type = String, format = DateTime)]
    not_before: Timestamp,
    /// Last moment of validity.
    #[schema(value_type = String, format = DateTime)]
    not_after: Timestamp,
    /// active, superseded (a newer one is served), expired, or rolled_back (the one before it is served again).
    #[schema(value_type = String, example = "active")]
    status: CertificateStatus,
    /// When it was taken in.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// Which certificates.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CertificateQuery {
    /// Of this app.
    app: Option<String>,
    /// That name this host exactly.
    name: Option<String>,
    /// Most entries on the page, 1 to 200. Default 50.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// Where the page begins: `pagination.cursor` of the page before.
    cursor: Option<String>,
}

/// A certificate of the creator's own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UploadBody {
    /// The certificate and its issuers, PEM.
    #[schema(example = "-----BEGIN CERTIFICATE-----\n…")]
    chain: String,
    /// The private key, PEM, not encrypted.
    #[serde(deserialize_with = "secret")]
    #[schema(value_type = String, format = Password, example = "-----BEGIN PRIVATE KEY-----\n…")]
    key: Secret,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

impl From<CertificateRecord> for CertificateView {
    fn from(certificate: CertificateRecord) -> Self {
        Self {
            id: certificate.id,
            tenant_id: certificate.tenant,
            app_id: certificate.app,
            names: certificate.names,
            source: certificate.source,
            issuer: certificate.issuer,
            serial: certificate.serial,
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            status: certificate.status,
            created_at: certificate.created_at,
        }
    }
}

/// Lists certificates, the oldest first, those of the past included.
#[utoipa::path(get, path = "/v1/certificates", params(CertificateQuery),
    responses((status = 200, description = "A page of certificates.", body = List<CertificateView>)))]
pub(crate) async fn list_certificates(
    State(state): State<crate::State>,
    member: Member,
    Query(asked): Query<CertificateQuery>,
) -> Answer<Json<List<CertificateView>>> {
    let (app, name) = (query::read("app", asked.app.as_ref())?, query::read("name", asked.name.as_ref())?);
    let page = ListQuery::new(asked.limit, asked.cursor).page()?;
    let filter = CertificateFilter { app, name };
    let found = state.store().certificates(member.access, &filter, &page).await?;
    Ok(Json(List::of(found, CertificateView::from)))
}

/// Gives one certificate.
#[utoipa::path(get, path = "/v1/certificates/{c}",
    params(("c" = String, Path, description = "Id of the certificate.")),
    responses((status = 200, description = "The certificate.", body = CertificateView)))]
pub(crate) async fn get_certificate(
    State(state): State<crate::State>,
    member: Member,
    Id(certificate): Id<CertificateId>,
) -> Answer<Json<CertificateView>> {
    Ok(Json(state.store().certificate(member.access, certificate).await?.into()))
}

/// Takes in a certificate with its private key; it is served at once. Every name of it must be one of the
/// app's own: its name on the marketplace, or a domain that was proved.
#[utoipa::path(post, path = "/v1/apps/{a}/certificates", params(("a" = String, Path, description = "Id of the app.")),
    request_body = UploadBody,
    responses((status = 201, description = "The certificate.", body = CertificateView)))]
pub(crate) async fn upload_certificate(
    State(state): State<crate::State>,
    member: Member,
    Seen(app): Seen<App>,
    Json(body): Json<UploadBody>,
) -> Answer<Created<Json<CertificateView>>> {
    let inspected = inspect(&body, state.now())?;
    check_names(&inspected.names, &hosts(state.store(), &member, &app).await?)?;
    let new = seal(&state, &app, inspected)?;
    let certificate = state.store().insert_certificate(&member.actor, new).await?;
    Ok(Created(format!("/v1/certificates/{}", certificate.id), Json(certificate.into())))
}

/// Puts a certificate first in line to be renewed. The old one is served until the new one is there.
#[utoipa::path(post, path = "/v1/certificates/{c}/renew",
    params(("c" = String, Path, description = "Id of the certificate.")),
    responses((status = 202, description = "The certificate; the new one appears in the list.", body = CertificateView)))]
pub(crate) async fn renew_certificate(
    State(state): State<crate::State>,
    member: Member,
    Id(id): Id<CertificateId>,
) -> Answer<(StatusCode, Json<CertificateView>)> {
    let certificate = state.store().certificate(member.access, id).await?;
    let refused = match (certificate.source, certificate.status) {
        (CertificateSource::Upload, _) => Some("It was uploaded: upload the new one instead."),
        (_, CertificateStatus::Active) => None,
        (_, CertificateStatus::Superseded) => Some("A newer one is served already: renew that one."),
        (_, CertificateStatus::Expired) => {
            Some("It has expired. A new one is ordered as soon as its domain is in order.")
        }
        (_, CertificateStatus::RolledBack) => Some("The one before it is served again: renew that one."),
    };
    match refused {
        Some(reason) => Err(Problem::new(Code::Conflict("not_renewable"), reason)),
        None => {
            let certificate = state.store().request_renewal(&member.actor, member.access, id).await?;
            Ok((StatusCode::ACCEPTED, Json(certificate.into())))
        }
    }
}

/// Serves the certificate again that was served for the same names before this one. It is taken in anew, with an id of
/// its own; this one is not come back to. Renewal waits for half of the time that is left.
#[utoipa::path(post, path = "/v1/certificates/{c}/roll-back",
    params(("c" = String, Path, description = "Id of the certificate that is served now.")),
    responses((status = 201, description = "The certificate that is served again.", body = CertificateView)))]
pub(crate) async fn roll_certificate_back(
    State(state): State<crate::State>,
    member: Member,
    Id(id): Id<CertificateId>,
) -> Answer<Created<Json<CertificateView>>> {
    let current = state.store().certificate(member.access, id).await?;
    if current.status != CertificateStatus::Active {
        return Err(not_rolled_back("It is not served: roll the one back that is.".to_owned()));
    }
    let Some(before) = state.store().certificate_before(&current).await? else {
        return Err(not_rolled_back(
            "No other certificate of the same names was served before it.".to_owned(),
        ));
    };
    if before.not_after <= state.now() {
        return Err(not_rolled_back(format!(
            "The one before it, {}, ended at {}.",
            before.id, before.not_after
        )));
    }
    if before.was_called_back(state.now()) {
        let reason = "wanted it replaced long before its end, as authorities do with what they revoke";
        return Err(not_rolled_back(format!(
            "The one before it, {}, is no good: {} {reason}.",
            before.id, before.issuer
        )));
    }
    let again = taken_in_anew(&state, &before)?;
    let certificate = state.store().roll_back_certificate(&member.actor, current.id, again).await?;
    Ok(Created(format!("/v1/certificates/{}", certificate.id), Json(certificate.into())))
}

fn not_rolled_back(reason: String) -> Problem {
    Problem::new(Code::Conflict("not_rolled_back"), reason)
}

/// The same certificate under a new id, checked as if it were uploaded.
fn taken_in_anew(state: &crate::State, before: &CertificateRecord) -> Result<NewCertificate, Problem> {
    let useless = |error: &dyn std::fmt::Display| {
        not_rolled_back(format!("The one before it, {}, is no good: {error}.", before.id))
    };
    let key = state.master().open(&Certificate::key_context(before.id), &before.key);
    let key = key.map_err(|error| useless(&error))?;
    let inspected = chain::inspect(&before.chain_pem, &key, state.now()).map_err(|error| useless(&error))?;
    let id = CertificateId::generate(state.now());
    let key = state.master().seal(&Certificate::key_context(id), &inspected.key_der);
    Ok(NewCertificate {
        id,
        tenant: before.tenant,
        app: before.app,
        source: before.source,
        authority: before.authority.clone(),
        issuer: inspected.issuer,
        serial: inspected.serial,
        names: before.names.clone(),
        key: key.map_err(Problem::internal)?,
        chain_pem: inspected.chain_pem,
        not_before: inspected.not_before,
        not_after: inspected.not_after,
    })
}

fn inspect(body: &UploadBody, now: Timestamp) -> Result<Inspected, Problem> {
    chain::inspect(&body.chain, body.key.reveal().as_bytes(), now).map_err(|error| {
        let pointer = match error.part() {
            Part::Chain => "/chain",
            Part::Key => "/key",
        };
        Problem::faulty(vec![Fault::invalid(pointer, error)])
    })
}

/// The names an app may have certificates for: its own on the zones, and domains that were proved.
async fn hosts(store: &Store, member: &Member, app: &App) -> Answer<Vec<HostPattern>> {
    let zones = store
        .zones()
        .iter()
        .filter_map(|zone| zone.with_label(app.name.as_str()).ok())
        .map(HostPattern::from);
    let domains = store.domains(member.access, app.id, &Page::first(Page::MAX_LIMIT)).await?.items;
    let proved = domains.into_iter().filter(|domain| domain.facts.claim == Claim::Proved);
    Ok(zones.chain(proved.map(|domain| domain.host)).collect())
}

/// A wildcard is an app's own only if it was connected as such: it also covers names that others may have.
fn check_names(names: &[HostPattern], hosts: &[HostPattern]) -> Result<(), Problem> {
    let faults: Vec<Fault> = names
        .iter()
        .filter(|name| !hosts.contains(name))
        .map(|name| {
            let message = format!(
                "the certificate names `{name}`, which is not one of this app's own names: connect that domain to the app first"
            );
            Fault::new("/chain", "name_not_of_app", message)
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::faulty(faults)) }
}

fn seal(state: &crate::State, app: &App, inspected: Inspected) -> Result<NewCertificate, Problem> {
    let id = CertificateId::generate(state.now());
    let key = state.master().seal(&Certificate::key_context(id), &inspected.key_der);
    Ok(NewCertificate {
        id,
        tenant: Some(app.tenant),
        app: Some(app.id),
        source: CertificateSource::Upload,
        authority: None,
        issuer: inspected.issuer,
        serial: inspected.serial,
        names: inspected.names,
        chain_pem: inspected.chain_pem,
        key: key.map_err(Problem::internal)?,
        not_before: inspected.not_before,
        not_after: inspected.not_after,
    })
}
