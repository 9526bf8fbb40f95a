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

/// Cores of this machine, also of those that this program keeps away from ([`stay_on`]).
pub(crate) fn cores() -> usize {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    (0..).take_while(|core| Ticks::read(&text, &format!("cpu{core}")).is_some()).count().max(1)
}

/// What the processor is called.
pub(crate) fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Which kernel runs.
pub(crate) fn kernel() -> Option<String> {
    Some(std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.trim().to_owned())
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

/// What processors did, in ticks of the kernel's accounting (proc(5), `/proc/stat`): since the start of the
/// machine, or between two looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ticks {
    all: f64,
    /// Nothing to do, or waiting for a disk.
    idle: f64,
    /// Wanted here, and given to another machine by the host.
    stolen: f64,
}

/// Of all cores together, so far.
pub(crate) fn ticks() -> Option<Ticks> {
    Ticks::read(&std::fs::read_to_string("/proc/stat").ok()?, "cpu")
}

/// Of one core, so far.
pub(crate) fn ticks_of(core: usize) -> Option<Ticks> {
    Ticks::read(&std::fs::read_to_string("/proc/stat").ok()?, &format!("cpu{core}"))
}

impl Ticks {
    fn read(text: &str, name: &str) -> Option<Self> {
        let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
        // What guests of this machine used is a part of user time.
        let fields: Vec<f64> =
            line.split_whitespace().skip(1).take(8).map_while(|field| field.parse().ok()).collect();
        let [_, _, _, idle, waiting, _, _, stolen] = fields.as_slice() else { return None };
        Some(Self { all: fields.iter().sum(), idle: idle + waiting, stolen: *stolen })
    }

    /// What was added since an earlier look.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            all: self.all - before.all,
            idle: self.idle - before.idle,
            stolen: self.stolen - before.stolen,
        }
    }

    /// How much of the time was not idle, in percent.
    pub(crate) fn busy_percent(self) -> f64 {
        self.percent(self.all - self.idle)
    }

    /// How much of the time the host gave to others, in percent.
    pub(crate) fn stolen_percent(self) -> f64 {
        self.percent(self.stolen)
    }

    fn percent(self, part: f64) -> f64 {
        if self.all > 0.0 { part / self.all * 100.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str =
        "cpu  20 0 20 40 0 0 0 0 0 0\ncpu0 10 0 10 20 0 0 0 0 0 0\ncpu1 10 0 10 20 0 0 0 0 0 0\n";
    const AFTER: &str =
        "cpu  70 0 30 90 0 0 0 10 5 0\ncpu0 40 0 10 30 0 0 0 0 0 0\ncpu1 30 0 20 40 20 0 0 10 0 0\n";

    fn between(name: &str) -> Ticks {
        Ticks::read(AFTER, name).unwrap().since(Ticks::read(BEFORE, name).unwrap())
    }

    #[test]
    fn a_core_is_told_apart_from_all() {
        assert!((between("cpu0").busy_percent() - 75.0).abs() < 1e-9);
        assert!((between("cpu").stolen_percent() - 100.0 / 12.0).abs() < 1e-9);
    }

    #[test]
    fn waiting_for_a_disk_is_idle_and_stolen_time_is_not() {
        let core = between("cpu1");
        assert!((core.busy_percent() - 40.0 / 80.0 * 100.0).abs() < 1e-9);
        assert!((core.stolen_percent() - 12.5).abs() < 1e-9);
        assert_eq!(Ticks::read(AFTER, "cpu2"), None);
    }

    #[test]
    fn no_time_is_no_percentage() {
        assert!(between("cpu0").since(between("cpu0")).busy_percent().abs() < f64::EPSILON);
    }
}
