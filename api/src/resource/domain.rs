//! A creator's own domains: status and next action in plain words, records to add, facts for the curious.

use axum::extract::State;
use http::StatusCode;
use model::acme::{DNS01_LABEL, STANDING_LABEL, delegate};
use model::domain::connection::Connector;
use model::domain::{Actor, Claim, Contest, DomainStatus, Presence, Record, RecordKind, derive};
use model::id::{AppId, CertificateId, DomainId, TenantId};
use model::{Host, HostPattern, Timestamp};
use serde::{Deserialize, Serialize};
use store::{App, DomainRecord, TimelineEntry};
use utoipa::ToSchema;

use super::client_ca::ClientCaView;
use super::{Created, Seen};
use crate::Inspect;
use crate::caller::Member;
use crate::problem::{Answer, Fault, Problem};
use crate::request::query::refused;
use crate::request::{Id, Json, List, ListQuery, Query};

/// A creator's own domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Domain)]
pub(crate) struct DomainView {
    /// Its id.
    #[schema(value_type = String, example = "dom_01JD0Z6B3XQ4V8T9M2K7R5W1EP")]
    id: DomainId,
    /// The name, in ASCII; `*.example.com` is every name one label below `example.com` that no other domain has.
    #[schema(value_type = String, example = "shop.example.com")]
    hostname: HostPattern,
    /// The app that answers at it.
    #[schema(value_type = String)]
    app_id: AppId,
    /// Whose it is.
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// invalid_name, claimed_elsewhere, needs_dns, conflict, wrong_zone, dns_broken, spreading, proxied, caa_block,
    /// issuing, our_problem, prepared, deploying, live, at_risk, moved, suspended or removed.
    #[schema(value_type = String, example = "needs_dns")]
    status: DomainStatus,
    /// The one next step.
    next_action: NextActionView,
    /// Every record that connects the domain: the CNAME, or the addresses with the TXT proof; of a claim of another
    /// account's domain the proof only.
    records: Vec<RecordView>,
    /// The certificate that serves it now.
    #[schema(value_type = Option<String>)]
    certificate_id: Option<CertificateId>,
    /// The authorities whose client certificates visitors must show; null: visitors are asked for nothing.
    client_ca: Option<Vec<ClientCaView>>,
    /// Another name that visitors may type, `www` for the domain itself or the other way round: connect it as well.
    /// Two names of one app that both point here share a certificate. Told when the domain is added and nobody has that name here.
    #[schema(value_type = Option<String>, example = "www.example.com")]
    #[serde(skip_serializing_if = "Option::is_none")]
    companion: Option<Host>,
    /// The latest changes of its status, the oldest first.
    timeline: Vec<TimelineView>,
    /// What is known, for who wants to know.
    details: DetailsView,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// The one next step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NextAction)]
pub(crate) struct NextActionView {
    /// `you`, `us` or `nobody`.
    #[schema(value_type = String, example = "you")]
    who: Actor,
    /// At most 25 words without jargon: what to do, and by when.
    text: String,
    /// The record to add or change, if that is the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordView>,
    /// What often goes wrong at the domain's provider, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// That we set the record ourselves, if the domain's provider is one that we can speak to: see its `connect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<OfferView>,
}

/// An offer to set the record at the creator's provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectOffer)]
pub(crate) struct OfferView {
    /// cloudflare or digitalocean.
    #[schema(value_type = String, example = "cloudflare")]
    provider: Connector,
    /// One sentence without jargon.
    text: String,
}

/// A DNS record as a provider's form asks for it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Record)]
pub(crate) struct RecordView {
    /// CNAME, A, AAAA, TXT or CAA.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "CNAME")]
    kind: RecordKind,
    /// The full name.
    name: String,
    /// The name as the form of the domain's provider wants it, if the provider is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    form_name: Option<String>,
    /// The value.
    value: String,
    /// Whether the domain is connected without it as well. The alias of `_acme-challenge` is: with it the padlock can be
    /// made and renewed also while a proxy or a wall stands before the address. So is the text at `_validation-persist`.
    /// The padlock of a wildcard can be made with one of them only.
    optional: bool,
}

/// One change of a domain's status.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
pub(crate) struct TimelineView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What it became, or was.
    #[schema(value_type = String)]
    status: DomainStatus,
    /// A warning and no change: the certificate that was uploaded for it ends in so many days.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_in_days: Option<u16>,
}

