//! Where creators cannot make us go: networks of our own, by whatever way they are named.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use certd::dns::{Kind, Lookup, LookupError, Value};
use certd::{Connect, Settings};
use model::domain::connection::{ConnectionStatus, Connector, Door, Step, Trouble};
use model::net::Networks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Story;
use crate::rig::Running;

const KEY: &str = "TgoKbCUHGYVfxZCeROJqxTNDGmGbodnOXyGabeTgLQg=";

/// A server of ours that nobody may be led to: counts who comes, and sends them on to `onward`.
struct Canary {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Canary {
    async fn start(onward: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, visits) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&visits);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let Some(onward) = onward else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = format!(
                    "HTTP/1.1 302 Found\r\nlocation: http://{onward}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, visits, task }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Names whose addresses differ from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Fickle {
    names: HashMap<&'static str, Vec<IpAddr>>,
    looks: AtomicUsize,
}

#[async_trait]
impl Lookup for Fickle {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        let Some(addresses) = self.names.get(name).filter(|_| kind == Kind::A || kind == Kind::Aaaa) else {
            return Ok(Vec::new());
        };
        let look = if kind == Kind::A { self.looks.fetch_add(1, Ordering::SeqCst) } else { 0 };
        let now = addresses.get(look).or(addresses.last()).copied();
        Ok(now.filter(|now| now.is_ipv4() == (kind == Kind::A)).map(Value::Address).into_iter().collect())
    }
}

async fn start(story: &Story, lookup: Fickle, networks: Networks) -> Running {
    let settings = Settings { connect: Connect { networks, ..Connect::default() }, ..Settings::default() };
    story.start_with(settings, lookup).await
}

fn power(url: String) -> Door {
    Door { url: Some(url), ..Door::to(Connector::PowerDns) }
}

fn updates(server: String) -> Door {
    Door { server: Some(server), key_name: Some("stoa-key".to_owned()), ..Door::to(Connector::Rfc2136) }
}

#[tokio::test]
async fn no_address_of_ours_is_asked_for_a_creator() {
    let canary = Canary::start(None).await;
    let port = canary.address.port();
    let story = Story::of("www.example.com").await;
    let inside = vec![IpAddr::from([127, 0, 0, 1])];
    let linked = vec![IpAddr::from([169, 254, 169, 254])];
    let names = HashMap::from([("inside.example.net", inside), ("metadata.example.net", linked)]);
    let certd = start(&story, Fickle { names, ..Fickle::default() }, Networks::default()).await;
    for host in [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[64:ff9b::7f00:1]",
        "inside.example.net",
        "metadata.example.net",
    ] {
        let doors = [power(format!("https://{host}:{port}")), power(format!("http://{host}:{port}"))];
        for door in doors.into_iter().chain([updates(format!("{host}:{port}"))]) {
            let told = story.asked(Step::Preview, Some((door.clone(), KEY))).await;
            let (status, trouble) = (told.status, told.findings.trouble);
            assert_eq!((status, trouble), (ConnectionStatus::Failed, Some(Trouble::Unreachable)), "{door:?}");
        }
    }
    assert_eq!(canary.visits(), 0);
    certd.stop().await.unwrap();
}

/// The first look finds an address that the operator lets creators reach, each later one the canary's: what was found
/// first is not what is connected to, and is checked again.
#[tokio::test]
async fn a_name_that_leads_elsewhere_at_the_second_look_is_not_followed() {
    let canary = Canary::start(None).await;
    let port = canary.address.port();
    let (allowed, ours) = (IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 1]));
    for door in
        [power(format!("https://rebound.example.net:{port}")), updates(format!("rebound.example.net:{port}"))]
    {
        let story = Story::of("www.example.com").await;
        let names = HashMap::from([("rebound.example.net", vec![allowed, ours])]);
        let networks = std::iter::once("127.0.0.2".parse().unwrap()).collect();
        let certd = start(&story, Fickle { names, ..Fickle::default() }, networks).await;
        let told = story.asked(Step::Preview, Some((door, KEY))).await;
        assert_eq!(told.status, ConnectionStatus::Failed, "{:?}", told.findings);
        assert_eq!(told.findings.trouble, Some(Trouble::Unreachable), "{:?}", told.findings);
        certd.stop().await.unwrap();
    }
    assert_eq!(canary.visits(), 0);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let canary = Canary::start(None).await;
    let sending = Canary::start(Some(canary.address)).await;
    let story = Story::of("www.example.com").await;
    let networks = std::iter::once("127.0.0.1".parse().unwrap()).collect();
    let certd = start(&story, Fickle::default(), networks).await;
    let told = story.asked(Step::Preview, Some((power(format!("http://{}", sending.address)), KEY))).await;
    assert_eq!(told.status, ConnectionStatus::Failed, "{:?}", told.findings);
    assert_eq!((sending.visits(), canary.visits()), (1, 0), "{:?}", told.findings);
    certd.stop().await.unwrap();
}
