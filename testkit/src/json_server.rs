//! An HTTP server inside the test that answers JSON with JSON, for APIs that cannot be had on loopback: the
//! route is a function of the call. Its token can be revoked after so many calls, and it can ask to wait.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::ports::Port;

/// A request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    query: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Call {
    /// A parameter of the query; none of those asked for here is ever escaped.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The same as a number.
    pub(crate) fn number(&self, name: &str, default: usize) -> usize {
        self.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

/// Status and body.
pub(crate) type Reply = (StatusCode, Value);

/// Who may come in.
#[derive(Debug)]
struct Gate {
    token: String,
    /// Calls that the token is still good for; none: without end.
    left: Option<usize>,
    /// Seconds that everybody is asked to wait.
    wait: Option<u64>,
    /// Whether what would change something gets no answer but a gateway's.
    loses_changes: bool,
    calls: usize,
}

/// What everybody is told who may not come in.
#[derive(Debug, Clone)]
pub(crate) struct Refusals {
    pub(crate) token: Reply,
    pub(crate) limit: Reply,
}

type Route = dyn Fn(&Call) -> Reply + Send + Sync;

/// A running server, ended when dropped.
pub(crate) struct JsonServer {
    gate: Arc<Mutex<Gate>>,
    accepting: JoinHandle<()>,
    port: Port,
}

impl fmt::Debug for JsonServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonServer({})", self.url())
    }
}

impl JsonServer {
    /// Starts a server that is opened by `Authorization: Bearer <token>`.
    pub(crate) async fn start(
        token: &str,
        refusals: Refusals,
        route: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let port = Port::lease()?;
        let listener = TcpListener::bind(port.address()).await?;
        let gate =
            Gate { token: format!("Bearer {token}"), left: None, wait: None, loses_changes: false, calls: 0 };
        let gate = Arc::new(Mutex::new(gate));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&gate), refusals, Arc::new(route)));
        Ok(Self { gate, accepting, port })
    }

    /// `http://127.0.0.1:<port>`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Lets the token be good for so many calls more; none: without end.
    pub(crate) fn revoke_after(&self, calls: Option<usize>) {
        self.gate().left = calls;
    }

    /// Asks everybody to wait so many seconds; none: no more.
    pub(crate) fn ask_to_wait(&self, seconds: Option<u64>) {
        self.gate().wait = seconds;
    }

    /// Whether a gateway answers 502 to whatever would change something, so that nobody knows what becomes of it.
    pub(crate) fn lose_changes(&self, lose: bool) {
        self.gate().loses_changes = lose;
    }

    /// Calls so far, those that were refused included.
    pub(crate) fn calls(&self) -> usize {
        self.gate().calls
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for JsonServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, gate: Arc<Mutex<Gate>>, refusals: Refusals, route: Arc<Route>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (gate, refusals, route) = (Arc::clone(&gate), refusals.clone(), Arc::clone(&route));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &gate, &refusals, route.as_ref()));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A connection that breaks is the client's affair.
            let _ended = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    gate: &Mutex<Gate>,
    refusals: &Refusals,
    route: &Route,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let (mut wait, mut refused, mut lost) = (None, false, false);
    {
        let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.calls += 1;
        let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if token != Some(gate.token.as_str()) || gate.left == Some(0) {
            refused = true;
        } else if gate.wait.is_some() {
            wait = gate.wait;
        } else {
            gate.left = gate.left.map(|left| left - 1);
            lost = gate.loses_changes && parts.method != Method::GET;
        }
    }
    let pairs = parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    let (status, body) = match (refused, wait) {
        (true, _) => refusals.token.clone(),
        (false, Some(_)) => refusals.limit.clone(),
        (false, None) if lost => (StatusCode::BAD_GATEWAY, Value::Null),
        (false, None) => route(&call),
    };
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    Ok(response)
}
