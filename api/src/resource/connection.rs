//! "Connect for me": the records of a creator's domain, set at its provider by certd. Here it is only wished and shown.

use axum::extract::State;
use http::StatusCode;
use model::domain::connection::{
    ConnectionStatus, Connector, Door, RecordChange, Step, credential_context, tell,
};
use model::domain::{Actor, Authority, Fate, catalogue};
use model::id::DomainId;
use model::secret::Secret;
use model::{Host, HostPattern, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use store::{Connection, DomainRecord, Wish};
use utoipa::ToSchema;

use super::Seen;
use crate::caller::Member;
use crate::problem::{Answer, Fault, Problem};
use crate::request::{Id, Json};

/// Longest credential, in bytes.
const MAX_TOKEN: usize = 4096;

/// Records that are set for a creator: what can be done, what was asked for, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub(crate) struct ConnectionView {
    /// The domain.
    #[schema(value_type = String)]
    domain_id: DomainId,
    /// Its name.
    #[schema(value_type = String, example = "shop.example.com")]
    hostname: HostPattern,
    /// The providers that its name servers allow: powerdns, rfc2136, cloudflare, digitalocean. None: set the records by
    /// hand.
    #[schema(value_type = Vec<String>)]
    providers: Vec<Connector>,
    /// working, previewed, applied, undone, failed (nothing was changed) or incomplete (something of it is left);
    /// null: nothing was asked for.
    #[schema(value_type = Option<String>)]
    status: Option<ConnectionStatus>,
    /// What was asked for last: preview, apply or undo.
    #[schema(value_type = Option<String>)]
    action: Option<Step>,
    /// Where the records are set.
    #[schema(value_type = Option<String>)]
    provider: Option<Connector>,
    /// The zone that was looked at.
    #[schema(value_type = Option<String>)]
    zone: Option<Host>,
    /// Who acts next: `you`, `us` or `nobody`.
    #[schema(value_type = Option<String>)]
    who: Option<Actor>,
    /// The same in one sentence.
    text: Option<String>,
    /// What would be changed, or was: what is removed, what is added, what stays beside it.
    changes: Vec<ChangeView>,
    /// What becomes of e-mail.
    email: Option<String>,
    /// What went wrong, in the words of the trade.
    details: Vec<String>,
    /// Whether there are records of ours to take back.
    can_undo: bool,
    /// Until when the key is kept; null: it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    key_kept_until: Option<Timestamp>,
}

/// One record at the provider and what becomes of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionChange)]
pub(crate) struct ChangeView {
    /// add, remove or keep.
    #[schema(value_type = String, example = "add")]
    change: Fate,
    /// Its type; providers have types of their own.
    #[serde(rename = "type")]
    #[schema(example = "CNAME")]
    kind: String,
    /// The full name.
    name: String,
    /// The value.
    value: String,
}

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectBody {
    /// preview (the default), apply (what the last preview has shown, unless a provider is given again) or undo.
    #[serde(default = "preview")]
    #[schema(value_type = String, example = "preview")]
    action: Step,
    /// powerdns, rfc2136, cloudflare or digitalocean; left out: the one of before, with the key that is kept.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    provider: Option<Connector>,
    /// The API token, the API key, or the TSIG key in base64. It is sealed, never shown, and forgotten seven days after
    /// the records were set, or as soon as they were taken back.
    #[serde(default, deserialize_with = "secret")]
    #[schema(value_type = Option<String>)]
    token: Option<Secret>,
    /// False: the key is forgotten as soon as this step is done.
    #[serde(default = "yes")]
    #[schema(default = true)]
    keep_key: bool,
    /// The zone's name at the provider, if the name servers do not tell.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    zone: Option<String>,
    /// powerdns: where its API is, https://… on the internet.
    #[serde(default)]
    url: Option<String>,
    /// rfc2136: the primary server on the internet, host:port.
    #[serde(default)]
    server: Option<String>,
    /// rfc2136: the name of the key.
    #[serde(default)]
    key_name: Option<String>,
    /// rfc2136: hmac-sha256 (the default), hmac-sha384 or hmac-sha512.
    #[serde(default)]
    algorithm: Option<String>,
}

fn preview() -> Step {
    Step::Preview
}

fn yes() -> bool {
    true
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

impl From<RecordChange> for ChangeView {
    fn from(change: RecordChange) -> Self {
        Self { change: change.change, kind: change.kind, name: change.name, value: change.value }
    }
}

impl ConnectionView {
    fn of(domain: DomainRecord, connection: Option<Connection>, now: Timestamp) -> Self {
        let nothing = Self {
            domain_id: domain.id,
            hostname: domain.host,
            providers: Connector::fitting(&domain.facts.authority),
            status: None,
            action: None,
            provider: None,
            zone: None,
            who: None,
            text: None,
            changes: Vec::new(),
            email: None,
            details: Vec::new(),
            can_undo: false,
            key_kept_until: None,
        };
        let Some(connection) = connection else { return nothing };
        let kept = connection.credential.as_ref().map(|_| connection.forget_at);
        let undo_until = kept.filter(|_| connection.applied.is_some());
        let (who, text) = tell((connection.status, &connection.door), &connection.findings, undo_until, now);
        let found = connection.findings;
        Self {
            status: Some(connection.status),
            action: Some(connection.step),
            provider: Some(connection.door.provider),
            zone: found.zone.or(connection.door.zone),
            who: Some(who),
            text: Some(text),
            email: (!found.changes.is_empty()).then(|| catalogue::mail(found.mail).to_owned()),
            changes: found.changes.into_iter().map(ChangeView::from).collect(),
            details: found.details,
            can_undo: connection.applied.is_some(),
            key_kept_until: kept,
            ..nothing
        }
    }
}

/// Tells which providers can be spoken to for this domain, and how far its connection is.
#[utoipa::path(get, path = "/v1/domains/{d}/connect", params(("d" = String, Path, description = "Id of the domain.")),
    responses((status = 200, description = "The connection.", body = ConnectionView)))]
