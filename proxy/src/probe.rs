//! `/metrics`, `/healthz` and `/readyz` for operators: a plain HTTP/1.1 answer, one request a connection.
//!
//! Not for the internet: it has no TLS and no key. Sixteen askers at a time, five seconds each.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::drain::Phase;
use crate::state::State;

const AT_ONCE: usize = 16;
const TIME: Duration = Duration::from_secs(5);
const MOST_HEAD_BYTES: usize = 8 << 10;

/// Answers until it is dropped.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    // An asker that goes away needs no answer.
                    let _answered = timeout(TIME, answer(stream, &state)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "metrics listener cannot accept");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, state: &State) -> io::Result<()> {
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MOST_HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let response = match (words.next(), words.next()) {
        (Some(b"GET"), Some(path)) => respond(path, state),
        _ => Response::text("405 Method Not Allowed", "only GET\n"),
    };
    stream.write_all(&response.bytes()).await?;
    stream.shutdown().await
}

struct Response {
    status: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Response {
    fn text(status: &'static str, body: &str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.as_bytes().to_vec() }
    }

    fn bytes(self) -> Vec<u8> {
        let Self { status, content_type, body } = self;
        let mut bytes = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend(body);
        bytes
    }
}

fn respond(path: &[u8], state: &State) -> Response {
    match path {
        b"/metrics" => Response {
            status: "200 OK",
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: state.metrics.render(&state.readings()),
        },
        b"/healthz" => Response::text("200 OK", "ok\n"),
        b"/readyz" => match state.course.phase() {
            Phase::Serving => Response::text("200 OK", "ready\n"),
            Phase::Empty => Response::text("503 Service Unavailable", "no state yet\n"),
            Phase::Draining | Phase::Closing => Response::text("503 Service Unavailable", "draining\n"),
        },
        _ => Response::text("404 Not Found", "ask for /metrics, /healthz or /readyz\n"),
    }
}
