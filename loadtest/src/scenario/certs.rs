//! Ten thousand certificates: memory of the edge and time to start with them.

use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::Effort;
use crate::cpu;
use crate::figure::Report;
use crate::process::Process;
use crate::stoa::{Stoa, ZONE};

/// Apps share the certificates out: an app carries this many.
const APPS: usize = 100;

/// Runs the scenario: certificates for `<app>.<zone>` are uploaded, then the process is started again.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let stoa = Stoa::start(folder.path(), 0, "").await?;
    let count = if effort.quick { 1_000 } else { 10_000 };
    let before = cpu::resident_bytes(stoa.process.id())?;
    let begun = Instant::now();
    for batch in 0..count / APPS {
        upload(&stoa, batch).await?;
    }
    report.add("stoa", "uploaded", begun.elapsed().as_secs_f64(), "s");
    let growth = (cpu::resident_bytes(stoa.process.id())? - before) / as_f64(count);
    report.add("stoa", "memory_per_certificate_and_app", growth / 1024.0, "KB");
    stop(stoa.process)?;
    let begun = Instant::now();
    let stoa = Stoa::start(folder.path(), 0, "").await?;
    report.add("stoa", "restart_until_ready", begun.elapsed().as_secs_f64() * 1000.0, "ms");
    let resident = cpu::resident_bytes(stoa.process.id())?;
    report.add("stoa", "resident_after_restart", resident / 1_048_576.0, "MB");
    Ok(())
}

fn stop(process: Process) -> anyhow::Result<()> {
    process.stop()
}

fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

async fn upload(stoa: &Stoa, batch: usize) -> anyhow::Result<()> {
    let tenant = stoa.tenant(&format!("certs-{batch}")).await?;
    for at in 0..APPS {
        let name = format!("c-{batch}-{at}");
        let app = stoa.app(&tenant, &name, 9).await?;
        let made = rcgen::generate_simple_self_signed(vec![format!("{name}.{ZONE}")])?;
        let body = json!({"chain": made.cert.pem(), "key": made.signing_key.serialize_pem()});
        stoa.call(Method::POST, &format!("/apps/{app}/certificates"), Some(body)).await?;
    }
    Ok(())
}
