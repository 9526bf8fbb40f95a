//! The environment, read here and nowhere else. A variable that is empty counts as absent, but for a key.

use std::time::Duration;

use model::secret::Secret;

/// `STOA_URL`: address of the admin API for the client commands.
#[must_use]
pub fn url() -> Option<String> {
    variable("STOA_URL")
}

/// `STOA_KEY`: the API key of the client commands. Here an empty variable is not absent: who meant to use a
/// lesser key must not act with the operator's.
#[must_use]
pub fn key() -> Option<Secret> {
    present("STOA_KEY").map(Secret::new)
}

/// `STOA_MASTER_KEY`: the keys that seal private keys, each 64 hexadecimal digits, the oldest first, with commas
/// between; in place of the file `master-key` in the data directory.
#[must_use]
pub fn master_key() -> Option<Secret> {
    variable("STOA_MASTER_KEY").map(Secret::new)
}

/// `STOA_LOG`: what is logged, in place of `log.level`; a level or a filter such as `info,proxy=debug`.
#[must_use]
pub fn log_filter() -> Option<String> {
    variable("STOA_LOG")
}

/// `STOA_SUCCESSION`: set by a stoa that starts another in its own place; standard input is the way to it.
#[must_use]
pub fn is_succession() -> bool {
    variable(SUCCESSION).is_some()
}

/// The name of the variable behind [`is_succession`].
pub const SUCCESSION: &str = "STOA_SUCCESSION";

/// `LISTEN_FDNAMES`: the names of the sockets that systemd passes, in their order (sd_listen_fds(3)).
#[must_use]
pub fn listen_names() -> Vec<String> {
    variable("LISTEN_FDNAMES").map_or_else(Vec::new, |names| names.split(':').map(str::to_owned).collect())
}

/// `NOTIFY_SOCKET`: where systemd is told how the service is (sd_notify(3)).
#[must_use]
pub fn notify_socket() -> Option<String> {
    variable("NOTIFY_SOCKET")
}

/// `WATCHDOG_USEC`: how long systemd waits for a sign of life before it takes the service for dead
/// (sd_watchdog_enabled(3)).
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let micros: u64 = variable("WATCHDOG_USEC")?.parse().ok()?;
    (micros > 0).then(|| Duration::from_micros(micros))
}

/// The variable `name`, without white space around it, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    present(name).filter(|text| !text.is_empty())
}

/// The variable `name`, without white space around it.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
fn present(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned())
}
