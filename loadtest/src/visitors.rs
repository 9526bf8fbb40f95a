//! Visitors at a steady rate, who count whatever goes wrong: a refused or reset connection, a handshake that
//! fails, an answer that is late, cut off, or no success.
//!
//! Nothing is repeated, with one exception that RFC 9113 §6.8 makes: a stream that the server never worked on,
//! because it said GOAWAY without an error before, is opened on a new connection, and counted apart. Deliberately absent: a client
//! library's pool, which would repeat what failed and not tell.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An answer that takes longer counts as failed.
const LATE: Duration = Duration::from_secs(10);
/// Texts of failures that are kept.
const SAMPLES: usize = 5;

/// How a visitor connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// HTTP/1.1, one connection for as long as it lasts.
    Kept,
    /// HTTP/1.1, a connection for each request.
    New,
    /// HTTP/2, one connection for as long as it lasts.
    Streams,
}

/// What some visitors saw.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers with a status of 2xx, whole and in time.
    pub(crate) served: u64,
    /// Anything else.
    pub(crate) failed: u64,
    /// Streams that were opened on another connection.
    pub(crate) moved: u64,
    /// Milliseconds of each that was served.
    pub(crate) millis: Vec<f64>,
    /// Texts of the first failures.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.served += other.served;
        self.failed += other.failed;
        self.moved += other.moved;
        self.millis.extend(other.millis);
        self.failures.extend(other.failures);
        self.failures.truncate(SAMPLES);
    }
}

/// Where visitors go.
#[derive(Clone)]
pub(crate) struct Place {
    host: &'static str,
    address: SocketAddr,
    tls: [Arc<ClientConfig>; 2],
}

impl Place {
    /// `host` at a port of loopback, for visitors who trust the roots in `pem`.
    ///
    /// # Errors
    /// `pem` holds no roots.
    pub(crate) fn new(host: &'static str, port: u16, pem: &[u8]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for root in rustls::pki_types::CertificateDer::pem_slice_iter(pem) {
            roots.add(root?)?;
        }
        ensure!(!roots.is_empty(), "no roots to trust");
        let config = |protocol: &[u8]| {
            let mut config =
                ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        let tls = [config(b"http/1.1"), config(b"h2")];
        Ok(Self { host, address: ([127, 0, 0, 1], port).into(), tls })
    }

    /// The port of loopback.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    async fn connect(&self, habit: Habit) -> anyhow::Result<TlsStream<TcpStream>> {
        self.shake_hands(TcpStream::connect(self.address).await.context("no connection")?, habit).await
    }

    /// The handshake of a visitor of that habit.
    ///
    /// # Errors
    /// It fails.
    pub(crate) async fn shake_hands(
        &self,
        tcp: TcpStream,
        habit: Habit,
    ) -> anyhow::Result<TlsStream<TcpStream>> {
        let [http1, http2] = &self.tls;
        let config = if habit == Habit::Streams { http2 } else { http1 };
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(self.host)?;
        TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.context("no handshake")
    }

    fn request(&self, version: Version) -> anyhow::Result<Request<Empty<Bytes>>> {
        let port = self.address.port();
        let request = match version {
            Version::HTTP_2 => Request::get(format!("https://{}:{port}/", self.host)),
            _ => Request::get("/").header(http::header::HOST, format!("{}:{port}", self.host)),
        };
        Ok(request.body(Empty::new())?)
    }
}

/// Visitors on their way.
pub(crate) struct Crowd {
    running: watch::Sender<bool>,
    visitors: JoinSet<Tally>,
}

