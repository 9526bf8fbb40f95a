//! slowhttptest (Debian) in its modes for slow headers, slow bodies and slow reading.
//!
//! Its ClientHello names no server, so over TLS the edge turns it away at once. Therefore it speaks in the clear to
//! a tunnel of ours, which adds TLS and takes no more than the tool takes; how long each connection was open is
//! measured there. It also asks the C library for the address, which may not know `*.localhost`: it runs with a
//! hosts file of its own, in a mount namespace.

use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{Interest, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Attack, Ended, LATE};
use crate::machine;
use crate::peer::HOST;
use crate::process::Process;
use crate::visitors::Habit;

/// Why it may not run.
pub(super) const MISSING: &str =
    "not installed (Debian: slowhttptest), or this system forbids mount namespaces to it";
/// Connections of each mode.
const CONNECTIONS: u32 = 200;
/// Puts a hosts file in the place of the system's, for the command that follows and for nobody else.
const WITH_HOSTS: &str = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;
/// Bytes that the tunnel holds of each direction, and that the kernel holds of what is on its way to the tool.
const BUFFER: usize = 1 << 10;
const KERNEL_BUFFER: u32 = 4 << 10;
/// How often the tunnel looks whether the edge has closed a connection that it cannot read from.
const LOOK: Duration = Duration::from_millis(100);

/// A mode.
#[derive(Debug, Clone, Copy)]
struct Mode {
    name: &'static str,
    options: &'static str,
    path: &'static str,
    /// The edge's deadline in seconds.
    seconds: u64,
}

const MODES: [Mode; 3] = [
    Mode { name: "slowhttptest-header", options: "-H -i 3 -x 10 -t GET", path: "/", seconds: 10 },
    // The grace of 10 s, and what the bytes earn.
    Mode { name: "slowhttptest-body", options: "-B -i 3 -x 10 -s 8192", path: "/form", seconds: 15 },
    // What the buffers of the kernel took has earned all the time that can be saved, 60 s; what is read then earns
    // a second for each half a minute.
    Mode { name: "slowhttptest-read", options: "-X -n 3 -z 32 -w 512 -y 1024", path: "/large", seconds: 63 },
];

/// All modes at once; nothing if it cannot run here.
pub(super) async fn run(attack: &Attack) -> anyhow::Result<Vec<Ended>> {
    if machine::program("slowhttptest").is_none() || !has_namespaces() {
        return Ok(Vec::new());
    }
    std::fs::write(attack.folder.join("hosts"), format!("127.0.0.1 localhost {HOST}\n"))?;
    let modes: JoinSet<_> = MODES.into_iter().map(|mode| again_and_again(mode, attack.clone())).collect();
    let ended: anyhow::Result<Vec<_>> = modes.join_all().await.into_iter().collect();
    Ok(ended?.into_iter().flatten().collect())
}

fn has_namespaces() -> bool {
    let tried = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

async fn again_and_again(mode: Mode, attack: Attack) -> anyhow::Result<Vec<Ended>> {
    let deadline = Duration::from_secs(mode.seconds);
    let mut all = Vec::new();
    while attack.has_time_for(deadline) {
        all.push(once(mode, deadline, &attack).await?);
    }
    Ok(all)
}

async fn once(mode: Mode, deadline: Duration, attack: &Attack) -> anyhow::Result<Ended> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(KERNEL_BUFFER)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let tunnel = socket.listen(CONNECTIONS)?;
    let url = format!("http://{HOST}:{}{}", tunnel.local_addr()?.port(), mode.path);
    // It goes on for longer than the edge may, so that what ends in time was ended by the edge.
    let (bound, log) = (deadline + 2 * LATE, attack.folder.join(format!("{}.log", mode.name)));
    // Between two reads it spins: it gets what the generators of good traffic leave of their core.
    let mut command = Command::new("nice");
    command.args(["-n", "19", "unshare", "--map-root-user", "--mount", "sh", "-c", WITH_HOSTS, "sh"]);
    command.arg(attack.folder.join("hosts")).arg("slowhttptest").args(mode.options.split(' '));
    command.args(["-c", &CONNECTIONS.to_string(), "-r", "100", "-l", &bound.as_secs().to_string()]);
    command.args(["-v", "1", "-u", &url]);
    // It ends by itself, sooner if nothing is open any more.
    let process = Process::start(&command, attack.core, &log)?.ended(bound + LATE);
    let ended = carry_all(&tunnel, mode, deadline, attack, process).await?;
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    ensure!(ended.opened >= usize::try_from(CONNECTIONS)?, "{}: {ended:?}: {}", mode.name, said());
    Ok(ended)
}

/// Carries what comes through the tunnel until the tool has ended.
async fn carry_all(
    tunnel: &TcpListener,
    mode: Mode,
    deadline: Duration,
    attack: &Attack,
    process: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Ended> {
    let mut carried = JoinSet::new();
    let mut process = std::pin::pin!(process);
    loop {
        tokio::select! {
            ended = &mut process => break ended?,
            accepted = tunnel.accept() => {
                carried.spawn(carry(accepted?.0, attack.clone(), deadline + LATE));
            }
        }
    }
    let mut ended = Ended { kind: mode.name, deadline, opened: 0, closed: 0, longest: Duration::ZERO };
    for one in carried.join_all().await {
        let longest = one?;
        let closed = usize::from(longest < deadline + LATE);
        ended.add(&Ended { opened: 1, closed, longest, ..ended });
    }
    Ok(ended)
}

/// Carries one connection until the edge closes it, for `bound` at most. How long it was open.
async fn carry(mut tool: TcpStream, attack: Attack, bound: Duration) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    // What the tool does not take need not wait for it.
    tool.set_zero_linger()?;
    let socket = TcpSocket::new_v4()?;
    // As small as the tool's own: a visitor who takes megabytes at first is not slow until then.
    socket.set_recv_buffer_size(KERNEL_BUFFER)?;
    let mut edge = attack.place.shake_hands(socket.connect(attack.edge.https).await?, Habit::New).await?;
    let twin = edge.get_ref().0.as_fd().try_clone_to_owned().context("no twin")?;
    let twin = TcpStream::from_std(twin.into())?;
    let copied = copy_bidirectional_with_sizes(&mut tool, &mut edge, BUFFER, BUFFER);
    let over = async {
        tokio::select! {
            // An error is an end, too.
            _ = copied => {}
            () = closed(&twin) => {}
        }
    };
    // Who is still open then is too late, and is told so.
    let _is_over = timeout(bound, over).await;
    Ok(begun.elapsed())
}

/// Returns when the peer has closed or reset a connection, even if what it sent before was not read.
async fn closed(stream: &TcpStream) {
    loop {
        match timeout(LOOK, stream.ready(Interest::READABLE)).await {
            Ok(Ok(ready)) if !ready.is_read_closed() && !ready.is_error() => sleep(LOOK).await,
            Ok(_) => return,
            Err(_) => {}
        }
    }
}
