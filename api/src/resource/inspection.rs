//! What a domain has today and what would change if it were connected, before anything is done.

use axum::extract::State;
use model::domain::{Change, DomainStatus, Fate, Inspection, RecordKind, Target, Witness, catalogue, derive};
use model::{Host, HostPattern};
use serde::{Deserialize, Serialize};
use store::Access;
use utoipa::ToSchema;

use crate::caller::Member;
use crate::problem::{Answer, Problem};
use crate::request::query::refused;
use crate::request::{Json, Query};

/// Which domain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InspectionQuery {
    /// The name; upper case and letters beyond ASCII are normalised.
    host: String,
}

/// A domain as it is today.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DomainInspection)]
pub(crate) struct InspectionView {
    /// The name, in ASCII.
    #[schema(value_type = String, example = "shop.example.com")]
    hostname: Host,
    /// Whether it can be connected by this key's tenant.
    connectable: bool,
    /// Why not: invalid_name, claimed_elsewhere, or the status that it has here already; null if it can be.
    #[schema(value_type = Option<String>)]
    status: Option<DomainStatus>,
    /// The same in one sentence.
    text: Option<String>,
    /// The zone that it lies in, if it was found.
    #[schema(value_type = Option<String>)]
    zone: Option<Host>,
    /// Who keeps its records, if we know them by their name servers.
    provider: Option<String>,
    /// Its name servers.
    name_servers: Vec<String>,
    /// The domain's records, and the MX, TXT, CAA and NS records of its zone.
    records: Vec<FoundView>,
    /// Kinds of records that nobody could tell.
    #[schema(value_type = Vec<String>)]
    unanswered: Vec<RecordKind>,
    /// What would change: what is to be removed, then added, then everything that stays.
    changes: Vec<ChangeView>,
    /// What becomes of e-mail.
    email: String,
}

/// A record that is there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FoundRecord)]
pub(crate) struct FoundView {
    /// A, AAAA, CNAME, MX, TXT, CAA or NS.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "MX")]
    kind: RecordKind,
    /// The full name.
    #[schema(value_type = String)]
    name: Host,
    /// The value.
    value: String,
}

/// One record and what becomes of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecordChange)]
pub(crate) struct ChangeView {
    /// add, remove or keep.
    #[schema(value_type = String, example = "keep")]
    change: Fate,
    /// A, AAAA, CNAME, MX, TXT, CAA or NS.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "MX")]
    kind: RecordKind,
    /// The full name.
    name: String,
    /// The value; null: it is made for the domain when that is added.
    value: Option<String>,
}

impl From<Change> for ChangeView {
    fn from(change: Change) -> Self {
        Self { change: change.change, kind: change.kind, name: change.name, value: change.value }
    }
}

/// Tells what a domain has today and what would change if it were connected. Changes nothing.
#[utoipa::path(get, path = "/v1/domains/inspect",
    params(("host" = String, Query, description = "The domain, e.g. shop.example.com.")),
    responses((status = 200, description = "The domain as it is.", body = InspectionView)))]
pub(crate) async fn inspect_domain(
    State(state): State<crate::State>,
    member: Member,
    Query(query): Query<InspectionQuery>,
) -> Answer<Json<InspectionView>> {
    let name: HostPattern = query.host.parse().map_err(|error| refused("host", error))?;
    let Some(host) = name.exact().cloned() else {
        let message = format!("host `{name}` stands for many names: look at `{}`", name.base());
        return Err(refused("host", message));
    };
    let Some(inspector) = state.inspector() else {
        return Err(Problem::unavailable(
            "this process looks nothing up: ask a control plane that runs certd",
        ));
    };
    let refusal = refusal(&state, &member, &host).await?;
    let witness = match member.access {
        Access::Platform => Witness::Resolver,
        Access::Tenant(_) => Witness::Servers,
    };
    let found = inspector.inspect(&host, witness).await;
    Ok(Json(view(found, refusal, &state)))
}

/// Why the domain cannot be connected by this caller.
async fn refusal(
    state: &crate::State,
    member: &Member,
    host: &Host,
) -> Answer<Option<(DomainStatus, String)>> {
    let Some(facts) = state.store().standing_of(member.access, &host.into()).await? else { return Ok(None) };
    // Only the sentence is told, which names neither.
    let target =
        Target { host: host.into(), cname: host.clone(), proof: String::new(), addresses: Vec::new() };
    let (status, action) = derive(&facts, &target, state.now());
    Ok(Some((status, action.text)))
}

fn view(found: Inspection, refusal: Option<(DomainStatus, String)>, state: &crate::State) -> InspectionView {
    let changes = found.changes(state.store().edge_addresses()).into_iter().map(ChangeView::from).collect();
    let email = catalogue::mail(found.has_mail()).to_owned();
    let (status, text) = refusal.unzip();
    InspectionView {
        hostname: found.host,
        connectable: !matches!(status, Some(DomainStatus::InvalidName | DomainStatus::ClaimedElsewhere)),
        status,
        text,
        zone: found.zone,
        provider: found.provider,
        name_servers: found.servers,
        records: found
            .records
            .into_iter()
            .map(|found| FoundView { kind: found.kind, name: found.name, value: found.value })
            .collect(),
        unanswered: found.unanswered,
        changes,
        email,
    }
}
