//! Uploads of 1 MB on kept connections through Stoa and its peers, all of which hand a body on as it comes.

use super::beside::Field;
use crate::Effort;
use crate::figure::Report;
use crate::generator::{self, Load};
use crate::peer::HOST;

/// Bytes of a body: a picture of a telephone.
const BODY_BYTES: usize = 1 << 20;

/// Runs the scenario.
pub(super) async fn run(effort: Effort, report: &mut Report) -> anyhow::Result<()> {
    let Some(field) = Field::open(report).await? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let (core, body) = (field.core, folder.path().join("body"));
    std::fs::write(&body, vec![b'x'; BODY_BYTES])?;
    let post = async |port, seconds| {
        generator::post(&Load { host: HOST, port, seconds, core, path: "/upload" }, &body)
    };
    field.compare(effort, report, post).await
}
