//! An app that gets certificates by itself: other people's ACME clients prove a name through the edge, beside our own.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use testkit::ports::Port;
use testkit::process::{Process, Signal, Start};
use testkit::wait;

use crate::installation::{Acme, WithApp, connect};

const HOST: &str = "own.example.test";

/// The app: a web server on a folder.
async fn serve(folder: &Path, log: &Path) -> Result<(Process, Port)> {
    let port = Port::lease()?;
    let number = port.number().to_string();
    let mut command = Command::new("python3");
    command.args(["-m", "http.server", &number, "--bind", "127.0.0.1", "--directory"]).arg(folder);
    let start = Start { name: "python3", log, end: Signal::Kill, scratch: None };
    let mut process = Process::spawn(&mut command, &start).context("install Debian's package `python3`")?;
    process.ready(Duration::from_secs(20), async || port.probe().await).await?;
    Ok((process, port))
}

async fn run(mut command: Command, package: &str) -> Result<()> {
    let output: Output = tokio::task::spawn_blocking(move || command.output())
        .await?
        .with_context(|| format!("install Debian's package `{package}`"))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{package}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

fn verify(roots: &Path, chain: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args(["verify", "-verify_hostname", HOST, "-CAfile"])
        .arg(roots)
        .arg("-untrusted")
        .args([chain, chain])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn lego_and_certbot_behind_the_edge_prove_its_names_while_it_keeps_its_own_certificate() -> Result<()> {
    let (acme, WithApp { stoa, tenant, .. }) = &Acme::start(None).await?;
    let dir = tempfile::tempdir()?;
    let (folder, lego_dir, certbot_dir) =
        (dir.path().join("www"), dir.path().join("lego"), dir.path().join("certbot"));
    std::fs::create_dir(&folder)?;
    let (_app, port) = serve(&folder, &dir.path().join("log")).await?;
    let backends = json!([{ "url": format!("http://{}", port.address()) }]);
    let app = tenant.app_with(json!({ "name": "own", "backends": backends })).await?;
    let domain = app.domain(HOST).await?;
    connect(&acme.dns, &domain).await?;
    domain.until("live", wait::LONG * 3).await?;
    let edge = acme.edge(stoa);
    let serial = edge.tls()?.handshake(edge.https, HOST).await?.serial()?;

    let mut lego = Command::new("lego");
    lego.env("LEGO_CA_CERTIFICATES", acme.ca_file()).args(["--server", acme.directory(), "--accept-tos"]);
    lego.args(["--email", "ann@example.com", "--domains", HOST, "--http", "--http.webroot"]).arg(&folder);
    lego.arg("--path").arg(&lego_dir).arg("run");
    run(lego, "lego").await?;
    verify(&acme.roots(), &lego_dir.join(format!("certificates/{HOST}.crt")))?;

    let mut certbot = Command::new("certbot");
    certbot.env("REQUESTS_CA_BUNDLE", acme.ca_file());
    certbot.args(["certonly", "--non-interactive", "--agree-tos", "--email", "ann@example.com"]);
    certbot
        .args(["--server", acme.directory(), "--domain", HOST, "--webroot", "--webroot-path"])
        .arg(&folder);
    for part in ["config", "work", "logs"] {
        certbot.arg(format!("--{part}-dir")).arg(certbot_dir.join(part));
    }
    run(certbot, "certbot").await?;
    verify(&acme.roots(), &certbot_dir.join(format!("config/live/{HOST}/fullchain.pem")))?;

    let now = edge.tls()?.handshake(edge.https, HOST).await?.serial()?;
    ensure!(now == serial, "their certificates are theirs");
    Ok(())
}
