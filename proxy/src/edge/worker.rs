//! A thread that serves: accepts connections and forwards their requests with a pingora of its own.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use pingora_core::apps::{HttpServerApp as _, HttpServerOptions};
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::TcpListener;

use super::Shared;
use super::signals::{Flags, wait_for};
use crate::direct::Lines;
use crate::forward::ATTEMPTS;
use crate::hooks::Hooks;
use crate::listen::{self, Protection, Worker};
use crate::settings::Settings;

/// Connections to backends that one worker keeps.
const KEPT_CONNECTIONS: usize = 256;
/// How much longer than the guard the HTTP/2 library waits for an idle connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a worker thread starts with.
pub(super) struct Plan {
    pub(super) edge: Arc<Shared>,
    pub(super) conf: Arc<ServerConf>,
    pub(super) sockets: Vec<(std::net::TcpListener, Protection)>,
    pub(super) flags: Flags,
    pub(super) ready: mpsc::Sender<()>,
}

impl Plan {
    pub(super) async fn run(self) {
        let Flags { draining, mut closing, mut stopped, .. } = self.flags;
        let lines = Arc::<Lines>::default();
        let proxy = Arc::new(proxy(&self.conf, &self.edge, &lines));
        let worker =
            Worker { edge: self.edge, proxy: Arc::clone(&proxy), draining, closing: closing.clone() };
        for (socket, protection) in self.sockets {
            match TcpListener::from_std(socket) {
                Ok(listener) => drop(tokio::spawn(listen::accept(worker.clone(), listener, protection))),
                Err(error) => {
                    tracing::error!(%error, "a worker cannot listen");
                    return;
                }
            }
        }
        // An error means that the start was given up.
        let _told = self.ready.send(());
        drop(worker);
        drop(tokio::spawn(async move { lines.run().await }));
        wait_for(&mut closing).await;
        proxy.http_cleanup().await;
        wait_for(&mut stopped).await;
    }
}

fn proxy(conf: &Arc<ServerConf>, edge: &Arc<Shared>, lines: &Arc<Lines>) -> HttpProxy<Hooks> {
    let mut proxy = http_proxy(conf, Hooks { edge: Arc::clone(edge), lines: Arc::clone(lines) });
    let mut options = HttpServerOptions::default();
    // The guard ends idle connections with a farewell. This is for streams that it takes for open because the
    // visitor does not take the end of their answers.
    options.h2_idle_timeout = Some(edge.deadlines.idle + FAREWELL);
    // So that CONNECT comes to our own refusal, which is logged and counted.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    proxy.h2_options = Some(h2_options());
    proxy
}

/// What HTTP/2 offers to visitors, all of it stated but the budget for small DATA frames, which follows the
/// window. Extended CONNECT (RFC 8441) is not offered.
fn h2_options() -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(100)
        .max_frame_size(16 << 10)
        // Above what `head` takes, so that a visitor with large cookies gets a page.
        .max_header_list_size(64 << 10)
        .header_table_size(4 << 10)
        // One upload that its app does not take must not block three others.
        .initial_window_size(64 << 10)
        .initial_connection_window_size(256 << 10)
        .max_send_buffer_size(128 << 10)
        // The guard ends floods earlier; these are a second line.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(64))
        .max_concurrent_reset_streams(50)
        .reset_stream_duration(Duration::from_secs(1));
    options
}

/// What pingora is told; everything else about it is decided request by request.
pub(super) fn server_conf(settings: &Settings) -> Arc<ServerConf> {
    Arc::new(ServerConf {
        threads: 1,
        max_retries: ATTEMPTS,
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        ca_file: settings.backend_ca_file.as_ref().map(|path| path.to_string_lossy().into_owned()),
        ..ServerConf::default()
    })
}
