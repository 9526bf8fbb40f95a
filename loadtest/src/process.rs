//! A process that this run started, and that ends with it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cpu;

/// A started process; killed by its own id when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` pinned to `core`, its output in `log`.
    ///
    /// # Errors
    /// The program is not there, or the log cannot be written.
    pub(crate) fn start(command: &Command, core: usize, log: &Path) -> anyhow::Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
        let errors = out.try_clone()?;
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(core.to_string()).arg(command.get_program()).args(command.get_args());
        let child = pinned.stdin(Stdio::null()).stdout(out).stderr(errors).spawn();
        let child =
            child.with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It goes on for longer than `bound`.
    pub(crate) async fn ended(mut self, bound: Duration) -> anyhow::Result<()> {
        let wait = async {
            while self.child.try_wait()?.is_none() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(bound, wait).await.context("a process does not end")?
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if !status.success() {
            bail!("process {} could not be asked to end", self.child.id());
        }
        self.child.wait()?;
        Ok(())
    }
}

/// Ends what it has started too: the workers of nginx would go on without their master.
impl Drop for Process {
    fn drop(&mut self) {
        let children = cpu::children(self.child.id());
        // They may have ended by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
        children.into_iter().for_each(kill);
    }
}

fn kill(id: u32) {
    let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
}

/// A process that one of ours has started in its own place; killed by its id when dropped.
#[derive(Debug)]
pub(crate) struct Successor(pub(crate) u32);

impl Drop for Successor {
    fn drop(&mut self) {
        kill(self.0);
    }
}

/// A loopback port that is free now.
///
/// # Errors
/// There is none.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

/// Waits until something listens on a loopback port.
///
/// # Errors
/// Nothing does within a minute: some read thousands of certificates first.
pub(crate) async fn listening(port: u16) -> anyhow::Result<()> {
    let connect = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), connect).await;
    waited.with_context(|| format!("nothing listens on port {port}"))
}