pub(crate) async fn get_connection(
    State(state): State<crate::State>,
    member: Member,
    Id(domain): Id<DomainId>,
) -> Answer<Json<ConnectionView>> {
    let domain = state.store().domain(member.access, domain).await?;
    let connection = state.store().connection(member.access, domain.id).await?;
    Ok(Json(ConnectionView::of(domain, connection, state.now())))
}

/// Shows what would be changed at the domain's provider, sets the records there, or takes them back. Records for
/// e-mail are never touched.
#[utoipa::path(post, path = "/v1/domains/{d}/connect",
    params(("d" = String, Path, description = "Id of the domain.")), request_body = ConnectBody,
    responses((status = 202, description = "The connection; read it again to see its status move.",
        body = ConnectionView)))]
pub(crate) async fn connect_domain(
    State(state): State<crate::State>,
    member: Member,
    Seen(domain): Seen<DomainRecord>,
    Json(body): Json<ConnectBody>,
) -> Answer<(StatusCode, Json<ConnectionView>)> {
    let wish = wish(&state, &domain, body)?;
    let wished = state.store().wish_connection(&member.actor, member.access, domain.id, wish).await?;
    Ok((StatusCode::ACCEPTED, Json(ConnectionView::of(domain, Some(wished), state.now()))))
}

/// Forgets the connection with its key, and how its records are taken back. The records stay.
#[utoipa::path(delete, path = "/v1/domains/{d}/connect",
    params(("d" = String, Path, description = "Id of the domain.")),
    responses((status = 204, description = "It is forgotten.")))]
pub(crate) async fn forget_connection(
    State(state): State<crate::State>,
    member: Member,
    Id(domain): Id<DomainId>,
) -> Answer<StatusCode> {
    state.store().forget_connection(&member.actor, member.access, domain).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn wish(state: &crate::State, domain: &DomainRecord, body: ConnectBody) -> Answer<Wish> {
    let fault =
        |field: &str, reason: String| Problem::faulty(vec![Fault::invalid(format!("/{field}"), reason)]);
    let (step, keep) = (body.action, body.keep_key);
    let (door, token) = match (body.provider, &body.token) {
        (Some(provider), Some(_)) => door(provider, body).map_err(|(field, reason)| fault(field, reason))?,
        (Some(_), None) => return Err(fault("token", "a provider needs its key: give `token`".to_owned())),
        (None, Some(_)) => return Err(fault("provider", "say whose key it is: give `provider`".to_owned())),
        (None, None) if has_more(&body) => {
            return Err(fault(
                "provider",
                "these belong to a provider: give `provider` and `token`".to_owned(),
            ));
        }
        (None, None) => return Ok(Wish { step, opening: None, keep }),
    };
    check_provider(door.provider, &domain.facts.authority, &domain.host)
        .map_err(|why| fault("provider", why))?;
    door.check(&domain.host).map_err(|error| fault(error.field, error.reason))?;
    let sealed = state.master().seal(&credential_context(domain.id), token.reveal().as_bytes());
    let sealed = sealed.map_err(Problem::internal)?;
    Ok(Wish { step, opening: Some((door, sealed)), keep })
}

fn has_more(body: &ConnectBody) -> bool {
    [&body.zone, &body.url, &body.server, &body.key_name, &body.algorithm].into_iter().any(Option::is_some)
}

fn door(provider: Connector, body: ConnectBody) -> Result<(Door, Secret), (&'static str, String)> {
    let token = body.token.unwrap_or_else(|| Secret::new(String::new()));
    let bare = token.reveal().trim();
    if bare.is_empty() || bare.len() > MAX_TOKEN || !bare.bytes().all(|byte| byte.is_ascii_graphic()) {
        // It is not repeated, of course.
        return Err(("token", format!("a key has 1 to {MAX_TOKEN} printable characters and no space")));
    }
    let zone = body.zone.map(|zone| Host::parse(&zone).map_err(|error| ("zone", error.to_string())));
    let door = Door {
        provider,
        zone: zone.transpose()?,
        url: body.url,
        server: body.server,
        key_name: body.key_name,
        algorithm: body.algorithm,
    };
    Ok((door, Secret::new(bare.to_owned())))
}

/// A key is sent to nobody who does not keep the domain's records.
fn check_provider(given: Connector, authority: &Authority, host: &HostPattern) -> Result<(), String> {
    let fitting = Connector::fitting(authority);
    if fitting.contains(&given) {
        return Ok(());
    }
    let keeper = authority.provider.as_ref().map_or("a server of its own", |provider| provider.name.as_str());
    let advice = match fitting.as_slice() {
        [] => "add them by hand".to_owned(),
        all => format!("give {}", all.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" or ")),
    };
    Err(format!("`{}` does not keep the records of `{host}`: {keeper} does; {advice}", given.as_str()))
}
