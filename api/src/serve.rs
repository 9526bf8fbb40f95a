//! Serving until told to stop: requests that are under way get a bounded time to end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::door::Door;

/// How long requests may go on after the stop; an edge that waits for changes is cut off sooner or later.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a connection that was made before the stop may take to send its request.
const SILENCE: Duration = Duration::from_secs(1);

/// Tells streams, which would never end by themselves, that the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    /// Returns when the process ends.
    pub(crate) async fn told(&mut self) {
        // Without its sender the server is gone.
        let _ended = self.0.wait_for(|closing| *closing).await;
    }
}

/// Serves `router` on `listener` until `shutdown` ends, then lets requests end for at most five seconds.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stopped, stop) = oneshot::channel::<()>();
    let (ending, told) = watch::channel(false);
    let service = router.layer(Extension(Closing(told))).into_make_service_with_connect_info::<SocketAddr>();
    let (silent, close) = (Arc::new(watch::Sender::new(0)), watch::Sender::new(false));
    let mut said = silent.subscribe();
    let door = Door { listener, silent, closed: close.subscribe() };
    // Without the tap a service cannot be told the address of a listener that is not axum's own.
    let server = axum::serve(door.tap_io(|_| ()), service).with_graceful_shutdown(async move {
        shutdown.await;
        ending.send_replace(true);
        close.send_replace(true);
        let _silent = timeout(SILENCE, said.wait_for(|silent| *silent == 0)).await;
        // The receiver waits until the server has ended; nobody else is told.
        drop(stopped);
    });
    let drained = async move {
        let _ = stop.await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = drained => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        let mut answer = [0; 1024];
        let count = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    #[tokio::test]
    async fn who_came_before_the_stop_and_asks_after_it_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new().route("/", get(|| async { "yes" }));
        let serving = tokio::spawn(serve(listener, router, async move { drop(stopped.await) }));
        let mut silent = TcpStream::connect(address).await.unwrap();
        // Whoever is answered came in after the silent one.
        assert!(ask(&mut TcpStream::connect(address).await.unwrap()).await.ends_with("yes"));
        stop.send(()).unwrap();
        // One thread: the stop is known everywhere after a few turns.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(ask(&mut silent).await.ends_with("yes"));
        serving.await.unwrap().unwrap();
    }
}
