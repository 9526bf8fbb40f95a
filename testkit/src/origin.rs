//! An app's backend: an HTTP/1.1 server inside the test, with a route for each thing that a proxy must carry.
//!
//! | route | answer |
//! |---|---|
//! | `/` | the origin's name |
//! | `/bytes/N` | N bytes, at most 64 MiB |
//! | `/echo` | method, path, headers and body as JSON |
//! | `/slow/MS` | the name, after that many milliseconds |
//! | `/sse` | an endless event stream, ten events a second |
//! | `/ws` | a WebSocket that echoes |
//! | `/status/CODE` | that status |
//! | `/cookie/DOMAIN` | a cookie for that domain |

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::ports::Port;
use crate::websocket;

/// Most bytes of `/bytes/N`.
const MAX_BYTES: usize = 64 << 20;

/// Time between two events of `/sse`.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

type Body = BoxBody<Bytes, Infallible>;

/// A running origin, ended when dropped.
#[derive(Debug)]
pub struct Origin {
    shared: Arc<Shared>,
    port: Port,
    alive: watch::Sender<bool>,
}

/// An origin on another's port, ended when dropped.
#[derive(Debug)]
pub struct Neighbour {
    shared: Arc<Shared>,
    _alive: watch::Sender<bool>,
}

impl Neighbour {
    /// Requests seen so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Default)]
struct Shared {
    name: String,
    requests: AtomicU64,
    at_once: AtomicU64,
    most_at_once: AtomicU64,
    paths: Mutex<HashMap<String, u64>>,
}

impl Origin {
    /// Starts an origin that calls itself `name`.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(name: &str) -> Result<Self> {
        let shared = Shared { name: name.to_owned(), ..Shared::default() };
        let shared = Arc::new(shared);
        let mut origin = Self { shared, port: Port::lease()?, alive: watch::Sender::new(true) };
        origin.revive().await?;
        Ok(origin)
    }

    /// Starts another origin on the same port of the loopback address `127.0.0.<last>`.
    ///
    /// # Errors
    /// If that port is taken there.
    pub async fn beside(&self, name: &str, last: u8) -> Result<Neighbour> {
        let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), self.port.number())).await?;
        let shared = Arc::new(Shared { name: name.to_owned(), ..Shared::default() });
        let alive = watch::Sender::new(true);
        tokio::spawn(accept(listener, Arc::clone(&shared), alive.subscribe()));
        Ok(Neighbour { shared, _alive: alive })
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Requests seen so far, those of health checks included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Requests seen so far for exactly this path.
    #[must_use]
    pub fn requests_for(&self, path: &str) -> u64 {
        self.shared.paths.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied().unwrap_or(0)
    }

    /// Most requests that it has worked on at a time, each until its answer began.
    #[must_use]
    pub fn most_at_once(&self) -> u64 {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }

    /// Requests that it works on now.
    #[must_use]
    pub fn at_once(&self) -> u64 {
        self.shared.at_once.load(Ordering::SeqCst)
    }

    /// Closes the listener and every connection, as a crash does.
    pub fn kill(&mut self) {
        self.alive.send_replace(false);
    }

    /// Listens again at the same address after [`Self::kill`].
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn revive(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.port.address()).await?;
        self.alive = watch::Sender::new(true);
        tokio::spawn(accept(listener, Arc::clone(&self.shared), self.alive.subscribe()));
        Ok(())
    }
}

/// Runs `work` until the origin is killed or dropped.
async fn while_alive(mut alive: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = alive.wait_for(|alive| !alive) => {}
        () = work => {}
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, alive: watch::Receiver<bool>) {
    let connections = async {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(while_alive(alive.clone(), serve(stream, Arc::clone(&shared), alive.clone())));
        }
    };
    while_alive(alive.clone(), connections).await;
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, alive: watch::Receiver<bool>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, alive) = (Arc::clone(&shared), alive.clone());
        async move {
            shared.requests.fetch_add(1, Ordering::SeqCst);
            let _work = Work::begin(&shared);
            let path = request.uri().path().to_owned();
            *shared.paths.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_default() += 1;
            Ok::<_, Infallible>(answer(request, &shared.name, alive).await)
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's affair.
    let _ended = connection.with_upgrades().await;
}

/// A request that is worked on, until it is dropped: with its answer, or with the connection.
struct Work<'a>(&'a Shared);

