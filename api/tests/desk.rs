//! A store, a router over it, and callers that check each answer against the OpenAPI document.

use std::sync::{Arc, OnceLock};

use api::{Settings, State};
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use model::clock::ManualClock;
use model::domain::{Found, Inspection, RecordKind, Witness};
use model::id::TenantId;
use model::seal::SealingKey;
use model::secret::Secret;
use model::{Host, Timestamp};
use serde_json::{Value, json};
use store::{Access, Actor, Options, Scope, Store};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// 2026-11-22T18:30:00Z.
pub(crate) const NOW: i64 = 1_795_372_200_000;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) store: Store,
    pub(crate) master: SealingKey,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) router: Router,
    pub(crate) document: Value,
    /// An operator's key.
    pub(crate) operator: Secret,
    pub(crate) _dir: TempDir,
}

/// A request that is being written.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    desk: &'a Desk,
    request: http::request::Builder,
    body: Body,
    method: Method,
    path: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) async fn open() -> Desk {
    open_with(Settings::default()).await
}

pub(crate) async fn open_with(settings: Settings) -> Desk {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix_millis(NOW)));
    let options = Options {
        url: format!("sqlite:{}", dir.path().join("stoa.db").display()),
        zones: vec![Host::parse("apps.localhost").unwrap()],
        edge_addresses: vec!["192.0.2.1".parse().unwrap()],
    };
    let store = Store::open(options, clock.clone()).await.unwrap();
    let master = SealingKey::generate();
    let state = State::new(store.clone(), master.clone(), settings).with_inspector(Arc::new(Fixed));
    let document = serde_json::to_value(api::document(&state)).unwrap();
    let router = api::router(state);
    let operator = mint(&store, Scope::Platform, None).await;
    Desk { store, master, clock, router, document, operator, _dir: dir }
}

/// Finds the same at every domain.
#[derive(Debug)]
struct Fixed;

#[async_trait::async_trait]
impl api::Inspect for Fixed {
    async fn inspect(&self, host: &Host, witness: Witness) -> Inspection {
        let found = |kind, value: &str| Found { kind, name: host.clone(), value: value.to_owned() };
        Inspection {
            host: host.clone(),
            zone: (witness == Witness::Resolver).then(|| host.clone()),
            servers: vec!["ns1.example.net".to_owned()],
            provider: Some("Gandi".to_owned()),
            apex_alias: false,
            records: vec![found(RecordKind::A, "198.51.100.1"), found(RecordKind::Mx, "10 mail.example.com")],
            unanswered: vec![RecordKind::Caa],
        }
    }
}

async fn mint(store: &Store, scope: Scope, tenant: Option<TenantId>) -> Secret {
    let (secret, new) = api::keys::mint(scope, tenant);
    store.create_key(&Actor::system("test"), Access::Platform, new).await.unwrap();
    secret
}

impl Desk {
    pub(crate) fn call(&self, method: Method, path: &str) -> Call<'_> {
        let request = Request::builder().method(method.clone()).uri(path);
        Call { desk: self, request, body: Body::empty(), method, path: path.to_owned() }
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Call<'_> {
        self.call(Method::POST, path).json(body)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Call<'_> {
        self.call(Method::PATCH, path).json(body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Call<'_> {
        self.call(Method::PUT, path).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    pub(crate) async fn edge_key(&self) -> Secret {
        mint(&self.store, Scope::Edge, None).await
    }

    pub(crate) async fn tenant_key(&self, tenant: &str) -> Secret {
        mint(&self.store, Scope::Tenant, Some(tenant.parse().unwrap())).await
    }

    /// A new tenant's id.
    pub(crate) async fn tenant(&self, slug: &str) -> String {
        let body = json!({"name": slug, "slug": slug});
        self.post("/v1/tenants", &body).send().await.created("id")
    }

    /// A new app's id.
    pub(crate) async fn app(&self, tenant: &str, name: &str) -> String {
        let body = json!({"name": name, "backends": [{"url": "http://127.0.0.1:3000"}]});
        self.post(&format!("/v1/tenants/{tenant}/apps"), &body).send().await.created("id")
    }

    /// A new domain's id.
    pub(crate) async fn domain(&self, app: &str, hostname: &str) -> String {
        let body = json!({"hostname": hostname});
        self.post(&format!("/v1/apps/{app}/domains"), &body).send().await.created("id")
    }

    /// The operation of a request, by the templates of the document.
    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let bare = path.split('?').next().unwrap();
        let fits = |template: &str| {
            let (ours, theirs): (Vec<_>, Vec<_>) = (template.split('/').collect(), bare.split('/').collect());
            ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(ours, theirs)| ours.starts_with('{') || ours == theirs)
        };
        let paths = self.document["paths"].as_object().unwrap();
        let item = paths.iter().find(|(template, _)| fits(template)).map(|(_, item)| item)?;
        item.get(method.as_str().to_ascii_lowercase())
    }
}

