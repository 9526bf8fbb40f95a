//! The OpenAPI 3.1 document: what the route table cannot say of each route by itself.
//!
//! Problems are documented by rule: what a route has (a key, an id, a body, a method) decides how it can
//! refuse. So no refusal is forgotten when a route is added.

use axum::Extension;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, Content, InfoBuilder, LicenseBuilder, OpenApi, PathItem, Ref, RefOr, Required,
    ResponseBuilder,
};

use crate::problem::{Fault, MEDIA_TYPE, ProblemBody};

const KEY: &str = "key";

/// How a route can refuse: status, name of the response, description.
const PROBLEMS: [(&str, &str, &str); 13] = [
    ("400", "BadRequest", "A header, a query parameter or the form of the body is not understood."),
    ("401", "Unauthorized", "No key, or none that is valid."),
    ("403", "Forbidden", "The key may see this, but not do it."),
    ("404", "NotFound", "It is not there, or the key may not see it: the two are one answer."),
    ("409", "Conflict", "It does not fit with what is there; `code` tells how."),
    ("412", "PreconditionFailed", "It was changed since it was read."),
    ("413", "ContentTooLarge", "The body is too large."),
    ("415", "UnsupportedMediaType", "The body is not JSON."),
    ("422", "UnprocessableContent", "The values cannot be accepted; `errors` names each."),
    ("429", "TooManyRequests", "Too many of these are open: close one, or try again later."),
    ("500", "InternalError", "A fault of ours; nothing was changed."),
    ("503", "Unavailable", "Out of reach for now: try again."),
    ("504", "Timeout", "It took too long: try again."),
];

/// The document's text, made once.
#[derive(Debug, Clone)]
pub(crate) struct DocumentText(Bytes);

/// Gives this document.
#[utoipa::path(get, path = "/v1/openapi.json",
    responses((status = 200, description = "The OpenAPI 3.1 document of this API.", body = Object)))]
pub(crate) async fn get_document(Extension(text): Extension<DocumentText>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.0).into_response()
}

/// The document without any route.
pub(crate) fn empty() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Stoa admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Tenants, apps, domains, certificates, keys, usage and audit of a Stoa installation. Every answer \
             has a header `Request-Id`; every refusal is a problem (RFC 9457) with a stable `code`.",
        ))
        .license(Some(license))
        .build();
    OpenApi::new(info, Paths::new())
}

/// The document as it is served.
pub(crate) fn text(document: &OpenApi) -> DocumentText {
    DocumentText(serde_json::to_vec(document).unwrap_or_default().into())
}

/// Marks the routes as such that need a key.
pub(crate) fn require_key(paths: &mut Paths) {
    for operation in paths.paths.values_mut().flat_map(operations) {
        operation.1.security = Some(vec![SecurityRequirement::new(KEY, [""; 0])]);
    }
}

/// Adds what follows by rule.
pub(crate) fn finish(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            describe(path, method, operation);
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(KEY, scheme());
    components.schemas.insert("Problem".to_owned(), ProblemBody::schema());
    components.schemas.insert("Fault".to_owned(), Fault::schema());
    for (_, name, description) in PROBLEMS {
        let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
        let response = ResponseBuilder::new().description(description).content(MEDIA_TYPE, content).build();
        components.responses.insert(name.to_owned(), response.into());
    }
    document
}

fn scheme() -> SecurityScheme {
    let mut http = Http::new(HttpAuthScheme::Bearer);
    http.bearer_format = Some("sk_live_…".to_owned());
    http.description = Some("A key of scope platform, tenant or edge.".to_owned());
    SecurityScheme::Http(http)
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn describe(path: &str, method: &str, operation: &mut Operation) {
    let keyed = operation.security.is_some();
    let body = operation.request_body.is_some();
    let conditional = is_conditional(path, method);
    let queries = parameters(operation).iter().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    });
    for (status, name, _) in PROBLEMS {
        let can = match status {
            "400" => body || queries || conditional || method == "post" && keyed,
            "401" | "403" => keyed,
            "404" => path.contains('{') || path == "/v1/keys" && method == "post",
            "409" => {
                let busy = method == "delete" && path == "/v1/domains/{d}/connect";
                method == "post" || method == "patch" || path == "/v1/keys/{k}" || busy
            }
            "412" => conditional,
            "413" | "422" => body || method == "post",
            "415" => body,
            "429" => path.ends_with("/events"),
            "503" => path != "/healthz",
            _ => true,
        };
        if can {
            let reference = RefOr::Ref(Ref::from_response_name(name));
            operation.responses.responses.insert(status.to_owned(), reference);
        }
    }
    if method == "post" && keyed {
        parameters(operation).push(header_parameter("Idempotency-Key", IDEMPOTENCY).into());
    }
    if conditional {
        parameters(operation).push(header_parameter("If-Match", IF_MATCH).into());
    }
}

/// Whether a change may be bound to a version: what has an `ETag` can be changed and deleted so.
fn is_conditional(path: &str, method: &str) -> bool {
    method == "patch" || method == "delete" && matches!(path, "/v1/tenants/{t}" | "/v1/apps/{a}")
}

const IDEMPOTENCY: &str = "1 to 255 printable characters of the caller's choice: the request happens once in 24 hours, \
     and its answer is given again with Idempotency-Replayed: true.";
const IF_MATCH: &str = "The ETag of the answer that the change is based on: if it was changed since, 412.";

fn parameters(operation: &mut Operation) -> &mut Vec<RefOr<Parameter>> {
    operation.parameters.get_or_insert_with(Vec::new)
}

fn header_parameter(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
