//! Caddy: on demand, asking a permission endpoint that always agrees, or with all hosts in its list from the start.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{Proxy, Scene};
use crate::peer::{self, Peer};
use crate::process;

pub(super) struct Caddy {
    peer: Option<Peer>,
    port: u16,
    /// What it is started with once all hosts are known; none: it runs.
    later: Option<Later>,
    _permission: JoinSet<()>,
}

struct Later {
    program: PathBuf,
    folder: PathBuf,
    hosts: Vec<String>,
}

/// A Caddy that makes certificates when a visitor comes.
pub(super) async fn on_demand(program: &Path, scene: &Scene, folder: &Path) -> anyhow::Result<Caddy> {
    let (port, listener) = (process::free_port()?, TcpListener::bind(("127.0.0.1", 0)).await?);
    let endpoint = format!("http://{}/", listener.local_addr()?);
    let mut permission = JoinSet::new();
    permission.spawn(agree(listener));
    let policy = json!([{"on_demand": true, "issuers": [issuer(scene)]}]);
    let demand = json!({"permission": {"module": "http", "endpoint": endpoint}});
    let tls = json!({"automation": {"policies": policy, "on_demand": demand}});
    let folder = folder.join("caddy-on-demand");
    let peer = start(program, &folder, (port, scene.http), tls).await?;
    Ok(Caddy { peer: Some(peer), port, later: None, _permission: permission })
}

/// A Caddy that is started as soon as its hosts are known.
pub(super) fn from_a_list(program: &Path, _: &Scene, folder: &Path) -> anyhow::Result<Caddy> {
    let later = Later { program: program.to_owned(), folder: folder.join("caddy-list"), hosts: Vec::new() };
    Ok(Caddy { peer: None, port: process::free_port()?, later: Some(later), _permission: JoinSet::new() })
}

async fn agree(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = [0; 2048];
        // Whoever goes away was not waiting.
        let _asked = stream.read(&mut head).await;
        let _told =
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    }
}

fn issuer(scene: &Scene) -> Value {
    json!({
        "module": "acme",
        "ca": scene.pebble.directory_url,
        "trusted_roots_pem_files": [scene.pebble.ca_file],
        "challenges": {"http": {"alternate_port": scene.http}, "tls-alpn": {"disabled": true}},
    })
}

async fn start(program: &Path, folder: &Path, (https, http): (u16, u16), tls: Value) -> anyhow::Result<Peer> {
    std::fs::create_dir_all(folder)?;
    let route = json!([{"handle": [{"handler": "static_response", "status_code": 200}]}]);
    let server = json!({
        "listen": [format!("127.0.0.1:{https}")],
        "automatic_https": {"disable_redirects": true},
        "tls_connection_policies": [{}],
        "routes": route,
    });
    let configuration = json!({
        "admin": {"disabled": true},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "storage": {"module": "file_system", "root": folder.join("storage")},
        "apps": {"tls": tls, "http": {"http_port": http, "https_port": https, "servers": {"names": server}}},
    });
    peer::caddy_with(program, folder, (https, &configuration)).await
}

#[async_trait]
impl Proxy for Caddy {
    fn name(&self) -> &'static str {
        "caddy"
    }

    fn port(&self) -> u16 {
        self.port
    }

    async fn connect(&mut self, scene: &Scene, host: &str, is_sound: bool) -> anyhow::Result<()> {
        if is_sound {
            scene.dns.add_a(host, [127, 0, 0, 1].into()).await?;
        }
        if let Some(later) = &mut self.later {
            later.hosts.push(host.to_owned());
        }
        Ok(())
    }

    async fn connected(&mut self, scene: &Scene) -> anyhow::Result<()> {
        if let Some(Later { program, folder, hosts }) = self.later.take() {
            let policies = json!([{"issuers": [issuer(scene)]}]);
            let tls = json!({"certificates": {"automate": hosts}, "automation": {"policies": policies}});
            self.peer = Some(start(&program, &folder, (self.port, scene.http), tls).await?);
        }
        Ok(())
    }
}
