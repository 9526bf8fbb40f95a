//! What systemd is told of the service, if it asked to be (sd_notify(3)); else nothing happens.
//!
//! Deliberately absent: a library for a dozen lines.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{MissedTickBehavior, interval};

/// Longest wait for a manager that does not read: the service goes on without it.
const PATIENCE: Duration = Duration::from_millis(100);

/// The service serves.
pub(crate) fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={status}"));
}

/// A new configuration or a new binary is being tried.
pub(crate) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
    tell(&format!(
        "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=starting a process in the place of this one"
    ));
}

/// Another process is the service now.
pub(crate) fn succeeded_by(pid: u32) {
    tell(&format!("MAINPID={pid}\nREADY=1\nSTATUS=serving"));
}

/// The service ends.
pub(crate) fn stopping() {
    tell("STOPPING=1\nSTATUS=ending the requests under way");
}

/// Gives systemd a sign of life twice in the time that it waits for one. Ends at once if it waits for none.
pub(crate) async fn stay_alive() {
    let Some(patience) = config::environment::watchdog() else { return };
    let mut ticks = interval(patience / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell("WATCHDOG=1");
    }
}

/// An error means that nobody listens; the service does not depend on it.
fn tell(state: &str) {
    let Some(path) = config::environment::notify_socket() else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let told = UnixDatagram::unbound().and_then(|socket| {
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.send_to_addr(state.as_bytes(), &address?)
    });
    if let Err(error) = told {
        tracing::debug!(%error, path, "systemd was not told");
    }
}