/// What is known of a domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DomainDetails)]
pub(crate) struct DetailsView {
    /// `proved` once the unique CNAME target or the TXT proof was seen, else `unproved`.
    #[schema(value_type = String)]
    claim: Claim,
    /// Where its records point: unknown, absent, misplaced (with the name they have), elsewhere or partial (with what
    /// was found), proxied (with whose proxy), broken (with the reason), spreading (with the server that is late and for
    /// how many seconds its answer holds) or here.
    #[schema(value_type = Object)]
    routing: model::domain::Routing,
    /// Its own name servers: their health (unknown, sound, silent, failing, lame, unsigned, circular, unregistered or
    /// split), zone, names and provider.
    #[schema(value_type = Object)]
    authority: model::domain::Authority,
    /// That the padlock of a wildcard cannot be made: the `record` that is missing, or null if what is missing is on the
    /// marketplace's side.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    unprovable: Option<model::domain::Unprovable>,
    /// The CAA records that keep our authority from making a certificate: who may, where, and the record to add.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    forbidden: Option<model::domain::Forbidden>,
    /// `allowed`, `suspended` or `refused`.
    #[schema(value_type = String)]
    policy: model::domain::Policy,
    /// How far its certificate is: none, ordering, failing (with the reason and the next try) or ready.
    #[schema(value_type = Object)]
    certification: model::domain::Certification,
    /// `verified` once a handshake from outside showed the certificate, else `absent`.
    #[schema(value_type = String)]
    presence: Presence,
    /// When its records were last looked up.
    #[schema(value_type = Option<String>, format = DateTime)]
    checked_at: Option<Timestamp>,
    /// Since when a domain that was live has not pointed here.
    #[schema(value_type = Option<String>, format = DateTime)]
    away_since: Option<Timestamp>,
    /// Until when some visitors may still be sent to where an old record pointed.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    old_until: Option<Timestamp>,
    /// When it is looked at next.
    #[schema(value_type = String, format = DateTime)]
    next_check_at: Timestamp,
    /// How this account stands where another one wants the same name: `asked` (prove that it is yours), `waiting` (it
    /// moves here at `until`, or as soon as its certificate is there), `refused` (`cause`: the other one `proved` it, the
    /// operator `decided` so, or the claim `lapsed` too often), `lost`, or `challenged` (it moves away at `until`); null:
    /// nobody else does.
    #[schema(value_type = Option<Object>)]
    contest: Option<Contest>,
}

/// A domain to be connected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDomainBody {
    /// The name, or `*.` and the name that all names below are meant of; upper case and letters beyond ASCII are
    /// normalised.
    #[schema(example = "shop.example.com")]
    hostname: String,
}

impl From<Record> for RecordView {
    fn from(record: Record) -> Self {
        Self {
            kind: record.kind,
            name: record.name,
            form_name: record.form_name,
            value: record.value,
            optional: false,
        }
    }
}

impl From<TimelineEntry> for TimelineView {
    fn from(entry: TimelineEntry) -> Self {
        Self { at: entry.at, status: entry.status, ends_in_days: entry.ends_in_days }
    }
}

impl DetailsView {
    fn of(domain: &DomainRecord) -> Self {
        let facts = domain.facts.clone();
        Self {
            claim: facts.claim,
            routing: facts.routing,
            certification: facts.certification,
            presence: facts.presence,
            checked_at: facts.checked_at,
            away_since: facts.away_since,
            authority: facts.authority,
            forbidden: facts.forbidden,
            unprovable: facts.unprovable,
            policy: facts.policy,
            old_until: facts.old_until,
            next_check_at: domain.next_check_at,
            contest: facts.contest,
        }
    }
}

