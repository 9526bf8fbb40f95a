//! The machine that the figures come from.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};

/// The load average of the last minute.
pub(crate) fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Finds a program where Debian has it, or on the `PATH`.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let usual = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    #[expect(clippy::disallowed_methods, reason = "no setting: where a shell would look for it too")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    usual
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
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

/// Lets this program, and what it starts from now on, have as many files open as the machine allows.
///
/// # Errors
/// That is fewer than `needed`.
pub(crate) fn open_files(needed: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if let Some(most) = limit.maximum {
        ensure!(most >= needed, "{needed} open files are needed and {most} allowed: raise `ulimit -Hn`");
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("the limit of open files cannot be raised")
}