impl Crowd {
    /// So many visitors of each habit, each of whom asks so many times a second.
    pub(crate) fn gather(place: &Place, parts: &[(Habit, usize, u32)]) -> Self {
        let (running, told) = watch::channel(true);
        let mut visitors = JoinSet::new();
        for (habit, count, per_second) in parts {
            let pause = Duration::from_secs(1) / (*per_second).max(1);
            for number in 0..*count {
                let visitor = Visitor { place: place.clone(), habit: *habit, line: None };
                // Not all at the same moment.
                let begin = pause.mul_f64(fraction(number, *count));
                visitors.spawn(visitor.ask(begin, pause, told.clone()));
            }
        }
        Self { running, visitors }
    }

    /// Lets every request under way end, and sums up.
    pub(crate) async fn go_home(mut self) -> Tally {
        self.running.send_replace(false);
        let mut sum = Tally::default();
        while let Some(tally) = self.visitors.join_next().await {
            match tally {
                Ok(tally) => sum.add(tally),
                Err(error) => {
                    sum.failed += 1;
                    sum.failures.push(error.to_string());
                }
            }
        }
        sum
    }
}

fn fraction(number: usize, count: usize) -> f64 {
    let small = |value: usize| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
    small(number) / small(count.max(1))
}

struct Visitor {
    place: Place,
    habit: Habit,
    line: Option<Line>,
}

/// A connection.
enum Line {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Visitor {
    async fn ask(mut self, begin: Duration, pause: Duration, running: watch::Receiver<bool>) -> Tally {
        let mut tally = Tally::default();
        tokio::time::sleep(begin).await;
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while *running.borrow() {
            ticks.tick().await;
            let asked = Instant::now();
            match timeout(LATE, self.once(&mut tally.moved)).await.unwrap_or_else(|_| bail!("no answer")) {
                Ok(()) => {
                    tally.served += 1;
                    tally.millis.push(asked.elapsed().as_secs_f64() * 1e3);
                }
                Err(error) => {
                    self.line = None;
                    tally.failed += 1;
                    if tally.failures.len() < SAMPLES {
                        tally.failures.push(format!("{:?}: {error:#}", self.habit));
                    }
                }
            }
        }
        tally
    }

    async fn once(&mut self, moved: &mut u64) -> anyhow::Result<()> {
        loop {
            let mut line = match self.line.take() {
                Some(line) if line.is_open() => line,
                _ => self.dial().await?,
            };
            let answer = match &mut line {
                Line::Http1(line) => line.send_request(self.place.request(Version::HTTP_11)?).await,
                Line::Http2(line) => line.send_request(self.place.request(Version::HTTP_2)?).await,
            };
            let answer = match answer {
                Err(error) if matches!(line, Line::Http2(_)) && was_left_out(&error) => {
                    *moved += 1;
                    continue;
                }
                answer => answer.context("no answer")?,
            };
            ensure!(answer.status().is_success(), "status {}", answer.status());
            let body = answer.into_body().collect().await.context("half an answer")?;
            ensure!(body.to_bytes().len() == 1024, "another body");
            if self.habit != Habit::New {
                self.line = Some(line);
            }
            return Ok(());
        }
    }

    async fn dial(&self) -> anyhow::Result<Line> {
        let stream = TokioIo::new(self.place.connect(self.habit).await?);
        // How a connection ends is told to whoever has a request on it.
        if self.habit == Habit::Streams {
            let (line, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(async move { drop(connection.await) });
            return Ok(Line::Http2(line));
        }
        let (line, connection) = http1::handshake(stream).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Line::Http1(line))
    }
}

impl Line {
    /// False once the server has said that it ends, in an answer or with GOAWAY, or has ended it.
    fn is_open(&self) -> bool {
        match self {
            Self::Http1(line) => !line.is_closed(),
            Self::Http2(line) => !line.is_closed(),
        }
    }
}

/// Whether a GOAWAY left the stream out (RFC 9113 §6.8): hyper had not handed it over yet, or h2 refused to open
/// it, or its number is above the last one that the server names. What the server cuts off has another error.
fn was_left_out(error: &hyper::Error) -> bool {
    let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    error.is_canceled()
        || h2.is_some_and(|error| {
            error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
        })
}
