//! The certificate authorities: whether they work, and what they still allow.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use store::{Bucket, BudgetLine, Standing};
use utoipa::ToSchema;

use crate::caller::Operator;
use crate::problem::Answer;
use crate::request::{Json, List};

/// An authority that certificates are asked of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CertificateAuthority)]
pub(crate) struct AuthorityView {
    /// Its directory.
    #[schema(example = "https://acme-v02.api.letsencrypt.org/directory")]
    directory: String,
    /// Whether it answers.
    state: AuthorityState,
    /// Why it did not, the last time.
    reason: Option<String>,
    /// Since when it has not.
    #[schema(value_type = Option<String>, format = DateTime)]
    failing_since: Option<Timestamp>,
    /// Orders that wait for its limits.
    waiting_orders: u64,
    /// When the last of them may be sent.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_turn_at: Option<Timestamp>,
    /// Limits that were drawn from, at most 100, those that take longest to be full again first.
    limits: Vec<LimitView>,
}

/// Whether an authority answers.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthorityState {
    /// It answered the last time it was asked.
    Working,
    /// It failed, and is asked again.
    Failing,
    /// It failed so often that it is left alone for a while.
    LeftAlone,
}

/// A limit of an authority, by our own account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CertificateLimit)]
pub(crate) struct LimitView {
    /// `orders`, `registered_domain`, `exact_set`, `failures_per_hour` or `failures_per_day`.
    #[schema(value_type = String, example = "registered_domain")]
    bucket: Bucket,
    /// Of what; empty: of our account.
    #[schema(example = "example.com")]
    subject: String,
    /// How many in `period_seconds`.
    limit: u32,
    /// How long an empty one takes to be full.
    period_seconds: u64,
    /// How many are left now.
    left: u32,
    /// When it is full again if nothing more is drawn.
    #[schema(value_type = String, format = DateTime)]
    full_at: Timestamp,
}

impl LimitView {
    fn of(line: BudgetLine, now: Timestamp) -> Self {
        Self {
            bucket: line.bucket,
            subject: line.subject,
            limit: line.limit.burst,
            period_seconds: Duration::as_secs(&line.limit.period),
            left: line.limit.left(line.full_at, now),
            full_at: line.full_at,
        }
    }
}

impl AuthorityView {
    fn of(directory: String, standing: Standing, now: Timestamp) -> Self {
        let state = match &standing.circuit {
            None => AuthorityState::Working,
            Some(circuit) if circuit.is_open() => AuthorityState::LeftAlone,
            Some(_) => AuthorityState::Failing,
        };
        Self {
            directory,
            state,
            failing_since: standing.circuit.as_ref().map(|circuit| circuit.since),
            reason: standing.circuit.map(|circuit| circuit.reason),
            waiting_orders: standing.waiting,
            last_turn_at: standing.last_turn_at,
            limits: standing.lines.into_iter().map(|line| LimitView::of(line, now)).collect(),
        }
    }
}

/// Tells how we stand with each certificate authority.
#[utoipa::path(get, path = "/v1/platform/ca-budget",
    responses((status = 200, description = "All authorities that we have an account with.",
        body = List<AuthorityView>)))]
pub(crate) async fn ca_budget(
    State(state): State<crate::State>,
    _operator: Operator,
) -> Answer<Json<List<AuthorityView>>> {
    let now = state.store().now();
    let standings = state.store().standings().await?;
    let views =
        standings.into_iter().map(|(directory, standing)| AuthorityView::of(directory, standing, now));
    Ok(Json(List::whole(views.collect())))
}

/// Which account.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ChangeAccountKey)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeAccountKey {
    /// The authority's directory.
    #[schema(example = "https://acme-v02.api.letsencrypt.org/directory")]
    directory: String,
}

/// Gives our account with a certificate authority another key, within seconds.
#[utoipa::path(post, path = "/v1/platform/ca-budget/change-key", request_body = ChangeAccountKey,
    responses((status = 202, description = "It is asked for; the audit tells when it is done.")))]
pub(crate) async fn change_account_key(
    State(state): State<crate::State>,
    operator: Operator,
    Json(body): Json<ChangeAccountKey>,
) -> Answer<StatusCode> {
    state.store().request_key_change(&operator.actor, &body.directory).await?;
    Ok(StatusCode::ACCEPTED)
}
