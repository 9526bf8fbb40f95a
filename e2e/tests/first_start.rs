//! The first command of the README, in an empty directory.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testkit::api::Api;
use testkit::client;
use testkit::command::{Said, binary, run_command};
use testkit::figures::print_time;
use testkit::process::{Process, Signal, Start};
use testkit::wait;
use tokio::time::Instant;

/// The demo app's name and address, as designed.
const HOST: &str = "hello.apps.localhost";

/// The ports of a start without configuration; another test run on this machine may hold them for a while.
const PORTS: [u16; 4] = [8080, 8443, 8090, 9090];
const PATIENCE: Duration = Duration::from_secs(90);

/// `stoa up` in a directory, on the default ports.
struct FirstStart<'a> {
    process: Process,
    dir: &'a Path,
}

impl<'a> FirstStart<'a> {
    /// Starts it and waits for the first page.
    async fn start(dir: &'a Path) -> Result<Self> {
        let free = async || {
            for port in PORTS {
                TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port} is in use"))?;
            }
            Ok(())
        };
        wait::until("the default ports to be free", PATIENCE, free).await?;
        let (log, begun) = (dir.join("log"), Instant::now());
        let start = Start { name: "stoa up", log: &log, end: Signal::Kill, scratch: None };
        let mut process = Process::spawn(Command::new(binary()?).arg("up").current_dir(dir), &start)?;
        process.ready(wait::LONG, async || first_page(dir).await).await?;
        print_time("start", "first_page", begun.elapsed());
        Ok(Self { process, dir })
    }

    async fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::Int)?;
        let status = self.process.wait(wait::LONG).await?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(self.dir.join(file)).with_context(|| file.to_owned())
    }

    fn api(&self) -> Result<Api> {
        Api::new("http://127.0.0.1:8090", self.read("stoa-data/platform-key")?.trim())
    }

    /// Runs the line that was printed, as if pasted.
    async fn paste_curl_line(&self) -> Result<Said> {
        // It is printed a moment after the first page is served.
        let line = wait::until("the curl line", PATIENCE, async || {
            let log = self.read("log")?;
            let line = log.lines().find_map(|line| Some(&line[line.find("curl --cacert")?..]));
            line.map(str::to_owned).with_context(|| format!("not in:\n{log}"))
        })
        .await?;
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(self.dir);
        run_command(shell).await
    }
}

async fn first_page(dir: &Path) -> Result<()> {
    let roots = std::fs::read_to_string(dir.join("stoa-data/ca.pem"))?;
    let visitor = client::pinned(&roots, HOST, ([127, 0, 0, 1], 8443).into())?;
    client::probe(&visitor, &format!("https://{HOST}:8443/")).await
}

#[tokio::test]
async fn the_first_start_prints_a_curl_line_that_works_and_the_second_keeps_everything() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let first = FirstStart::start(dir.path()).await?;
    let said = first.paste_curl_line().await?;
    assert!(said.code == Some(0) && !said.output.is_empty(), "{said:?}");
    let (ca, key) = (first.read("stoa-data/ca.pem")?, first.read("stoa-data/platform-key")?);
    let log = first.read("log")?;
    for printed in ["https://hello.apps.localhost:8443", "http://127.0.0.1:8090", key.trim()] {
        assert!(log.contains(printed), "no {printed} in:\n{log}");
    }
    let made = first.api()?.post("/tenants", json!({ "name": "Ann", "slug": "ann" })).await?.ok()?;
    first.stop().await?;

    let second = FirstStart::start(dir.path()).await?;
    assert_eq!((second.read("stoa-data/ca.pem")?, second.read("stoa-data/platform-key")?), (ca, key));
    let kept =
        second.api()?.get(&format!("/tenants/{}", made["id"].as_str().unwrap_or_default())).await?.ok()?;
    assert_eq!(kept, made);
    assert_eq!(second.paste_curl_line().await?.code, Some(0));
    second.stop().await
}
