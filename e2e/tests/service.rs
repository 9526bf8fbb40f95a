//! Stoa as a service of systemd: told how it is, given its sockets, and asked for a sign of life.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use testkit::process::Signal;
use testkit::stoa::{Ports, Stoa};
use testkit::wait;

use crate::installation::WithApp;

/// systemd's end of the socket that services speak to.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Manager {
    fn listen() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path, heard: Vec::new(), _dir: dir })
    }

    /// Reads what has come.
    fn read(&mut self) {
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            self.heard.push(String::from_utf8_lossy(&message[..length]).into_owned());
        }
    }

    /// Waits for the next message with this line in it that was not waited for yet, and returns it.
    async fn hears(&mut self, line: &str) -> Result<String> {
        wait::until(line, wait::LONG, async || {
            self.read();
            let at = self.heard.iter().position(|message| message.lines().any(|told| told.starts_with(line)));
            let at = at.with_context(|| format!("{:?}", self.heard))?;
            Ok(self.heard.drain(..=at).next_back().unwrap_or_default())
        })
        .await
    }
}

#[tokio::test]
async fn a_manager_is_told_of_start_reload_refusal_and_end() -> Result<()> {
    let mut manager = Manager::listen()?;
    let path = manager.path.display().to_string();
    let mut stoa = Stoa::builder().environment("NOTIFY_SOCKET", &path).start().await?;
    manager.hears("READY=1").await?;
    let first = stoa.in_charge()?;

    let sound = std::fs::read_to_string(stoa.config())?;
    std::fs::write(stoa.config(), format!("surprise = 1\n{sound}"))?;
    stoa.signal(Signal::Hup)?;
    let told = manager.hears("RELOADING=1").await?;
    ensure!(told.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{told}");
    let told = manager.hears("READY=1").await?;
    ensure!(told.contains("refused") && !told.contains("MAINPID"), "{told}");

    std::fs::write(stoa.config(), sound)?;
    stoa.renew().await?;
    manager.hears("RELOADING=1").await?;
    let told = manager.hears("MAINPID=").await?;
    ensure!(stoa.in_charge()? != first && told.contains(&format!("MAINPID={}", stoa.in_charge()?)), "{told}");
    ensure!(told.lines().any(|line| line == "READY=1"), "{told}");

    stoa.stop().await?;
    manager.hears("STOPPING=1").await?;
    Ok(())
}

#[tokio::test]
async fn a_manager_that_waits_for_a_sign_of_life_gets_it_from_whoever_is_in_charge() -> Result<()> {
    let mut manager = Manager::listen()?;
    let path = manager.path.display().to_string();
    let builder = Stoa::builder().environment("NOTIFY_SOCKET", &path);
    let mut stoa = builder.environment("WATCHDOG_USEC", "200000").start().await?;
    manager.hears("WATCHDOG=1").await?;
    // From here on nobody reads, which holds nothing up.
    stoa.renew().await?;
    stoa.retired_ended().await?;
    manager.read();
    manager.heard.clear();
    for _ in 0..2 {
        manager.hears("WATCHDOG=1").await?;
    }
    Ok(())
}

fn activated(ports: &Ports, names: &str) -> Vec<String> {
    let mut line = vec!["systemd-socket-activate".to_owned(), format!("--fdname={names}")];
    for port in [&ports.http, &ports.https, &ports.metrics] {
        line.push(format!("--listen={}", port.address()));
    }
    line
}

#[tokio::test]
async fn sockets_of_systemd_are_served_and_handed_over() -> Result<()> {
    let ports = Ports::lease()?;
    let line = activated(&ports, "http:https:metrics");
    let mut installed = WithApp::over(Stoa::builder().ports(ports).under(line).start().await?).await?;
    let before = installed.stoa.in_charge()?;
    installed.stoa.renew().await?;
    ensure!(installed.stoa.in_charge()? != before);
    installed.stoa.retired_ended().await?;
    ensure!(installed.app.get("/").send().await?.status == 200);
    Ok(())
}

#[tokio::test]
async fn a_socket_of_systemd_that_nobody_would_serve_is_refused_by_name() -> Result<()> {
    let ports = Ports::lease()?;
    let line = activated(&ports, "https:http:metrics");
    let started = Stoa::builder().ports(ports).under(line).start().await;
    let error = format!("{:#}", started.err().context("it started")?);
    ensure!(error.contains("systemd passes the socket `https` for 127.0.0.1:"), "{error}");
    Ok(())
}

#[test]
fn the_units_are_sound_and_leave_the_service_little_to_break() -> Result<()> {
    let units = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    let dir = tempfile::tempdir()?;
    for unit in ["stoa.service", "stoa.socket"] {
        let text = std::fs::read_to_string(units.join(unit))?;
        // The program is not where it is installed.
        let text = text.replace("/usr/bin/stoa ", &format!("{} ", testkit::command::binary()?.display()));
        std::fs::write(dir.path().join(unit), text)?;
    }
    let (service, socket) = (dir.path().join("stoa.service"), dir.path().join("stoa.socket"));
    for arguments in [vec!["verify"], vec!["security", "--offline=true", "--threshold=25"]] {
        let mut command = std::process::Command::new("systemd-analyze");
        command.args(&arguments).arg(&service);
        if arguments[0] == "verify" {
            command.arg(&socket);
        }
        let said = command.output().context("install Debian's package `systemd`")?;
        ensure!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    }
    Ok(())
}
