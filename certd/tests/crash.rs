//! Crashes between any two messages to the authority: a relay before Pebble counts them and holds the line
//! at the one it was told, before it arrives or before its answer does; certd is cut off there and begun
//! anew.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use certd::{Acme, Settings};
use futures_util::StreamExt as _;
use futures_util::stream;
use store::{Access, CertificateFilter, OrderState, Page};
use testkit::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::rig::{BOUND, Rig};

/// More messages than an order needs, account and handshake included; beyond its end nothing happens.
const MESSAGES: usize = 22;
/// Orders at a time.
const AT_A_TIME: usize = 6;

#[derive(Debug, Clone, Copy)]
enum Hold {
    /// The authority never gets the message.
    Message,
    /// The authority gets the message; its answer never arrives.
    Answer,
}

#[tokio::test]
async fn a_crash_at_any_message_loses_no_certificate_and_makes_none_twice() {
    let Some(rig) = Rig::start(None).await else { return };
    let cases = (1..=MESSAGES).flat_map(|at| [(at, Hold::Message), (at, Hold::Answer)]);
    let crashes: Vec<bool> = stream::iter(cases)
        .map(|(at, hold)| survive(&rig, at, hold))
        .buffer_unordered(AT_A_TIME)
        .filter(|crashed| std::future::ready(*crashed))
        .collect()
        .await;
    // Account, contact, order, authorization, challenge, looks, finalize, certificate: twice each.
    assert!(crashes.len() >= 24, "{}", crashes.len());
}

/// One order with one crash; whether it came to the crash.
async fn survive(rig: &Rig, at: usize, hold: Hold) -> bool {
    let relay = Relay::start(rig.pebble.directory_url.clone(), at, hold).await;
    let installation = rig.installation().await;
    let acme = Acme { directory: relay.directory(), ..rig.acme() };
    let settings =
        Settings { acme: Some(acme), lease: Duration::from_secs(2), probe: None, ..rig.settings() };
    let domain = installation.add_domain(&format!("{hold:?}-{at}.example.com")).await;
    rig.connect(&domain).await;

    let certd = installation.start(settings.clone()).await;
    let host = domain.host.to_string();
    let crashed = tokio::select! {
        () = relay.reached.notified() => true,
        _ = installation.until_serial(&host, None) => false,
    };
    certd.task.abort();
    relay.free.store(true, Ordering::SeqCst);
    let before = installation.store.latest_order(&domain.host).await.unwrap();

    let certd = installation.start(settings).await;
    let order = until("the order to be done", BOUND, async || {
        let order = installation.store.latest_order(&domain.host).await?;
        ensure!(
            order.as_ref().is_some_and(|order| order.state == OrderState::Done),
            "{at} {hold:?}: {order:?}"
        );
        Ok(order)
    });
    let order = order.await.unwrap();
    assert_eq!(order.map(|order| order.id), before.map(|order| order.id));
    let filter = CertificateFilter { name: Some(domain.host.clone()), ..CertificateFilter::default() };
    let all = installation.store.certificates(Access::Platform, &filter, &Page::first(10)).await.unwrap();
    assert_eq!(all.items.len(), 1, "{at} {hold:?}");
    certd.stop().await.unwrap();
    crashed
}

/// Passes bytes on and counts the client's messages: runs of bytes between two of the authority's.
struct Relay {
    address: SocketAddr,
    reached: Arc<Notify>,
    /// Nothing is held any more.
    free: Arc<AtomicBool>,
}

struct Line {
    authority: String,
    messages: AtomicUsize,
    at: usize,
    hold: Hold,
    reached: Arc<Notify>,
    free: Arc<AtomicBool>,
}

impl Relay {
    async fn start(directory: String, at: usize, hold: Hold) -> Self {
        let authority = directory.trim_start_matches("https://").trim_end_matches("/dir").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reached, free) = (Arc::<Notify>::default(), Arc::<AtomicBool>::default());
        let messages = AtomicUsize::new(0);
        let (told, freed) = (Arc::clone(&reached), Arc::clone(&free));
        let line = Arc::new(Line { authority, messages, at, hold, reached: told, free: freed });
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = Arc::clone(&line);
                tokio::spawn(async move { drop(line.pass(client).await) });
            }
        });
        Self { address, reached, free }
    }

    fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.address.port())
    }
}

impl Line {
    async fn pass(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut authority = TcpStream::connect(&self.authority).await?;
        let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let (mut is_new, mut is_held) = (true, false);
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let bytes = read?;
                    if bytes == 0 {
                        return Ok(());
                    }
                    if is_new && self.messages.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
                        is_held = !self.free.load(Ordering::SeqCst);
                    }
                    is_new = false;
                    if is_held && matches!(self.hold, Hold::Message) {
                        return self.cut().await;
                    }
                    authority.write_all(&up[..bytes]).await?;
                }
                read = authority.read(&mut down) => {
                    let bytes = read?;
                    if bytes == 0 {
                        return Ok(());
                    }
                    is_new = true;
                    if is_held {
                        return self.cut().await;
                    }
                    client.write_all(&down[..bytes]).await?;
                }
            }
        }
    }

    /// Tells that the place is reached, and leaves the client in the dark until it is gone.
    async fn cut(&self) -> std::io::Result<()> {
        self.reached.notify_one();
        std::future::pending().await
    }
}