impl DomainView {
    fn of(domain: DomainRecord, certificate: Option<CertificateId>, now: Timestamp) -> Self {
        let (status, next) = derive(&domain.facts, &domain.target, now);
        let records = records(&domain).into_iter().map(RecordView::from).collect();
        let next_action = NextActionView {
            who: next.who,
            text: next.text,
            record: next.record.map(RecordView::from),
            hint: next.hint,
            connect: next.connect.map(|offer| OfferView { provider: offer.provider, text: offer.text }),
        };
        Self {
            details: DetailsView::of(&domain),
            id: domain.id,
            hostname: domain.host,
            app_id: domain.app,
            tenant_id: domain.tenant,
            status,
            next_action,
            records,
            certificate_id: certificate,
            client_ca: domain
                .client_ca
                .map(|ca| ca.authorities().into_iter().map(ClientCaView::from).collect()),
            companion: None,
            timeline: domain.timeline.into_iter().map(TimelineView::from).collect(),
            created_at: domain.created_at,
        }
    }
}

/// The records that connect a domain; of a claim only the proof, since the rest would lead its visitors away.
fn records(domain: &DomainRecord) -> Vec<Record> {
    match (domain.facts.claim, domain.facts.contest) {
        (Claim::Contested, Some(Contest::Asked | Contest::Waiting { .. })) => {
            vec![domain.target.text_record()]
        }
        (Claim::Contested, _) => Vec::new(),
        _ => domain.target.records(),
    }
}

/// Whether records that prove a name to an authority are of use: they lead no visitor away, but a claim needs them only for
/// a wildcard, which moves with its certificate.
fn is_proving(domain: &DomainRecord) -> bool {
    match domain.facts.contest {
        Some(Contest::Asked | Contest::Waiting { .. }) => domain.host.is_wildcard(),
        _ => domain.facts.claim != Claim::Contested,
    }
}

/// The alias that lets us make the certificate whether or not visitors come here already, where there is a zone for it.
async fn challenge_alias(state: &crate::State, domain: &DomainRecord) -> Answer<Option<RecordView>> {
    let Some(zone) = state.challenge_zone().filter(|_| is_proving(domain)) else { return Ok(None) };
    let name = format!("{DNS01_LABEL}.{}", domain.host.base());
    let record =
        Record::new(RecordKind::Cname, name, delegate(state.store().delegate_of(domain).await?, zone));
    Ok(Some(RecordView { optional: !domain.host.is_wildcard(), ..record.into() }))
}

/// The text that proves the name to our authority for as long as it stands, where that is switched on.
async fn standing_proof(state: &crate::State, domain: &DomainRecord) -> Option<RecordView> {
    let inspector = state.inspector().filter(|_| is_proving(domain))?;
    let text = inspector.standing_proof(&domain.host).await?;
    let record = Record::new(RecordKind::Txt, format!("{STANDING_LABEL}.{}", domain.host.base()), text);
    let optional = !domain.host.is_wildcard() || state.challenge_zone().is_some();
    Some(RecordView { optional, ..record.into() })
}

/// Which domains.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameQuery {
    /// The name; upper case and letters beyond ASCII are normalised.
    hostname: String,
}

/// Finds the domains with a name that the key may see: one, or also the claims of others for an operator.
#[utoipa::path(get, path = "/v1/domains",
    params(("hostname" = String, Query, description = "The name, e.g. shop.example.com.")),
    responses((status = 200, description = "The domains.", body = List<DomainView>)))]
pub(crate) async fn find_domains(
    State(state): State<crate::State>,
    member: Member,
    Query(query): Query<NameQuery>,
) -> Answer<Json<List<DomainView>>> {
    let host = query.hostname.parse().map_err(|error| refused("hostname", error))?;
    let mut shown = Vec::new();
    for domain in state.store().domains_of_name(member.access, &host).await? {
        shown.push(show(&state, domain).await?);
    }
    Ok(Json(List::whole(shown)))
}

/// The domain with the certificate that serves it; a certificate of somebody else is not told.
pub(crate) async fn show(state: &crate::State, domain: DomainRecord) -> Answer<DomainView> {
    let store = state.store();
    let serving = store.active_certificate_for(&domain.host).await?;
    // A wildcard that serves a name below it meanwhile is not the certificate of that domain.
    let own = serving.filter(|certificate| {
        certificate.tenant == Some(domain.tenant) && certificate.names.contains(&domain.host)
    });
    let optional = [challenge_alias(state, &domain).await?, standing_proof(state, &domain).await];
    let mut view = DomainView::of(domain, own.map(|certificate| certificate.id), store.now());
    view.records.extend(optional.into_iter().flatten());
    Ok(view)
}

