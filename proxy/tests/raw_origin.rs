//! A backend that says bytes, HTTP or not, whatever it is asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens after the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The connection is closed.
    Close,
    /// The next request is awaited.
    Keep,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    heads: Mutex<Vec<String>>,
    answers: AtomicUsize,
}

pub(crate) struct RawOrigin {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

impl RawOrigin {
    /// Answers each request with `bytes`, once its head is there.
    pub(crate) async fn saying(bytes: impl Into<Vec<u8>>, after: After) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, bytes) = (Arc::new(Seen::default()), Arc::<[u8]>::from(bytes.into()));
        let told = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, Arc::clone(&bytes), after, Arc::clone(&told)));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections over which a request came.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Relaxed)
    }

    /// Answers that are on their way with all their bytes.
    pub(crate) fn answers(&self) -> usize {
        self.seen.answers.load(Relaxed)
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }
}

async fn serve(mut tcp: TcpStream, bytes: Arc<[u8]>, after: After, seen: Arc<Seen>) {
    let mut is_first = true;
    while let Some(head) = head(&mut tcp).await {
        if std::mem::take(&mut is_first) {
            seen.connections.fetch_add(1, Relaxed);
        }
        seen.heads.lock().unwrap().push(head);
        if tcp.write_all(&bytes).await.is_err() {
            return;
        }
        seen.answers.fetch_add(1, Relaxed);
        if after == After::Close {
            return;
        }
    }
}

/// The next head; none at the end of the connection.
pub(crate) async fn head(tcp: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
