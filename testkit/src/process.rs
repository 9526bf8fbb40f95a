//! A child process that dies with its test: killed by its own id when dropped, and by a leash (a small
//! shell that waits for the test's end of a pipe to close) when the test itself is killed.

use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::wait;

/// Lines of a log that an error or a failing test shows.
const TAIL: usize = 60;

/// `read` returns when the test process is gone. The wait for the child is bounded, because nobody may be
/// there to reap it.
const LEASH: &str = r#"
trap '' INT TERM HUP
read -r _
kill -s "$1" "$2" 2>/dev/null
[ -n "$3" ] || exit 0
i=0
while kill -0 "$2" 2>/dev/null && [ $i -lt 30 ]; do sleep 0.1; i=$((i + 1)); done
rm -rf -- "$3"
"#;

/// A signal by its name for `kill -s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Int,
    /// A polite request to end.
    Term,
    /// Postgres: end at once, in good order.
    Quit,
    /// No more warning.
    Kill,
    /// Freeze.
    Stop,
    /// Thaw.
    Cont,
    /// Another process in the place of this one.
    Hup,
    /// The same.
    Usr2,
}

impl Signal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Term => "TERM",
            Self::Quit => "QUIT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Hup => "HUP",
            Self::Usr2 => "USR2",
        }
    }
}

/// What to start.
#[derive(Debug)]
pub struct Start<'a> {
    /// Its name in errors.
    pub name: &'a str,
    /// Where its output goes; appended to.
    pub log: &'a Path,
    /// What ends it when it is dropped.
    pub end: Signal,
    /// A directory that the leash removes if the test is killed.
    pub scratch: Option<&'a Path>,
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Running,
    leash: Child,
    end: Signal,
    log: PathBuf,
}

/// The process itself.
#[derive(Debug)]
enum Running {
    /// A child of the test.
    Child(Child),
    /// A child of a child: known by its id only, and how it ends is not told.
    Grandchild(u32),
}

impl Running {
    fn id(&self) -> u32 {
        match self {
            Self::Child(child) => child.id(),
            Self::Grandchild(id) => *id,
        }
    }

    fn try_wait(&mut self) -> std::io::Result<Option<ExitStatus>> {
        match self {
            Self::Child(child) => child.try_wait(),
            Self::Grandchild(id) => Ok(has_ended(*id).then(|| ExitStatus::from_raw(0))),
        }
    }

    /// Both steps fail only if it is gone already.
    fn kill(&mut self) {
        match self {
            Self::Child(child) => {
                let _gone = child.kill();
                let _reaped = child.wait();
            }
            Self::Grandchild(id) => {
                let kill = Command::new("sh").args(["-c", r#"kill -s KILL "$0""#, &id.to_string()]).status();
                while kill.is_ok() && !has_ended(*id) {
                    std::thread::yield_now();
                }
            }
        }
    }
}

/// Gone, or waiting for somebody to ask how it ended (proc_pid_stat(5)).
fn has_ended(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

impl Process {
    /// Looks after a process that another one of ours has started, by its id.
    ///
    /// # Errors
    /// If its leash cannot be started.
    pub fn adopt(id: u32, start: &Start<'_>) -> Result<Self> {
        let (name, log) = (start.name.to_owned(), start.log.to_owned());
        Ok(Self { name, child: Running::Grandchild(id), leash: leash(id, start)?, end: start.end, log })
    }

    /// Starts `command` with its output in the log.
    ///
    /// # Errors
    /// If the program cannot be started; the error names it.
    pub fn spawn(command: &mut Command, start: &Start<'_>) -> Result<Self> {
        let log = File::options().create(true).append(true).open(start.log)?;
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().with_context(|| {
                format!("cannot start {} ({})", start.name, command.get_program().display())
            })?;
        let leash = leash(child.id(), start)?;
        let (name, log) = (start.name.to_owned(), start.log.to_owned());
        Ok(Self { name, child: Running::Child(child), leash, end: start.end, log })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let status = Command::new("sh")
            .args(["-c", r#"kill -s "$0" "$1""#, signal.as_str(), &self.child.id().to_string()])
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "{} (process {}) is gone", self.name, self.child.id());
        Ok(())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it still runs after `bound`.
    pub async fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let name = self.name.clone();
        wait::until(&format!("the end of {name}"), bound, async || self.ended()?.context("it still runs"))
            .await
    }

    /// Ends it without warning and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n")
    }

    /// Waits until `probe` succeeds; ends early, with the log, if the process ends.
    ///
    /// # Errors
    /// After `bound`, or when the process has ended; with the end of the log.
    pub async fn ready(&mut self, bound: Duration, mut probe: impl AsyncFnMut() -> Result<()>) -> Result<()> {
        let what = format!("{} to be ready", self.name);
        let looked = wait::until(&what, bound, async || match self.ended()? {
            Some(status) => Ok(Some(status)),
            None => probe().await.map(|()| None),
        })
        .await;
        match looked {
            Ok(None) => Ok(()),
            Ok(Some(status)) => anyhow::bail!("{} ended with {status}:\n{}", self.name, self.log_tail()),
            Err(error) => Err(error.context(self.log_tail())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.end != Signal::Kill {
            // If the signal cannot be sent, the process is gone and the wait returns at once.
            let _sent = self.signal(self.end);
            if let Running::Child(child) = &mut self.child {
                let _reaped = child.wait();
            }
        }
        self.kill();
        // The leash must not outlive the child's id, which may be given to another process.
        let _gone = self.leash.kill();
        let _reaped = self.leash.wait();
        println!("--- end of {}'s log\n{}", self.name, self.log_tail());
    }
}

fn leash(id: u32, start: &Start<'_>) -> Result<Child> {
    Command::new("sh")
        .args(["-c", LEASH, "leash", start.end.as_str(), &id.to_string()])
        .arg(start.scratch.unwrap_or(Path::new("")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start sh")
}
