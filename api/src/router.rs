//! The route table: every endpoint once, for the router and for the OpenAPI document.
//!
//! A route stands in one of three groups, and the group decides what surrounds it: `public` (no key),
//! `guarded` (a key, idempotency, 256 KiB) or `fed` (an edge's key, larger bodies, time to wait).

use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::layer::authenticate::authenticate;
use crate::layer::bounds::{Bounds, bounds};
use crate::layer::idempotency::idempotency;
use crate::layer::trace::trace;
use crate::problem::{Code, Problem};
use crate::resource::{
    app, audit, authority, certificate, client_ca, connection, domain, edge, inspection, key, limits, link,
    notice, platform, progress, tenant, transfer, usage,
};
use crate::{MAX_BODY_BYTES, MAX_EDGE_BODY_BYTES, MAX_WAIT, State};

/// The whole API, ready to be served.
pub fn router(state: State) -> Router {
    let (router, document) = table(&state).split_for_parts();
    let text = crate::document::text(&crate::document::finish(document));
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(text))
        .layer(from_fn_with_state(state.clone(), trace))
        .with_state(state)
}

/// The OpenAPI document of the API.
#[must_use]
pub fn document(state: &State) -> OpenApi {
    crate::document::finish(table(state).into_openapi())
}

fn table(state: &State) -> OpenApiRouter<State> {
    let public = |routes: UtoipaMethodRouter<State>| public(state, routes);
    let guarded = |routes: UtoipaMethodRouter<State>| guarded(state, routes);
    let fed = |routes: UtoipaMethodRouter<State>| fed(state, routes);
    OpenApiRouter::with_openapi(crate::document::empty())
        .routes(public(routes!(platform::healthz)))
        .routes(public(routes!(platform::readyz)))
        .routes(public(routes!(crate::document::get_document)))
        .routes(guarded(routes!(tenant::list_tenants, tenant::create_tenant)))
        .routes(guarded(routes!(tenant::get_tenant, tenant::update_tenant, tenant::delete_tenant)))
        .routes(guarded(routes!(tenant::suspend_tenant)))
        .routes(guarded(routes!(tenant::resume_tenant)))
        .routes(guarded(routes!(limits::get_limits, limits::set_limits)))
        .routes(guarded(routes!(usage::get_usage)))
        .routes(guarded(routes!(app::list_apps, app::create_app)))
        .routes(guarded(routes!(app::get_app, app::update_app, app::delete_app)))
        .routes(guarded(routes!(domain::list_domains, domain::create_domain)))
        .routes(guarded(routes!(inspection::inspect_domain)))
        .routes(guarded(routes!(domain::get_domain, domain::delete_domain)))
        .routes(guarded(routes!(domain::find_domains)))
        .routes(guarded(routes!(domain::check_domain)))
        .routes(guarded(routes!(link::link_domain)))
        .routes(public(routes!(link::return_from_link)))
        .routes(guarded(routes!(
            connection::get_connection,
            connection::connect_domain,
            connection::forget_connection
        )))
        .routes(guarded(routes!(progress::domain_events)))
        .routes(guarded(routes!(transfer::decide_transfer)))
        .routes(guarded(routes!(notice::list_notices)))
        .routes(guarded(routes!(notice::delete_notice)))
        .routes(guarded(routes!(client_ca::set_client_ca, client_ca::remove_client_ca)))
        .routes(guarded(routes!(certificate::upload_certificate)))
        .routes(guarded(routes!(certificate::list_certificates)))
        .routes(guarded(routes!(certificate::get_certificate)))
        .routes(guarded(routes!(certificate::renew_certificate)))
        .routes(guarded(routes!(certificate::roll_certificate_back)))
        .routes(guarded(routes!(key::list_keys, key::create_key)))
        .routes(guarded(routes!(key::delete_key)))
        .routes(guarded(routes!(audit::list_audit_events)))
        .routes(guarded(routes!(platform::list_edges)))
        .routes(guarded(routes!(authority::ca_budget)))
        .routes(guarded(routes!(authority::change_account_key)))
        .routes(fed(routes!(edge::edge_changes)))
        .routes(fed(routes!(edge::edge_usage)))
        .routes(fed(routes!(edge::edge_report)))
}

fn public(state: &State, routes: UtoipaMethodRouter<State>) -> UtoipaMethodRouter<State> {
    let limits = Bounds { body: MAX_BODY_BYTES, time: state.settings().request_timeout };
    routes.map(|routes| routes.route_layer(from_fn_with_state(limits, bounds)))
}

fn guarded(state: &State, routes: UtoipaMethodRouter<State>) -> UtoipaMethodRouter<State> {
    let limits = Bounds { body: MAX_BODY_BYTES, time: state.settings().request_timeout };
    with_key(state, limits, routes)
}

fn fed(state: &State, routes: UtoipaMethodRouter<State>) -> UtoipaMethodRouter<State> {
    let time = state.settings().request_timeout.saturating_add(MAX_WAIT);
    with_key(state, Bounds { body: MAX_EDGE_BODY_BYTES, time }, routes)
}

/// From the inside out. The layers are on the methods that a path has, so that a method it does not have is
/// 405 with or without a key.
fn with_key(
    state: &State,
    limits: Bounds,
    (schemas, mut paths, routes): UtoipaMethodRouter<State>,
) -> UtoipaMethodRouter<State> {
    crate::document::require_key(&mut paths);
    let routes = routes
        .route_layer(from_fn_with_state(state.clone(), idempotency))
        .route_layer(from_fn_with_state(state.clone(), authenticate))
        .route_layer(from_fn_with_state(limits, bounds));
    (schemas, paths, routes)
}

async fn unknown_route() -> Problem {
    Problem::new(Code::UnknownRoute, "There is no such path. /v1/openapi.json tells all there are.")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "This path does not have this method; the header Allow tells which it has.",
    )
}
