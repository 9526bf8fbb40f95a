//! The machine that the figures come from.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The load average of the last minute.
pub(crate) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Finds a program on the usual paths.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| PathBuf::from(folder).join(name))
        .find(|path| path.exists())
}

/// Cores of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Keeps this program, and what it starts from now on, to one core: the edge has another one.
///
/// # Errors
/// taskset is not there, or there is no such core.
pub(crate) fn stay_on(core: usize) -> anyhow::Result<()> {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--cpu-list", "--pid", &core.to_string(), &std::process::id().to_string()]);
    let output = command.output().context("taskset is not installed (Debian: util-linux)")?;
    ensure!(output.status.success(), "taskset said: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
