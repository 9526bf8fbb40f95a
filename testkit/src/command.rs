//! The `stoa` binary as a command that runs to its end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// Longer than any command takes.
const BOUND: Duration = Duration::from_secs(20);

/// The `stoa` beside this executable, or beside the folder that a test's lies in.
///
/// # Errors
/// If it was not built.
pub fn binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folders = test.ancestors().skip(1).take(2);
    let mut found = folders.map(|folder| folder.join("stoa"));
    let beside = found.next().context("the test runs outside of a target directory")?;
    let path = if beside.exists() { beside } else { found.next().unwrap_or(beside) };
    ensure!(path.exists(), "{} is missing: run `cargo build --workspace --bins` first", path.display());
    Ok(path)
}

/// What a command said before it ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

/// Runs `stoa` with these arguments to its end.
///
/// # Errors
/// If it still runs after 20 seconds.
pub async fn run(arguments: &[&str], dir: &Path) -> Result<Said> {
    let mut command = Command::new(binary()?);
    command.args(arguments).current_dir(dir);
    run_command(command).await
}

/// Runs a command to its end.
///
/// # Errors
/// If it still runs after 20 seconds.
pub async fn run_command(command: Command) -> Result<Said> {
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(BOUND, command.output()).await.context("it does not end")??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { code: output.status.code(), output: text(&output.stdout), errors: text(&output.stderr) })
}
