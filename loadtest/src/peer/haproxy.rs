//! HAProxy as a peer.

use std::path::Path;
use std::process::Command;

use super::{Crowd, Peer, Plan};
use crate::process;

/// Starts it before the backend. Its access log goes to standard output, which is a file: it knows no other.
///
/// # Errors
/// It does not start.
pub(super) async fn proxy(program: &Path, plan: &Plan<'_>) -> anyhow::Result<Peer> {
    let port = process::free_port()?;
    let (pem, map) = (plan.pair.both.display(), plan.folder.join("hosts.map"));
    let lines = plan.routes.iter().map(|route| format!("{} {}\n", route.host, route.pool()));
    std::fs::write(&map, lines.collect::<String>())?;
    // Without `retries 0` it waits for a second, and again, before it says that a port is closed.
    let others = super::other_ports(plan.routes).into_iter().map(|port| {
        let name = super::pool(port);
        format!("backend {name}\n  retries 0\n  server other 127.0.0.1:{port} pool-max-conn 256\n")
    });
    let others: String = others.collect();
    let (map, backend) = (map.display(), plan.backend);
    let configuration = format!(
        "global
  nbthread 1
  maxconn 16384
  no strict-limits
  log stdout format raw local0
  tune.bufsize 16384
  tune.ssl.cachesize 0
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend tls
  bind 127.0.0.1:{port} ssl crt {pem} alpn h2,http/1.1 curves X25519:prime256v1 strict-sni
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  http-response set-header Strict-Transport-Security max-age=31536000
  use_backend %[req.hdr(host),field(1,:),lower,map({map},none)]
backend app
  server backend 127.0.0.1:{backend} pool-max-conn 256
backend none
  http-request deny deny_status 404
{others}"
    );
    let path = plan.folder.join("haproxy.cfg");
    std::fs::write(&path, configuration)?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&path);
    Peer::start("haproxy", &command, port, plan).await
}

/// Starts it with every certificate of a crowd's folder.
///
/// # Errors
/// It does not start.
pub(super) async fn for_names(program: &Path, crowd: &Crowd<'_>) -> anyhow::Result<Peer> {
    let port = process::free_port()?;
    let folder = crowd.pems.display();
    let configuration = format!(
        "global
  nbthread 1
  tune.ssl.cachesize 0
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tls
  bind 127.0.0.1:{port} ssl crt {folder} alpn h2,http/1.1 strict-sni
  http-request deny deny_status 404
"
    );
    let path = crowd.folder.join("haproxy-names.cfg");
    std::fs::write(&path, configuration)?;
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(&path);
    Peer::start_on("haproxy", &command, port, (crowd.core, crowd.folder)).await
}