/// Lists an app's own domains, the oldest first.
#[utoipa::path(get, path = "/v1/apps/{a}/domains",
    params(("a" = String, Path, description = "Id of the app."), ListQuery),
    responses((status = 200, description = "A page of domains.", body = List<DomainView>)))]
pub(crate) async fn list_domains(
    State(state): State<crate::State>,
    member: Member,
    Id(app): Id<AppId>,
    Query(query): Query<ListQuery>,
) -> Answer<Json<List<DomainView>>> {
    let page = state.store().domains(member.access, app, &query.page()?).await?;
    let mut shown = Vec::with_capacity(page.items.len());
    for domain in page.items {
        shown.push(show(&state, domain).await?);
    }
    Ok(Json(List::page(shown, page.next)))
}

/// Connects a domain to an app. Its `next_action` says what to do.
#[utoipa::path(post, path = "/v1/apps/{a}/domains", params(("a" = String, Path, description = "Id of the app.")),
    request_body = NewDomainBody,
    responses((status = 201, description = "The domain; its status moves.", body = DomainView)))]
pub(crate) async fn create_domain(
    State(state): State<crate::State>,
    member: Member,
    Seen(app): Seen<App>,
    Json(body): Json<NewDomainBody>,
) -> Answer<Created<Json<DomainView>>> {
    let host = named(&body.hostname, &state).map_err(|fault| Problem::faulty(vec![fault]))?;
    let domain = state.store().add_domain(&member.actor, member.access, app.id, host).await?;
    let place = format!("/v1/domains/{}", domain.id);
    let companion = state.store().companion(&domain.host).await?;
    Ok(Created(place, Json(DomainView { companion, ..show(&state, domain).await? })))
}

/// The name that is meant; a wildcard only where there can be a certificate for it.
fn named(text: &str, state: &crate::State) -> Result<HostPattern, Fault> {
    let name: HostPattern = text.parse().map_err(|error| Fault::invalid("/hostname", error))?;
    if name.is_wildcard() && !state.inspector().is_some_and(Inspect::takes_wildcards) {
        let base = name.base();
        let message = format!("hostname `{name}` stands for many names: connect each one, e.g. `www.{base}`");
        return Err(Fault::invalid("/hostname", message));
    }
    Ok(name)
}

/// Gives one domain.
#[utoipa::path(get, path = "/v1/domains/{d}", params(("d" = String, Path, description = "Id of the domain.")),
    responses((status = 200, description = "The domain.", body = DomainView)))]
pub(crate) async fn get_domain(
    State(state): State<crate::State>,
    member: Member,
    Id(domain): Id<DomainId>,
) -> Answer<Json<DomainView>> {
    let domain = state.store().domain(member.access, domain).await?;
    Ok(Json(show(&state, domain).await?))
}

/// Takes a domain away from its app. Records that were set for it at its provider stay there, and nobody can take them
/// back afterwards: undo them first (`POST /v1/domains/{d}/connect` with the action `undo`) if they are to go.
#[utoipa::path(delete, path = "/v1/domains/{d}", params(("d" = String, Path, description = "Id of the domain.")),
    responses((status = 204, description = "It is gone; records that were set at its provider stay."),
        (status = 409, description = "`connection_working`: records are being set or taken back at its provider.")))]
pub(crate) async fn delete_domain(
    State(state): State<crate::State>,
    member: Member,
    Id(domain): Id<DomainId>,
) -> Answer<StatusCode> {
    state.store().delete_domain(&member.actor, member.access, domain).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Looks a domain's records up now instead of at its next turn.
#[utoipa::path(post, path = "/v1/domains/{d}/check", params(("d" = String, Path, description = "Id of the domain.")),
    responses((status = 202, description = "The domain; read it again to see its status move.", body = DomainView)))]
pub(crate) async fn check_domain(
    State(state): State<crate::State>,
    member: Member,
    Id(domain): Id<DomainId>,
) -> Answer<(StatusCode, Json<DomainView>)> {
    let domain = state.store().request_domain_check(&member.actor, member.access, domain).await?;
    Ok((StatusCode::ACCEPTED, Json(show(&state, domain).await?)))
}
