//! nginx: a peer, and the backend behind all of them.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::{Crowd, Plan};
use crate::machine;
use crate::process::{self, Process};

/// Far more than the buffers of all sockets on the way to a visitor.
const LARGE_BYTES: usize = 16 << 20;
/// A picture, or a program of a page.
const MIDDLE_BYTES: usize = 100 << 10;

/// A running nginx.
#[derive(Debug)]
pub(crate) struct Nginx {
    /// Its master process.
    pub(crate) process: Process,
    /// The port it listens on.
    pub(crate) port: u16,
}

impl Nginx {
    /// Starts the backend of all peers: 1 KB from memory at `/`, 100 KB at `/100k`, 16 MB at `/large`, kept-alive
    /// connections, no log. `/missing` answers 404 and `/broken` 500. `/form` and, from memory and up to 2 MB,
    /// `/upload` answer when the request's body is there. It has all the patience that an edge may be tested for.
    ///
    /// # Errors
    /// nginx is not installed or does not start.
    pub(crate) async fn backend(folder: &Path, core: usize) -> anyhow::Result<Self> {
        let body = "x".repeat(1024);
        std::fs::write(folder.join("large"), vec![b'x'; LARGE_BYTES])?;
        std::fs::write(folder.join("100k"), vec![b'x'; MIDDLE_BYTES])?;
        let root = folder.display().to_string();
        let server = |port| {
            format!(
                "upstream self {{ server 127.0.0.1:{port}; keepalive 16; }}
server {{
  listen 127.0.0.1:{port} reuseport; keepalive_requests 1000000000;
  client_body_timeout 600s; send_timeout 600s;
  location / {{ default_type text/plain; return 200 \"{body}\"; }}
  location = /large {{ root {root}; default_type text/plain; }}
  location = /100k {{ root {root}; default_type text/plain; }}
  location = /missing {{ return 404 \"missing\"; }}
  location = /broken {{ return 500 \"broken\"; }}
  location = /form {{ proxy_pass http://127.0.0.1:{port}/; }}
  location = /upload {{
    client_max_body_size 2m; client_body_buffer_size 2m;
    proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length \"\";
    proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass http://self/;
  }}
}}"
            )
        };
        Self::start(folder, "backend", core, server).await
    }

    /// Starts nginx as a TLS proxy before the backend, configured as a fair peer: one worker, tickets, kept
    /// upstream connections, bodies handed on as they come, HSTS and forwarding headers, access log on as Stoa's is.
    ///
    /// # Errors
    /// nginx is not installed or does not start.
    pub(super) async fn proxy(plan: &Plan<'_>) -> anyhow::Result<Self> {
        let Plan { folder, core, backend, pair, routes } = plan;
        let (chain, key) = (pair.chain.display().to_string(), pair.key.display().to_string());
        let log = folder.join("proxy-access.log").display().to_string();
        let map: String = routes.iter().map(|route| format!("{} {};\n", route.host, route.pool())).collect();
        let others = super::other_ports(routes).into_iter();
        let others = others.map(|port| {
            format!("upstream {} {{ server 127.0.0.1:{port}; keepalive 256; }}\n", super::pool(port))
        });
        let others: String = others.collect();
        // Where there is one host, nobody asks for another, and nginx is not made to look.
        let unknown = if routes.len() > 1 { r#"if ($pool = "") { return 404; }"# } else { "" };
        let server = |port| {
            format!(
                r#"map_hash_max_size 65536; map_hash_bucket_size 128;
map $host $pool {{ default ""; {map} }}
{others}log_format json escape=json '{{"time":"$time_iso8601","client":"$remote_addr","host":"$host","method":"$request_method","uri":"$uri","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,"agent":"$http_user_agent"}}';
upstream app {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}
server {{
  listen 127.0.0.1:{port} ssl http2; server_name _;
  ssl_certificate {chain}; ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on; ssl_ecdh_curve X25519:prime256v1;
  keepalive_requests 1000000000; http2_max_requests 1000000000;
  access_log {log} json buffer=64k flush=1s;
  location / {{
    {unknown}
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    add_header Strict-Transport-Security "max-age=31536000";
    client_max_body_size 0; proxy_request_buffering off; client_body_buffer_size 64k;
    proxy_buffers 16 16k; proxy_pass http://$pool;
  }}
  location = /ws {{
    proxy_http_version 1.1; proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto https; proxy_pass http://$pool;
  }}
}}"#
            )
        };
        Self::start(folder, "proxy", *core, server).await
    }

    /// Starts nginx as a TLS proxy for many names, a server for each with the certificate and key in
    /// `<folder>/<name>.pem`. That is how it is told so, and how it has them in memory before a visitor comes.
    ///
    /// # Errors
    /// nginx is not installed or does not start.
    pub(super) async fn for_names(crowd: &Crowd<'_>) -> anyhow::Result<Self> {
        let Crowd { folder, core, names, .. } = crowd;
        let server = |port| {
            let server = |name: &String| {
                let pem = crowd.pem(name);
                format!(
                    "server {{ listen 127.0.0.1:{port} ssl; server_name {name}; ssl_certificate {pem}; \
                     ssl_certificate_key {pem}; location / {{ proxy_pass http://127.0.0.1:9; }} }}\n"
                )
            };
            let servers: String = names.iter().map(server).collect();
            format!(
                "server_names_hash_max_size 1048576; server_names_hash_bucket_size 128;\n\
                 ssl_protocols TLSv1.2 TLSv1.3;\n{servers}"
            )
        };
        Self::start(folder, "names", *core, server).await
    }

    async fn start(
        folder: &Path,
        name: &str,
        core: usize,
        server: impl Fn(u16) -> String,
    ) -> anyhow::Result<Self> {
        let nginx = machine::program("nginx").context("nginx is not installed (Debian: nginx-light)")?;
        let port = process::free_port()?;
        let place = folder.display();
        let configuration = format!(
            "worker_processes 1; daemon off; pid {place}/{name}.pid; error_log stderr crit;\n\
             events {{ worker_connections 16384; }}\n\
             http {{ access_log off; tcp_nodelay on; client_body_temp_path {place}/{name}-body; proxy_temp_path {place}/{name}-proxy;\n{} }}\n",
            server(port)
        );
        let path = folder.join(format!("{name}.conf"));
        std::fs::write(&path, configuration)?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(folder).arg("-c").arg(&path);
        let process = Process::start(&command, core, &folder.join(format!("{name}.log")))?;
        process::listening(port).await.with_context(|| {
            format!(
                "nginx said: {}",
                std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default()
            )
        })?;
        Ok(Self { process, port })
    }
}
