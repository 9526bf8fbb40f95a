//! Load from a second process: h2load, for HTTP/1.1 and HTTP/2.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::machine;

/// How much longer than its time a generator may take. On a crowded machine h2load was seen to go on for ever.
const PATIENCE_SECONDS: u32 = 30;
/// What timeout(1) says of a program that it ended.
const TIMED_OUT: i32 = 124;

/// What a generator is told.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    /// Where to; the host in it must resolve to loopback or be pinned.
    pub(crate) host: &'a str,
    /// Port on 127.0.0.1.
    pub(crate) port: u16,
    /// How long.
    pub(crate) seconds: u32,
    /// Which core the generator has.
    pub(crate) core: usize,
    /// What is asked for.
    pub(crate) path: &'a str,
}

/// What a generator saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Requests that were answered with a status of 2xx.
    pub(crate) requests: f64,
    /// Per second.
    pub(crate) requests_per_second: f64,
}

/// The protocol to speak.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    /// HTTP/1.1, 32 kept-alive connections.
    Http1,
    /// HTTP/2, 4 connections of 32 streams.
    Http2,
}

/// GET requests over TLS by h2load, which pins the address itself: the C library may not resolve
/// `*.localhost`.
///
/// # Errors
/// h2load is not installed, or an answer was not 2xx.
pub(crate) fn get(load: &Load<'_>, protocol: Protocol) -> anyhow::Result<Outcome> {
    let how = match protocol {
        Protocol::Http1 => ["--h1", "-c32", "-m1"],
        Protocol::Http2 => ["--npn-list=h2", "-c4", "-m32"],
    };
    h2load(load, Command::new(program()?).args(how))
}

/// POST requests of what is in `body` over TLS and HTTP/1.1, on 8 kept connections: few, because those that the
/// end cuts are not counted.
///
/// # Errors
/// As [`get`].
pub(crate) fn post(load: &Load<'_>, body: &Path) -> anyhow::Result<Outcome> {
    h2load(load, Command::new(program()?).args(["--h1", "-c8", "-m1", "-d"]).arg(body))
}

fn program() -> anyhow::Result<PathBuf> {
    machine::program("h2load").context("h2load is not installed (Debian: nghttp2-client)")
}

fn h2load(load: &Load<'_>, command: &mut Command) -> anyhow::Result<Outcome> {
    let connect = format!("--connect-to=127.0.0.1:{}", load.port);
    command.args([
        "-t1",
        "-D",
        &load.seconds.to_string(),
        &connect,
        &format!("https://{}:{}{}", load.host, load.port, load.path),
    ]);
    let text = output(load, command)?;
    // "status codes: 12345 2xx, 0 3xx, 0 4xx, 0 5xx"
    let line = text.lines().find(|line| line.starts_with("status codes:"));
    let line = line.with_context(|| format!("h2load said:\n{text}"))?;
    let counts: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    match counts.as_slice() {
        [ok, 0.0, 0.0, 0.0] if *ok > 0.0 => {
            Ok(Outcome { requests: *ok, requests_per_second: *ok / f64::from(load.seconds) })
        }
        _ => bail!("h2load saw failures: {line}"),
    }
}

/// What a generator of a fixed rate saw.
#[derive(Debug)]
pub(crate) struct Steady {
    /// Milliseconds of each answer of 2xx, from the request's first byte to the answer's end.
    pub(crate) millis: Vec<f64>,
    /// Requests that were answered otherwise, or not at all.
    pub(crate) failed: usize,
}

/// GET requests over TLS and HTTP/1.1 on `connections` kept connections, `rate` a second on each; `log` is
/// overwritten.
///
/// # Errors
/// h2load is not installed, or nothing was answered.
pub(crate) fn steady(load: &Load<'_>, connections: u32, rate: u32, log: &Path) -> anyhow::Result<Steady> {
    let mut command = Command::new(program()?);
    command.args(["-t1", "--h1", "-m1", &format!("-c{connections}"), &format!("--rps={rate}")]);
    command.args(["-D", &load.seconds.to_string(), &format!("--connect-to=127.0.0.1:{}", load.port)]);
    command.arg("--log-file").arg(log).arg(format!("https://{}:{}{}", load.host, load.port, load.path));
    // h2load adds to the log that is there.
    std::fs::write(log, "")?;
    output(load, &command)?;
    let text = std::fs::read_to_string(log)?;
    // Start in µs since the epoch, status (-1: none), µs until the answer's end.
    let rows = text.lines().filter_map(|line| {
        let mut fields = line.split('\t').skip(1);
        Some((fields.next()?.parse::<i32>().ok()?, fields.next()?.parse::<f64>().ok()?))
    });
    let (good, bad): (Vec<_>, Vec<_>) = rows.partition(|(status, _)| (200..300).contains(status));
    anyhow::ensure!(!good.is_empty(), "no request was answered");
    Ok(Steady { millis: good.iter().map(|(_, micros)| micros / 1e3).collect(), failed: bad.len() })
}

fn output(load: &Load<'_>, command: &Command) -> anyhow::Result<String> {
    let program = command.get_program().to_owned();
    let mut pinned = Command::new("timeout");
    pinned.arg((load.seconds + PATIENCE_SECONDS).to_string()).args(["taskset", "-c", &load.core.to_string()]);
    pinned.arg(&program).args(command.get_args());
    let output = pinned.output().context("timeout is not installed (Debian: coreutils)")?;
    if output.status.code() == Some(TIMED_OUT) {
        bail!("{} did not end when its time was over; run it again", program.to_string_lossy());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{} failed: {text}{}", program.to_string_lossy(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}
