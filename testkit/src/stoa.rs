//! The real binary as a process, with its configuration, data and ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use toml::{Table, Value};

use crate::api::Api;
use crate::command::binary;
use crate::edge::Edge;
use crate::marketplace::Tenant;
use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// A loaded machine may take long to start a debug build.
const READY_BOUND: Duration = Duration::from_secs(30);

/// The link to the binary, as an operator installs it: an upgrade points it elsewhere.
const PROGRAM: &str = "stoa";

/// Longer than a drain takes.
const STOP_BOUND: Duration = Duration::from_secs(20);

/// Which part of an installation a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `stoa up`: everything.
    Up,
    /// `stoa run --role edge`
    Edge,
    /// `stoa run --role control`
    Control,
}

impl Role {
    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Up => &["up"],
            Self::Edge => &["run", "--role", "edge"],
            Self::Control => &["run", "--role", "control"],
        }
    }
}

/// An installation under construction.
#[derive(Debug)]
pub struct Builder {
    role: Role,
    config: String,
    data: Option<PathBuf>,
    environment: Vec<(String, String)>,
    ports: Option<Ports>,
    under: Vec<String>,
}

/// The ports of an installation.
#[derive(Debug)]
pub struct Ports {
    /// Visitors in the clear.
    pub http: Port,
    /// Visitors.
    pub https: Port,
    /// `/metrics`, `/healthz`, `/readyz`
    pub metrics: Port,
    /// The admin API.
    pub api: Port,
}

impl Ports {
    /// Leases four.
    ///
    /// # Errors
    /// If no port is free.
    pub fn lease() -> Result<Self> {
        Ok(Self { http: Port::lease()?, https: Port::lease()?, metrics: Port::lease()?, api: Port::lease()? })
    }
}

impl Builder {
    /// Which part of an installation.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// TOML that is laid over the test's own: ports of 127.0.0.1 and a data directory.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// A data directory that outlives the process.
    #[must_use]
    pub fn data(mut self, dir: &Path) -> Self {
        self.data = Some(dir.to_owned());
        self
    }

    /// A variable of the environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command that starts it in turn, e.g. with sockets or limits of its own.
    #[must_use]
    pub fn under(mut self, line: Vec<String>) -> Self {
        self.under = line;
        self
    }

    /// Ports leased beforehand, where another server has to know them first.
    #[must_use]
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = Some(ports);
        self
    }

    /// Writes the configuration without starting anything.
    ///
    /// # Errors
    /// If the TOML cannot be read.
    pub fn prepare(self) -> Result<Stoa> {
        let dir = tempfile::Builder::new().prefix("stoa-e2e-").tempdir()?;
        let data = self.data.unwrap_or_else(|| dir.path().join("data"));
        let ports = self.ports.map_or_else(Ports::lease, Ok)?;
        let mut config = defaults(self.role, &ports, &data);
        overlay(&mut config, self.config.parse::<Table>().context("the test's own TOML")?);
        std::fs::write(dir.path().join("stoa.toml"), toml::to_string(&config)?)?;
        std::os::unix::fs::symlink(binary()?, dir.path().join(PROGRAM))?;
        let roots = data.join("ca.pem");
        let edge = Edge { https: ports.https.address(), http: ports.http.address(), roots };
        let (environment, under) = (self.environment, self.under);
        Ok(Stoa {
            process: None,
            retired: Vec::new(),
            role: self.role,
            edge,
            data,
            ports,
            environment,
            under,
            dir,
        })
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If it is not ready in good time or ends, with its log.
    pub async fn start(self) -> Result<Stoa> {
        let mut stoa = self.prepare()?;
        stoa.start_again().await?;
        Ok(stoa)
    }
}

