//! Caddy as a peer.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Crowd, HOST, Peer, Plan};
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

/// Starts it with every certificate of a crowd's folder.
///
/// # Errors
/// It does not start.
pub(super) async fn for_names(program: &Path, crowd: &Crowd<'_>) -> anyhow::Result<Peer> {
    let port = process::free_port()?;
    let refuse = json!([{"handle": [{"handler": "static_response", "status_code": 404}]}]);
    let server = json!({
        "listen": [format!("127.0.0.1:{port}")],
        "automatic_https": {"disable": true},
        "tls_connection_policies": [{}],
        "routes": refuse,
    });
    let configuration = json!({
        "admin": {"disabled": true},
        "logging": {"logs": {"default": {"level": "ERROR"}}},
        "apps": {
            "tls": {"certificates": {"load_folders": [crowd.pems]}},
            "http": {"servers": {"names": server}},
        },
    });
    let path = crowd.folder.join("caddy-names.json");
    std::fs::write(&path, configuration.to_string())?;
    let mut command = Command::new("env");
    command.args(["GOMAXPROCS=1", &format!("HOME={}", crowd.folder.display())]).arg(program);
    command.args(["run", "--config"]).arg(&path);
    Peer::start_on("caddy", &command, port, (crowd.core, crowd.folder)).await
}

/// Starts it with a configuration of its own, which has it listen on that port.
///
/// # Errors
/// It does not start.
pub(crate) async fn with(
    program: &Path,
    folder: &Path,
    (port, configuration): (u16, &serde_json::Value),
) -> anyhow::Result<Peer> {
    let path = folder.join("caddy.json");
    std::fs::write(&path, configuration.to_string())?;
    let mut command = Command::new("env");
    command.arg(format!("HOME={}", folder.display())).arg(program).args(["run", "--config"]).arg(&path);
    Peer::start_on("caddy", &command, port, (0, folder)).await
}
