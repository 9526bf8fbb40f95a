//! Clients on slow networks: the head of a request comes byte by byte, the answer is read in sips. They are good
//! visitors: each must be served.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use testkit::tls::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::traffic::Tenants;

/// How many there are at a time.
const CLIENTS: u64 = 40;
/// What is sent at a time, and then nothing for so long: a head takes about a second.
const SEND: (usize, Duration) = (4, Duration::from_millis(50));
/// What is read at a time, and then nothing for so long: 100 KB take about a second.
const READ: (usize, Duration) = (8 << 10, Duration::from_millis(80));
/// What the kernel takes in meanwhile, so that the proxy has to wait.
const WINDOW_BYTES: u32 = 8 << 10;
/// Longer than any of it takes.
const BOUND: Duration = Duration::from_secs(30);
/// Texts of failures that are kept.
const SAMPLES: usize = 5;

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct Slow {
    /// Requests that were answered in full.
    pub(super) served: u64,
    /// Others.
    pub(super) unwanted: u64,
    /// Texts of the first of these.
    pub(super) failures: Vec<String>,
}

impl Slow {
    /// What became of others, too.
    pub(super) fn add(&mut self, other: Self) {
        self.served += other.served;
        self.unwanted += other.unwanted;
        self.failures.extend(other.failures);
        self.failures.truncate(SAMPLES);
    }
}

/// Slow clients on their way.
pub(super) struct Patient {
    running: watch::Sender<bool>,
    clients: JoinSet<Slow>,
}

impl Patient {
    /// Each asks one tenant after another.
    pub(super) fn gather(address: SocketAddr, tenants: &Tenants, seed: u64) -> Self {
        let (running, told) = watch::channel(true);
        let tls = Tls::trusting_anyone().offering(&["http/1.1"]);
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let chance = StdRng::seed_from_u64(seed * CLIENTS + number);
            clients.spawn(visit(address, tls.clone(), (tenants.clone(), chance), told.clone()));
        }
        Self { running, clients }
    }

    /// Lets each end what it has begun, and sums up.
    pub(super) async fn go_home(mut self) -> Slow {
        self.running.send_replace(false);
        let mut sum = Slow::default();
        while let Some(client) = self.clients.join_next().await {
            sum.add(client.unwrap_or_else(|error| failed(error.to_string())));
        }
        sum
    }
}

fn failed(text: String) -> Slow {
    Slow { served: 0, unwanted: 1, failures: vec![text] }
}

async fn visit(
    address: SocketAddr,
    tls: Tls,
    (tenants, mut chance): (Tenants, StdRng),
    running: watch::Receiver<bool>,
) -> Slow {
    let mut seen = Slow::default();
    while *running.borrow() {
        let host = tenants.draw_serving(&mut chance);
        let outcome = timeout(BOUND, ask(address, &tls, &host)).await;
        seen.add(match outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {BOUND:?}"))) {
            Ok(()) => Slow { served: 1, ..Slow::default() },
            Err(error) => failed(format!("a slow client: {error:#}")),
        });
    }
    seen
}

async fn ask(address: SocketAddr, tls: &Tls, host: &str) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(WINDOW_BYTES)?;
    let tcp = socket.connect(address).await.context("no connection")?;
    let mut stream = tls.secure(tcp, host).await.context("no handshake")?;
    let head = format!("GET /100k HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    for piece in head.as_bytes().chunks(SEND.0) {
        stream.write_all(piece).await?;
        stream.flush().await?;
        sleep(SEND.1).await;
    }
    let (mut answer, mut sip) = (Vec::new(), vec![0; READ.0]);
    loop {
        let length = stream.read(&mut sip).await.context("half an answer")?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(sip.get(..length).unwrap_or_default());
        sleep(READ.1).await;
    }
    let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| answer.len() - at - 4);
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "no success");
    ensure!(body == 100 << 10, "{body} bytes of the body");
    Ok(())
}
