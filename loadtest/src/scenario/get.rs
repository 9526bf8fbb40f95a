//! GET requests on kept connections through Stoa and its peers.

use super::beside::Field;
use crate::Effort;
use crate::figure::Report;
use crate::generator::{self, Load, Protocol};
use crate::peer::HOST;

/// Runs the scenario for what is at `path`.
pub(super) async fn run(
    path: &str,
    protocol: Protocol,
    effort: Effort,
    report: &mut Report,
) -> anyhow::Result<()> {
    let Some(field) = Field::open(report).await? else { return Ok(()) };
    let core = field.core;
    let get = async |port, seconds| generator::get(&Load { host: HOST, port, seconds, core, path }, protocol);
    field.compare(effort, report, get).await
}