impl Call<'_> {
    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(body.to_string())
    }

    pub(crate) fn text(mut self, body: impl Into<Body>) -> Self {
        self.request = self.request.header(header::CONTENT_TYPE, "application/json");
        self.body = body.into();
        self
    }

    /// A body as it is, without a media type.
    pub(crate) fn raw(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sends it with the operator's key.
    pub(crate) async fn send(self) -> Reply {
        let key = self.desk.operator.clone();
        self.send_as(&key).await
    }

    pub(crate) async fn send_as(self, key: &Secret) -> Reply {
        let bearer = format!("Bearer {}", key.reveal());
        self.header("authorization", &bearer).send_bare().await
    }

    pub(crate) async fn send_bare(self) -> Reply {
        let request = self.request.body(self.body).unwrap();
        let response = self.desk.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        // One answer is for people: it is text.
        let is_text =
            headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/plain; charset=utf-8");
        let body = match (bytes.is_empty(), is_text) {
            (true, _) => Value::Null,
            (false, true) => Value::String(String::from_utf8(bytes.to_vec()).unwrap()),
            (false, false) => serde_json::from_slice(&bytes).unwrap(),
        };
        let reply = Reply { status, headers, body };
        reply.check_form(&self.path);
        if let Some(operation) = self.desk.operation(&self.method, &self.path) {
            let documented = operation["responses"].get(status.as_str());
            assert!(
                documented.is_some(),
                "{} {}: {status} is not documented: {}",
                self.method,
                self.path,
                reply.body
            );
        }
        reply
    }
}

impl Reply {
    /// What every answer must be.
    fn check_form(&self, path: &str) {
        let id = self.headers.get("request-id").unwrap_or_else(|| panic!("{path}: no Request-Id"));
        if self.status.is_success() {
            return;
        }
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{path}");
        assert_eq!(self.body["request_id"], id.to_str().unwrap(), "{path}");
        assert_eq!(self.body["status"], self.status.as_u16(), "{path}");
        for field in ["type", "title", "code", "detail"] {
            assert!(self.body[field].as_str().is_some_and(|text| !text.is_empty()), "{path}: {}", self.body);
        }
        assert!(self.body["errors"].is_array(), "{path}: {}", self.body);
    }

    /// The body of an answer with this status.
    pub(crate) fn of(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// A text field of something that was made.
    pub(crate) fn created(self, field: &str) -> String {
        let place = self.headers.get(header::LOCATION).map(|place| place.to_str().unwrap().to_owned());
        let body = self.of(201);
        assert!(place.unwrap().ends_with(body["id"].as_str().unwrap()));
        body[field].as_str().unwrap().to_owned()
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }

    /// Pointer and code of each fault.
    pub(crate) fn faults(&self) -> Vec<(&str, &str)> {
        let faults = self.body["errors"].as_array().unwrap();
        faults
            .iter()
            .map(|fault| (fault["pointer"].as_str().unwrap(), fault["code"].as_str().unwrap()))
            .collect()
    }

    pub(crate) fn etag(&self) -> String {
        self.headers[header::ETAG].to_str().unwrap().to_owned()
    }

    /// The body without what differs between two equal refusals.
    pub(crate) fn anonymous(&self) -> Value {
        let mut body = self.body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("request_id");
        }
        body
    }
}

/// A runtime that property tests share: each case is a few requests.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().unwrap()).block_on(future)
}
