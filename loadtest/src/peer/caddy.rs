//! Caddy as a peer.

use std::path::Path;
use std::process::Command;

use super::{HOST, Peer, Plan};
use crate::process;

/// Starts it before the backend, on one processor as Go counts them.
///
/// # Errors
/// It does not start.
pub(super) async fn proxy(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Peer> {
    let port = process::free_port()?;
    let (chain, key) = (plan.pair.chain.display(), plan.pair.key.display());
    let (folder, backend) = (plan.folder.display(), plan.backend);
    let configuration = format!(
        "{{
  admin off
  auto_https off
  persist_config off
  log {{
    level ERROR
  }}
}}
https://{HOST}:{port} {{
  bind 127.0.0.1
  tls {chain} {key} {{
    curves x25519mlkem768 x25519
  }}
  log {{
    output file {folder}/caddy-access.log
    format json
  }}
  header Strict-Transport-Security max-age=31536000
  reverse_proxy 127.0.0.1:{backend} {{
    transport http {{
      keepalive_idle_conns_per_host 256
    }}
  }}
}}
"
    );
    let path = plan.folder.join("Caddyfile");
    std::fs::write(&path, configuration)?;
    let mut command = Command::new("env");
    command.args(["GOMAXPROCS=1", &format!("HOME={folder}")]).arg(program);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&path);
    Peer::start("caddy", &command, port, plan).await
}