/// What a start must not share with other tests. An edge needs no API, a control plane no listeners.
fn defaults(role: Role, ports: &Ports, data: &Path) -> Table {
    let text = |value: String| Value::String(value);
    let address = |port: &Port| text(port.address().to_string());
    let mut config = Table::from_iter([("data".to_owned(), text(data.display().to_string()))]);
    let mut edge = Table::new();
    if role != Role::Control {
        edge.insert("http".to_owned(), Value::Array(vec![address(&ports.http)]));
        edge.insert("https".to_owned(), Value::Array(vec![address(&ports.https)]));
    }
    edge.insert("metrics".to_owned(), address(&ports.metrics));
    config.insert("edge".to_owned(), Value::Table(edge));
    if role != Role::Edge {
        let api = Table::from_iter([("listen".to_owned(), address(&ports.api))]);
        config.insert("api".to_owned(), Value::Table(api));
    }
    config
}

fn overlay(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => overlay(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

/// An installation, running or not.
#[derive(Debug)]
pub struct Stoa {
    process: Option<Process>,
    /// Processes whose place another one has taken.
    retired: Vec<Process>,
    role: Role,
    edge: Edge,
    data: PathBuf,
    ports: Ports,
    environment: Vec<(String, String)>,
    under: Vec<String>,
    dir: TempDir,
}

impl Stoa {
    /// One that is laid out as `stoa up` without configuration, but for its ports.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            role: Role::Up,
            config: String::new(),
            data: None,
            environment: Vec::new(),
            ports: None,
            under: Vec::new(),
        }
    }

    /// Starts such a one.
    ///
    /// # Errors
    /// If it is not ready in good time or ends, with its log.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// The command that starts it, for tests that want its output.
    ///
    /// # Errors
    /// If the binary was not built.
    pub fn command(&self) -> Result<Command> {
        let link = self.dir.path().join(PROGRAM);
        let mut command = match self.under.split_first() {
            None => Command::new(link),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(link);
                command
            }
        };
        command.args(self.role.arguments()).arg("--config").arg(self.config()).arg("--data").arg(&self.data);
        command.current_dir(self.dir.path()).envs(self.environment.clone());
        Ok(command)
    }

    /// Starts it with what it had and waits until it is ready.
    ///
    /// # Errors
    /// If it is not ready in good time or ends, with its log.
    pub async fn start_again(&mut self) -> Result<()> {
        let (log, name) = (self.log_path(), self.name());
        let start = Start { name: &name, log: &log, end: Signal::Kill, scratch: None };
        let mut process = Process::spawn(&mut self.command()?, &start)?;
        let http = crate::client::plain()?;
        let url = format!("http://{}/readyz", self.readiness());
        process.ready(READY_BOUND, async || crate::client::probe(&http, &url).await).await?;
        self.process = Some(process);
        Ok(())
    }

    fn name(&self) -> String {
        format!("stoa {}", self.role.arguments().join(" "))
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// The process in charge, as its data directory tells it.
    ///
    /// # Errors
    /// If it does not.
    pub fn in_charge(&self) -> Result<u32> {
        let lock = std::fs::read_to_string(self.data.join("lock"))?;
        lock.trim().parse().with_context(|| format!("the lock says `{lock}`"))
    }

    /// Sends a signal to the process that was in charge when last looked at.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("it does not run")?.signal(signal)
    }

    /// Asks for another process in the place of this one, and waits until that one is in charge.
    ///
    /// # Errors
    /// If none takes its place in good time.
    pub async fn renew(&mut self) -> Result<()> {
        self.signal(Signal::Hup)?;
        self.renewed().await
    }

    /// Waits until another process is in charge than the one before.
    ///
    /// # Errors
    /// If none is in good time; with the log.
    pub async fn renewed(&mut self) -> Result<()> {
        let before = self.process.as_ref().context("it does not run")?.id();
        let look = async || match self.in_charge()? {
            now if now == before => anyhow::bail!("{now} is still in charge:\n{}", self.log()),
            now => Ok(now),
        };
        let now = crate::wait::until("another process in charge", READY_BOUND, look).await?;
        let process = self.adopt(now)?;
        self.retired.extend(self.process.replace(process));
        Ok(())
    }

    /// Waits until all processes have ended whose place another one took.
    ///
    /// # Errors
    /// If one does not in good time.
    pub async fn retired_ended(&mut self) -> Result<()> {
        for process in &mut self.retired {
            process.wait(STOP_BOUND).await?;
        }
        self.retired.clear();
        Ok(())
    }

    /// kill -9 of the processes whose place another one took.
    pub fn kill9_retired(&mut self) {
        self.retired.clear();
    }

    /// Has a shell script stand where the binary is, for whoever starts it next.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn install_script(&self, script: &str) -> Result<()> {
        // By a shell: a file that this process has open to write could not be run while another test forks.
        let write =
            r#"printf '#!/bin/sh\n%s\n' "$1" > "$0.new" && chmod 755 "$0.new" && mv -f "$0.new" "$0""#;
        let mut command = Command::new("sh");
        command.args(["-c", write]).arg(self.dir.path().join(PROGRAM)).arg(script);
        ensure!(command.status()?.success(), "the script cannot be written");
        Ok(())
    }

    /// Puts the binary back.
    ///
    /// # Errors
    /// If the link cannot be made.
    pub fn install_binary(&self) -> Result<()> {
        let (draft, link) = (self.dir.path().join("draft"), self.dir.path().join(PROGRAM));
        std::os::unix::fs::symlink(binary()?, &draft)?;
        Ok(std::fs::rename(draft, link)?)
    }

    /// The processes of this installation: all that run in its folder.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let ours = self.dir.path().canonicalize().unwrap_or_default();
        let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
        // What has ended and is not asked for yet has no folder any more.
        ids.filter(|id| std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|folder| folder == ours))
            .collect()
    }

    /// Waits until the process in charge is the only one left, and looks after that one.
    ///
    /// # Errors
    /// If there are others for long; with the log.
    pub async fn settled(&mut self) -> Result<u32> {
        let look = async || {
            let (running, now) = (self.processes(), self.in_charge()?);
            ensure!(running == [now], "{running:?} run, {now} is in charge:\n{}", self.log());
            Ok(now)
        };
        let now = crate::wait::until("one process to be left", STOP_BOUND, look).await?;
        self.retired.clear();
        if self.process.as_ref().is_none_or(|process| process.id() != now) {
            self.process = Some(self.adopt(now)?);
        }
        Ok(now)
    }

    fn adopt(&self, id: u32) -> Result<Process> {
        let (log, name) = (self.log_path(), self.name());
        Process::adopt(id, &Start { name: &name, log: &log, end: Signal::Kill, scratch: None })
    }

    fn readiness(&self) -> SocketAddr {
        match self.role {
            Role::Up | Role::Edge => self.ports.metrics.address(),
            Role::Control => self.ports.api.address(),
        }
    }

    /// The admin API with the platform's key.
    ///
    /// # Errors
    /// If the data directory has no key.
    pub fn api(&self) -> Result<Api> {
        let file = self.data.join("platform-key");
        let key = std::fs::read_to_string(&file).with_context(|| format!("no key in {}", file.display()))?;
        Api::new(&format!("http://{}", self.ports.api.address()), key.trim())
    }

    /// What visitors reach.
    #[must_use]
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("stoa.toml")
    }

    /// Everything that it wrote to its output.
    #[must_use]
    pub fn log(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Makes a tenant.
    ///
    /// # Errors
    /// If the API refuses.
    pub async fn tenant(&self, name: &str) -> Result<Tenant> {
        Tenant::create(self.api()?, self.edge.clone(), name).await
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn is_running(&mut self) -> Result<bool> {
        match &mut self.process {
            Some(process) => Ok(process.ended()?.is_none()),
            None => Ok(false),
        }
    }

    /// kill -9.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Asks it to end, as Ctrl-C does, and waits until it has.
    ///
    /// # Errors
    /// If it does not end in good time.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::Int)?;
        self.ended().await
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it does not end in good time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("it does not run")?;
        process.wait(STOP_BOUND).await
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::start_again`].
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }
}

/// Nothing of an installation outlives its test, whoever started it.
impl Drop for Stoa {
    fn drop(&mut self) {
        let known: Vec<u32> = self.retired.iter().chain(&self.process).map(Process::id).collect();
        for id in self.processes().into_iter().filter(|id| !known.contains(id)) {
            // Ends it. An error: no shell can be started, and it is nobody's.
            drop(self.adopt(id));
        }
    }
}
