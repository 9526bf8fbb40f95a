//! What a release is trained by: Stoa alone under the work that most of its time goes to.
//!
//! A compiler that has seen which branches are taken lays out the code for them (profile-guided optimisation). The
//! process is asked to end, for only then an instrumented binary writes down what it saw.

use super::handshake::{Kind, shake};
use crate::generator::{self, Load, Protocol};
use crate::machine;
use crate::peer::{HOST, Nginx};
use crate::stoa::Stoa;

/// Seconds of each kind of work; far more than it takes to see every branch often.
const SECONDS: u32 = 4;

/// Runs it.
///
/// # Errors
/// What it needs is missing, or an answer was wrong.
pub(crate) async fn run() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let core = machine::cores().saturating_sub(1);
    machine::stay_on(core)?;
    let backend = Nginx::backend(folder.path(), core).await?;
    let stoa = Stoa::start(folder.path(), 0, "").await?;
    let tenant = stoa.tenant("bench").await?;
    stoa.app(&tenant, "bench", backend.port).await?;
    let port = stoa.https;
    for (path, protocol) in [
        ("/", Protocol::Http1),
        ("/", Protocol::Http2),
        ("/100k", Protocol::Http1),
        ("/100k", Protocol::Http2),
    ] {
        generator::get(&Load { host: HOST, port, seconds: SECONDS, core, path }, protocol)?;
        told(path, &format!("{protocol:?}"));
    }
    for kind in [Kind::Full, Kind::Resumed, Kind::Hybrid] {
        shake(kind, port, SECONDS).await?;
        told("handshake", &format!("{kind:?}"));
    }
    stoa.process.stop()
}

fn told(what: &str, how: &str) {
    println!("rehearsed: {what} {how}");
}
