//! Backends of other makes that write down each request that they understood: a real nginx (Debian's
//! `nginx-light`) and a server on Python's `http.server`. What two of them see alike, an edge has sent once.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::{Process, Signal, Start};

/// Answers 200 to everything whose body it has read whole, and writes it down.
const PYTHON: &str = include_str!("witness/server.py");

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// nginx.
    Nginx,
    /// Python's `http.server`.
    Python,
}

/// A running backend, ended when dropped.
#[derive(Debug)]
pub struct Witness {
    _process: Process,
    port: Port,
    seen: PathBuf,
    _inner: Port,
    _dir: TempDir,
}

/// One request as a backend understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Method and target.
    pub line: String,
    /// Its body.
    pub body: String,
}

impl Witness {
    /// Starts one.
    ///
    /// # Errors
    /// If the program is not installed or does not start, with its log.
    pub async fn start(make: Make) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("stoa-witness-").tempdir()?;
        let (port, inner, seen) = (Port::lease()?, Port::lease()?, dir.path().join("seen"));
        let (mut command, name) = match make {
            Make::Nginx => {
                let conf = dir.path().join("nginx.conf");
                std::fs::write(&conf, nginx(&dir, port.number(), inner.number()))?;
                let mut command = Command::new("/usr/sbin/nginx");
                command.arg("-c").arg(&conf).arg("-p").arg(dir.path()).args(["-e", "stderr"]);
                (command, "nginx")
            }
            Make::Python => {
                let script = dir.path().join("server.py");
                std::fs::write(&script, PYTHON)?;
                let mut command = Command::new("python3");
                command.arg(&script).arg(port.number().to_string()).arg(&seen);
                (command, "python3")
            }
        };
        let log = dir.path().join("log");
        let start = Start { name, log: &log, end: Signal::Kill, scratch: Some(dir.path()) };
        let mut process = Process::spawn(&mut command, &start)
            .context("install Debian's packages `nginx-light` and `python3`")?;
        process.ready(Duration::from_secs(20), async || port.probe().await).await?;
        Ok(Self { _process: process, port, seen, _inner: inner, _dir: dir })
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    /// The requests that it understood so far, in order.
    ///
    /// # Errors
    /// If what it wrote down cannot be read.
    pub fn seen(&self) -> Result<Vec<Seen>> {
        let text = std::fs::read_to_string(&self.seen).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>()?;
        let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let whole = lines.iter().filter(|line| line["status"] == "200");
        Ok(whole.map(|line| Seen { line: word(line, "line"), body: word(line, "body") }).collect())
    }
}

/// One process that reads bodies before it passes them to itself: only then it can write them down.
fn nginx(dir: &TempDir, port: u16, inner: u16) -> String {
    let dir = dir.path().display();
    format!(
        "daemon off; master_process off; pid {dir}/pid; events {{}}\n\
         http {{\n\
         client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;\n\
         uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; client_body_buffer_size 1m;\n\
         large_client_header_buffers 8 64k; client_body_in_single_buffer on; keepalive_requests 100000;\n\
         log_format seen escape=json '{{\"line\":\"$request_method $request_uri\",\"body\":\"$request_body\",\"status\":\"$status\"}}';\n\
         server {{ listen 127.0.0.1:{port}; access_log {dir}/seen seen;\n\
         location / {{ proxy_pass http://127.0.0.1:{inner}; }} }}\n\
         server {{ listen 127.0.0.1:{inner}; access_log off; location / {{ return 200 ok; }} }}\n\
         }}\n"
    )
}
