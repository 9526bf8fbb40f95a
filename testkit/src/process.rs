//! A child process that dies with its test: killed by its own id when dropped, and by a leash (a small
//! shell that waits for the test's end of a pipe to close) when the test itself is killed.

use std::fs::File;
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
    child: Child,
    leash: Child,
    end: Signal,
    log: PathBuf,
}

impl Process {
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
        Ok(Self { name: start.name.to_owned(), child, leash, end: start.end, log: start.log.to_owned() })
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
        // Both fail only if it is gone already.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
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
            let _reaped = self.child.wait();
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
