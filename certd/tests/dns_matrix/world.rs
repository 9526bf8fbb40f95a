//! A small internet: a registry (Knot) that delegates one zone a case, the servers of those zones, servers with
//! faults, and a resolver (BIND) in front.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use certd::dns::{Providers, Resolver};
use testkit::bind::Bind;
use testkit::knot::Knot;
use testkit::powerdns::PowerDns;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::cases::{self, Case, Servers};

/// The server that has the zones.
#[derive(Debug, Clone, Copy)]
pub(super) enum Main {
    Bind,
    Knot,
    PowerDns,
}

/// Servers are ended when this is dropped.
pub(super) struct World {
    pub(super) resolver: Resolver,
    pub(super) providers: Providers,
    _servers: (Box<dyn std::any::Any>, Knot, Knot, Bind),
    _faulty: [JoinHandle<()>; 2],
}

/// Whether the servers are installed. In CI they must be.
#[expect(clippy::disallowed_methods, reason = "CI is told by its environment")]
pub(super) fn is_installed() -> bool {
    let missing = ["named", "knotd", "pdns_server"]
        .into_iter()
        .find(|name| Command::new(name).arg("-V").output().is_err());
    let Some(name) = missing else { return true };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "`{name}` is missing: see scripts/test");
    println!("SKIPPED: `{name}` is not installed: see scripts/test");
    false
}

impl World {
    pub(super) async fn start(main: Main, cases: &[Case]) -> Self {
        let zones: Vec<(String, String)> =
            cases.iter().flat_map(Case::zones).chain(cases::others()).collect();
        let zones: Vec<(&str, &str)> =
            zones.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let (first, kept): (SocketAddr, Box<dyn std::any::Any>) = match main {
            Main::Bind => {
                let server = Bind::start(&zones).await.unwrap();
                (server.address(), Box::new(server))
            }
            Main::Knot => {
                let server = Knot::start(&zones).await.unwrap();
                (server.address(), Box::new(server))
            }
            Main::PowerDns => {
                let server = PowerDns::start().await.unwrap();
                for (name, text) in &zones {
                    server.add_zone(name, text).await.unwrap();
                }
                (server.address(), Box::new(server))
            }
        };
        let copies: Vec<(String, String)> = cases.iter().filter_map(Case::copy).collect();
        let copies: Vec<(&str, &str)> =
            copies.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let second = Knot::start(&copies).await.unwrap();
        let registry = Knot::start(&[("test", &cases::registry(cases))]).await.unwrap();
        let (silent, failing) = (silent().await, failing().await);
        let places: HashMap<IpAddr, SocketAddr> = [
            (cases::FIRST, first),
            (cases::SECOND, second.address()),
            (cases::REGISTRY, registry.address()),
            (cases::SILENT, silent.0),
            (cases::FAILING, failing.0),
        ]
        .map(|(address, place)| (address.parse().unwrap(), place))
        .into();
        let mut forwards = vec![("test".to_owned(), registry.address())];
        forwards.extend(cases::others().map(|(name, _)| (name, first)));
        for case in cases.iter().filter(|case| case.servers != Servers::None) {
            let to = match case.servers {
                Servers::Second | Servers::Refusing => second.address(),
                Servers::Silent => silent.0,
                Servers::Failing => failing.0,
                _ => first,
            };
            forwards.push((case.zone(), to));
        }
        let forwards: Vec<(&str, SocketAddr)> =
            forwards.iter().map(|(name, to)| (name.as_str(), *to)).collect();
        let resolver = Bind::forwarding(&forwards, &["forged.test"]).await.unwrap();
        Self {
            resolver: Resolver::new(&[resolver.address()]).unwrap().with_places(places),
            providers: Providers::built_in().unwrap(),
            _servers: (kept, second, registry, resolver),
            _faulty: [silent.1, failing.1],
        }
    }
}

/// Takes questions and answers none.
async fn silent() -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move { while socket.recv_from(&mut [0; 512]).await.is_ok() {} });
    (address, task)
}

/// Answers every question with a failure (SERVFAIL, RFC 1035 §4.1.1).
async fn failing() -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let message = &mut buffer[..length];
            if message.len() > 12 {
                message[2] |= 0x80;
                message[3] = (message[3] & 0xf0) | 2;
                let _ = socket.send_to(message, peer).await;
            }
        }
    });
    (address, task)
}
