//! The process that is to take this one's place: started, given everything, and waited for.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::channel::{self, FAILED, Gift, READY};

/// How this process was started.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The path is the one that was named, not what it led to: whoever changes a link upgrades too. A bare
    /// name was found in `PATH`; then the file itself is taken.
    ///
    /// # Errors
    /// The system does not tell.
    pub(super) fn of_this_process() -> anyhow::Result<Self> {
        let mut arguments = std::env::args_os();
        let named = arguments.next().map(PathBuf::from).filter(|path| path.components().nth(1).is_some());
        let path = match named {
            Some(named) => std::path::absolute(named)?,
            None => std::env::current_exe()?,
        };
        Ok(Self { path, arguments: arguments.collect() })
    }

    /// Starts it, gives it `gifts`, and waits for at most `patience` until it is ready. Dropped before, the new
    /// process is ended.
    ///
    /// # Errors
    /// Why it is not ready; it is ended then.
    pub(super) async fn start(&self, gifts: &[Gift], patience: Duration) -> anyhow::Result<u32> {
        let (way, theirs) = UnixStream::pair()?;
        // Before it is there: whenever this process is killed, either nobody has the lock, or somebody has everything.
        way.set_nonblocking(true)?;
        channel::give(&way, gifts).context("the sockets do not fit into one message to the new process")?;
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env(config::environment::SUCCESSION, "1");
        command.env_remove("LISTEN_FDNAMES").env_remove("WATCHDOG_PID");
        command.stdin(Stdio::from(OwnedFd::from(theirs))).kill_on_drop(true);
        let child = command.spawn();
        let mut child = child.with_context(|| format!("cannot start `{}`", self.path.display()))?;
        // It has its own copy now: without this one, its end is the way's end.
        drop(command);
        let answer = timeout(patience, answer(&way, &mut child)).await;
        let seconds = patience.as_secs();
        match answer.unwrap_or_else(|_| bail!("it was not ready in {seconds} s (`reload_seconds`)")) {
            Ok(()) => {
                let pid = child.id().context("it has ended")?;
                // It lives on without this process; and the way stays open for as long as this one lives.
                std::mem::forget((child, way));
                Ok(pid)
            }
            Err(error) => {
                // It may have ended by itself.
                let _ended = child.kill().await;
                Err(error)
            }
        }
    }
}

/// Waits for the answer.
async fn answer(way: &UnixStream, child: &mut Child) -> anyhow::Result<()> {
    let own = way.try_clone()?;
    let mut line = String::new();
    // A process that ends before it has read everything is an error here.
    let read = BufReader::new(tokio::net::UnixStream::from_std(own)?).read_line(&mut line).await;
    match line.trim_end() {
        _ if read.is_err() => ended(child).await,
        "" => ended(child).await,
        READY => Ok(()),
        line => bail!("{}", line.strip_prefix(FAILED).unwrap_or(line)),
    }
}

async fn ended(child: &mut Child) -> anyhow::Result<()> {
    bail!("it ended before it was ready: {}", child.wait().await?)
}
