//! A connection with requests on it, which is made anew when it has to be.

use std::rc::Rc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;

use super::desk::{Caller, Desk};
use super::{Ask, Destination, Dial, On, Wanted};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// HTTP/1.1
    One,
    /// HTTP/2
    Two,
}

/// A place for one connection.
pub(super) struct Line {
    http: Http,
    dial: Rc<Dial>,
    /// With HTTP/1.1, held while a request is under way.
    connection: Mutex<Connection>,
}

struct Connection {
    sender: Sender,
    destination: Destination,
}

enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(h2::client::SendRequest<Bytes>),
}

/// An answer that was read to its end.
struct Answer {
    status: StatusCode,
    bytes: usize,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// It cannot.
    pub(super) async fn open(http: Http, dial: Rc<Dial>, destination: Destination) -> anyhow::Result<Self> {
        let connection = Connection::make(http, &dial, destination).await?;
        Ok(Self { http, dial, connection: Mutex::new(connection) })
    }

    /// Asks, on a new connection if that is wanted or needed.
    async fn ask(&self, ask: &Ask, desk: &Desk) -> anyhow::Result<(Answer, Option<Wanted>)> {
        let mut connection = self.connection.lock().await;
        let new_for = match ask.on {
            On::New => Some(desk.script().destination()),
            On::Kept if connection.sender.is_open().await => None,
            On::Kept => Some(connection.destination.clone()),
        };
        if let Some(destination) = new_for {
            desk.tally().dialled += 1;
            *connection = Connection::make(self.http, &self.dial, destination).await?;
        }
        let Connection { sender, destination } = &mut *connection;
        let (host, wanted) = (std::sync::Arc::clone(&destination.host), destination.wanted);
        let answer = match sender {
            Sender::One(sender) => by_http1(sender, &host, ask.path).await?,
            Sender::Two(sender) => {
                let sender = sender.clone();
                drop(connection); // others may ask beside this one
                by_http2(sender, &host, ask.path).await?
            }
        };
        Ok((answer, wanted))
    }
}

impl Caller for Line {
    async fn call(&self, ask: &Ask, desk: &Desk) -> anyhow::Result<()> {
        let (answer, wanted) = self.ask(ask, desk).await?;
        *desk.tally().statuses.entry(answer.status.as_u16()).or_default() += 1;
        wanted.unwrap_or(ask.wanted).check(&answer)
    }
}

impl Wanted {
    fn check(&self, answer: &Answer) -> anyhow::Result<()> {
        ensure!(self.statuses.contains(&answer.status.as_u16()), "status {}", answer.status.as_u16());
        let bytes = self.bytes.unwrap_or(answer.bytes);
        ensure!(answer.bytes == bytes, "{} bytes, and not {bytes}", answer.bytes);
        Ok(())
    }
}

impl Connection {
    async fn make(http: Http, dial: &Dial, destination: Destination) -> anyhow::Result<Self> {
        let stream = dial.connect(&destination.host, http).await?;
        // How a connection ends is told to whoever has a request on it.
        let sender = match http {
            Http::One => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::task::spawn_local(async move { drop(connection.await) });
                Sender::One(sender)
            }
            Http::Two => {
                let (sender, connection) = h2::client::handshake(stream).await?;
                tokio::task::spawn_local(async move { drop(connection.await) });
                Sender::Two(sender)
            }
        };
        Ok(Self { sender, destination })
    }
}

impl Sender {
    /// False once the server has said that it ends, in an answer or with GOAWAY, or has ended it.
    async fn is_open(&mut self) -> bool {
        match self {
            Self::One(sender) => sender.ready().await.is_ok(),
            Self::Two(sender) => std::future::poll_fn(|context| sender.poll_ready(context)).await.is_ok(),
        }
    }
}

async fn by_http1(
    sender: &mut http1::SendRequest<Empty<Bytes>>,
    host: &str,
    path: &'static str,
) -> anyhow::Result<Answer> {
    let request = Request::get(path).header(HOST, host).body(Empty::new())?;
    sender.ready().await?;
    let (head, mut body) = sender.send_request(request).await.context("no answer")?.into_parts();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.context("half an answer")?.data_ref().map_or(0, Bytes::len);
    }
    Ok(Answer { status: head.status, bytes })
}

async fn by_http2(
    sender: h2::client::SendRequest<Bytes>,
    host: &str,
    path: &'static str,
) -> anyhow::Result<Answer> {
    let request = Request::get(format!("https://{host}{path}")).version(http::Version::HTTP_2).body(())?;
    let mut sender = sender.ready().await.context("the connection ends")?;
    let (answer, _) = sender.send_request(request, true).context("not asked")?;
    drop(sender);
    let (head, mut body) = Response::into_parts(answer.await.context("no answer")?);
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let length = data.context("half an answer")?.len();
        bytes += length;
        body.flow_control().release_capacity(length)?;
    }
    Ok(Answer { status: head.status, bytes })
}
