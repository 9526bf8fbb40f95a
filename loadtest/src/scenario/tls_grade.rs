//! What testssl.sh and sslyze find on the running edge, and whether the hybrid key exchange is preferred.
//!
//! The local authority's certificates stand in for public ones. What the tools hold against the authority, and
//! would hold against no public one, is left out of the count: each finding by name, severity and words, told with
//! its reason. Any other finding at MEDIUM or above fails the run, as does one of sslyze, which knows no severity.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use testkit::tls::Tls;

use crate::Effort;
use crate::figure::{Report, number};
use crate::machine;
use crate::stoa::Stoa;

/// The app that every new installation has.
const HOST: &str = "hello.apps.localhost";
/// Seconds that a tool may take. testssl.sh takes one or two minutes.
const BOUND: &str = "400";
/// Severities of testssl.sh that count.
const SEVERE: [&str; 4] = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"];
/// Why certificates end sooner than testssl.sh 3.0 wants.
const SHORT: &str = "certificates of 47 days are what public authorities will issue from 2029 on (CA/Browser \
                     Forum, ballot SC-081v3), and the local authority issues them today";
/// Findings of testssl.sh that are the local authority's: name, severity, first words, and the reason.
const OF_AUTHORITY: [(&str, &str, &str, &str); 3] = [
    ("cert_expirationStatus", "MEDIUM", "expires < 60 days", SHORT),
    ("cert_notAfter", "MEDIUM", "", SHORT),
    (
        "cert_revocation",
        "HIGH",
        "Neither CRL nor OCSP URI provided",
        "the local authority lives on this machine and publishes no list; public ones do",
    ),
];

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stoa = Stoa::start(folder.path(), 0, "").await?;
    let edge = stoa.edge();
    let settled = Tls::trusting(&edge.roots_pem()?)?.handshake(edge.https, HOST).await?;
    let is_hybrid = settled.group == Some(rustls::NamedGroup::X25519MLKEM768);
    report.add("rustls", "x25519mlkem768", f64::from(u8::from(is_hybrid)), "of 1");
    let target = Target { roots: &edge.roots, port: edge.https.port() };
    let findings = testssl(&target, folder.path(), effort, report)? + sslyze(&target, report)?;
    ensure!(is_hybrid, "X25519MLKEM768 is not preferred: {:?} was settled on", settled.group);
    ensure!(findings == 0, "{findings} findings");
    Ok(())
}

/// What is graded.
struct Target<'a> {
    roots: &'a Path,
    port: u16,
}

/// The number of findings that count.
fn testssl(target: &Target<'_>, folder: &Path, effort: Effort, report: &mut Report) -> anyhow::Result<usize> {
    let Some(program) = machine::program("testssl") else {
        report.skip("testssl.sh", "not installed (Debian: testssl.sh)");
        return Ok(0);
    };
    let file = folder.join("testssl.json");
    let mut command = Command::new("timeout");
    command.arg(BOUND).arg(program).args(["--quiet", "--color", "0", "--warnings", "off"]);
    command.args(["--ip", "127.0.0.1", "--add-ca"]).arg(target.roots);
    if effort.quick {
        command.args(["--protocols", "--std", "--fs", "--server-defaults", "--headers"]);
        report
            .note("testssl.sh", "--quick leaves out its checks for known attacks and its client simulations");
    }
    command.arg("--jsonfile").arg(&file).arg(format!("{HOST}:{}", target.port));
    let output = command.output().context("timeout is not installed (Debian: coreutils)")?;
    let said = || format!("testssl.sh said: {}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read_to_string(&file).with_context(said)?;
    let all: Vec<Value> = serde_json::from_str(&text).with_context(said)?;
    let severe = all.iter().filter(|finding| counts(finding, report)).count();
    report.add("testssl.sh", "checks", number(all.len()), "checks");
    report.add("testssl.sh", "findings_medium_or_above", number(severe), "findings");
    Ok(severe)
}

/// Whether a finding of testssl.sh counts. Tells those that do, those that would, and what could not be looked at.
fn counts(finding: &Value, report: &mut Report) -> bool {
    let field = |name: &str| finding.get(name).and_then(Value::as_str).unwrap_or_default();
    let (id, severity, words) = (field("id"), field("severity"), field("finding"));
    let told = format!("{severity} {id}: {words}");
    if severity == "WARN" {
        report.note("testssl.sh", &format!("not checked: {told}"));
    }
    if !SEVERE.contains(&severity) {
        return false;
    }
    let known = OF_AUTHORITY.iter().find(|(known, its_severity, start, _)| {
        id == *known && severity == *its_severity && words.starts_with(start)
    });
    match known {
        Some((.., reason)) => report.note("testssl.sh", &format!("not counted: {told} ({reason})")),
        None => report.note("testssl.sh", &format!("FOUND: {told}")),
    }
    known.is_none()
}

/// The number of findings that count.
fn sslyze(target: &Target<'_>, report: &mut Report) -> anyhow::Result<usize> {
    let mut command = Command::new("sslyze");
    command.arg("--certinfo_ca_file").arg(target.roots);
    command.arg(format!("{HOST}:{}{{127.0.0.1}}", target.port));
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            report.skip("sslyze", "not on the PATH (PyPI: sslyze)");
            return Ok(0);
        }
        output => output?,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let (scan, verdict) = text
        .split_once("COMPLIANCE AGAINST")
        .with_context(|| format!("sslyze said: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let (public, ours): (Vec<&str>, Vec<&str>) =
        scan.lines().map(str::trim).filter(|line| is_fault(line)).partition(|line| is_public_store(line));
    for line in &ours {
        report.note("sslyze", &format!("FOUND: {line}"));
    }
    for line in &public {
        report.note("sslyze", &format!("not counted: {line} (browsers do not know the local authority)"));
    }
    let is_compliant = verdict.contains("OK - Compliant");
    if !is_compliant {
        report.note("sslyze", &format!("FOUND: {}", verdict.trim()));
    }
    report.add("sslyze", "findings", number(ours.len()), "findings");
    report.add("sslyze", "mozilla_intermediate", f64::from(u8::from(is_compliant)), "of 1");
    Ok(ours.len() + usize::from(!is_compliant))
}

/// sslyze says `OK - …` of what is good and `NOT SUPPORTED - …` of what may be missing.
fn is_fault(line: &str) -> bool {
    ["FAILED - ", "VULNERABLE - ", "WARNING - "].iter().any(|word| line.contains(word))
}

fn is_public_store(line: &str) -> bool {
    line.contains("CA Store (") && !line.starts_with("Supplied CA file")
}
