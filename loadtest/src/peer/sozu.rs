//! sozu 2 as a peer.

use std::path::Path;
use std::process::Command;

use super::{HOST, Peer, Plan};
use crate::process;

/// Starts it before the backend, with one worker. Its access log is on the level "info". It wants two files a
/// connection, and does not start where the machine allows fewer than that: 20,000 is common.
///
/// # Errors
/// It does not start.
pub(super) async fn proxy(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Peer> {
    let port = process::free_port()?;
    let path = plan.folder.join("sozu.toml");
    std::fs::write(&path, configuration(port, plan))?;
    let mut command = Command::new(program);
    command.arg("start").arg("--config").arg(&path);
    Peer::start("sozu", &command, port, plan).await
}

fn configuration(port: u16, plan: &Plan<'_>) -> String {
    let (folder, backend) = (plan.folder.display(), plan.backend);
    let (chain, key) = (plan.pair.chain.display(), plan.pair.key.display());
    format!(
        r#"command_socket = "{folder}/sozu.sock"
log_level = "info"
log_target = "stdout"
access_logs_target = "file://{folder}/sozu-access.log"
worker_count = 1
worker_automatic_restart = false
max_connections = 9000
max_buffers = 18000

[[listeners]]
protocol = "https"
address = "127.0.0.1:{port}"
tls_versions = ["TLS_V12", "TLS_V13"]

[listeners.hsts]
enabled = true
max_age = 31536000

[clusters.app]
protocol = "http"
load_balancing = "ROUND_ROBIN"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "{HOST}", certificate = "{chain}", certificate_chain = "{chain}", key = "{key}" }}]
backends = [{{ address = "127.0.0.1:{backend}" }}]
"#
    )
}