impl<'a> Work<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let now = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_at_once.fetch_max(now, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(request: Request<Incoming>, name: &str, alive: watch::Receiver<bool>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let mut segments = path.trim_start_matches('/').splitn(2, '/');
    match (segments.next().unwrap_or_default(), segments.next().unwrap_or_default()) {
        ("", _) => text(name),
        ("bytes", count) => bytes(count),
        ("echo", _) => echo(request).await,
        ("slow", millis) => slow(millis, name).await,
        ("sse", _) => events(),
        ("ws", _) => upgrade(request, alive),
        ("status", code) => status(code),
        ("cookie", domain) => with(text(name), header::SET_COOKIE, &format!("a=b; Path=/; Domain={domain}")),
        _ => status("404"),
    }
}

fn text(text: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed();
    with(Response::new(body), header::CONTENT_TYPE, "text/plain; charset=utf-8")
}

fn with(mut response: Response<Body>, name: HeaderName, value: &str) -> Response<Body> {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
    response
}

fn status(code: &str) -> Response<Body> {
    let mut response = text(code);
    *response.status_mut() = code.parse().unwrap_or(StatusCode::BAD_REQUEST);
    response
}

fn bytes(count: &str) -> Response<Body> {
    match count.parse::<usize>() {
        Ok(count) if count <= MAX_BYTES => Response::new(Full::new(Bytes::from(vec![b'x'; count])).boxed()),
        _ => status("400"),
    }
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut headers = Map::new();
    for name in head.headers.keys() {
        let values = head.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        headers.insert(name.to_string(), Value::from(values.collect::<Vec<_>>().join(", ")));
    }
    let seen = json!({
        "method": head.method.as_str(),
        "path": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    with(text(&seen.to_string()), header::CONTENT_TYPE, "application/json")
}

async fn slow(millis: &str, name: &str) -> Response<Body> {
    let Ok(millis) = millis.parse() else { return status("400") };
    tokio::time::sleep(Duration::from_millis(millis)).await;
    text(name)
}

fn events() -> Response<Body> {
    let events = futures_util::stream::unfold(0_u64, |number| async move {
        if number > 0 {
            tokio::time::sleep(EVENT_INTERVAL).await;
        }
        Some((format!("data: {number}\n\n"), number + 1))
    });
    let frames = events.map(|event| Ok(Frame::data(Bytes::from(event))));
    let response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    with(with(response, header::CONTENT_TYPE, "text/event-stream"), header::CACHE_CONTROL, "no-store")
}

fn upgrade(request: Request<Incoming>, alive: watch::Receiver<bool>) -> Response<Body> {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let Some(proof) = key.map(websocket::accept) else { return status("400") };
    tokio::spawn(while_alive(alive, async {
        if let Ok(stream) = hyper::upgrade::on(request).await {
            // The client ends the connection as it likes.
            let _ended = websocket::echo(TokioIo::new(stream)).await;
        }
    }));
    let mut response = status("101");
    *response.body_mut() = Full::default().boxed();
    response.headers_mut().remove(header::CONTENT_TYPE);
    let response = with(response, header::CONNECTION, "upgrade");
    with(with(response, header::UPGRADE, "websocket"), header::SEC_WEBSOCKET_ACCEPT, &proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_killed_origin_comes_back_at_its_address() {
        let mut origin = Origin::start("one").await.unwrap();
        let client = crate::client::plain().unwrap();
        let get = async || client.get(origin.url()).send().await?.text().await;
        assert_eq!(get().await.unwrap(), "one");
        origin.kill();
        let gone = async || match client.get(origin.url()).send().await {
            Ok(_) => anyhow::bail!("it still answers"),
            Err(_) => Ok(()),
        };
        crate::wait::until("the end", Duration::from_secs(5), gone).await.unwrap();
        origin.revive().await.unwrap();
        assert_eq!(client.get(origin.url()).send().await.unwrap().text().await.unwrap(), "one");
        assert!(origin.requests() >= 2);
    }

    #[tokio::test]
    async fn the_web_socket_echoes() {
        let origin = Origin::start("one").await.unwrap();
        let stream = TcpStream::connect(origin.address()).await.unwrap();
        let mut socket = websocket::Socket::open(stream, "localhost", "/ws").await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(socket.receive().await.unwrap(), "hello");
    }
}
