//! A real Postgres with its own cluster, from Debian's `postgresql` package: trust authentication, no
//! durability, one database for each caller.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// Where Debian keeps the programs, one directory a version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Postgres refuses to run as root; this user comes with the package.
const USER: &str = "postgres";

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct Postgres {
    databases: AtomicU32,
    programs: PathBuf,
    process: Process,
    port: Port,
    _dir: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts the server; about a second.
    ///
    /// # Errors
    /// If Postgres is not installed or does not start, with its log.
    pub async fn start() -> Result<Self> {
        let programs = programs()?;
        let dir = tempfile::Builder::new().prefix("stoa-postgres-").tempdir()?;
        let as_root = hand_over(dir.path())?;
        let data = dir.path().join("data");
        let mut initdb = command(as_root, &programs.join("initdb"));
        initdb
            .args(["--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync", "-U", USER, "-D"])
            .arg(&data);
        succeed(initdb.output().context("cannot run initdb")?, "initdb")?;

        let port = Port::lease()?;
        let mut command = command(as_root, &programs.join("postgres"));
        command.arg("-D").arg(&data).args(settings(&port));
        let start = Start {
            name: "postgres",
            log: &dir.path().join("log"),
            end: Signal::Quit,
            scratch: Some(dir.path()),
        };
        let process = Process::spawn(&mut command, &start)?;
        let mut server = Self { databases: AtomicU32::new(0), programs, process, port, _dir: dir };
        let mut probe = server.client("pg_isready");
        server
            .process
            .ready(Duration::from_secs(30), async || succeed(probe.output()?, "pg_isready"))
            .await?;
        Ok(server)
    }

    /// Makes a fresh database and returns its URL, `postgres://…@127.0.0.1:<port>/<name>`.
    ///
    /// # Panics
    /// If the server is gone: no test can go on without it.
    #[expect(clippy::expect_used, reason = "a test cannot go on without its database")]
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut createdb = tokio::process::Command::from(self.client("createdb"));
        let output = createdb.arg(&name).output().await.expect("createdb runs");
        succeed(output, "createdb").expect("the server is up");
        format!("postgres://{USER}@127.0.0.1:{}/{name}", self.port.number())
    }

    /// All that is in the database of the URL, as `pg_dump` writes it.
    ///
    /// # Errors
    /// If it cannot be dumped.
    pub async fn dump(&self, url: &str) -> Result<Vec<u8>> {
        let mut dump = tokio::process::Command::from(self.client("pg_dump"));
        let output = dump.arg("--dbname").arg(url).output().await.context("cannot run pg_dump")?;
        let text = output.stdout.clone();
        succeed(output, "pg_dump").map(|()| text)
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(["-h", "127.0.0.1", "-U", USER, "-p", &self.port.number().to_string()]);
        command
    }
}

/// The newest version's directory of programs.
fn programs() -> Result<PathBuf> {
    let missing = || format!("no Postgres below {VERSIONS}: install Debian's package `postgresql`");
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let entries = std::fs::read_dir(VERSIONS).with_context(missing)?;
    let newest =
        entries.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(version).with_context(missing)?;
    Ok(newest.join("bin"))
}

/// Gives the directory to Postgres's user if we are root; says whether we are.
fn hand_over(dir: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let as_root = std::fs::metadata(dir)?.uid() == 0;
    if as_root {
        succeed(Command::new("chown").arg(USER).arg(dir).output()?, "chown")?;
    }
    Ok(as_root)
}

fn command(as_root: bool, program: &Path) -> Command {
    if !as_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(program).current_dir("/");
    command
}

/// Fast and forgetful: the cluster lives as long as the test.
fn settings(port: &Port) -> Vec<String> {
    let port = format!("port={}", port.number());
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "max_connections=200",
        "shared_buffers=32MB",
        &port,
    ];
    settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect()
}

fn succeed(output: Output, program: &str) -> Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} ended with {}: {}", output.status, said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_database_is_fresh_and_the_server_dies_with_its_handle() {
        let server = Postgres::start().await.unwrap();
        let (one, two) = (server.database().await, server.database().await);
        assert_ne!(one, two);
        let mut psql = Command::new(server.programs.join("psql"));
        succeed(psql.arg(&one).args(["-c", "create table t (n bigint)"]).output().unwrap(), "psql").unwrap();
        let id = server.process.id();
        drop(server);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
