//! `[edge]`: where visitors come in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use model::Host;
use model::net::Network;

use crate::access_log::{self, AccessLog};
use crate::document::{Section, Text};
use crate::error::Faults;
use crate::listeners;

pub(crate) const KEYS: [&str; 16] = [
    "http",
    "https",
    "zones",
    "metrics",
    "workers",
    "public",
    "public_https_port",
    "access_log",
    "hsts",
    "max_connections",
    "max_connections_per_address",
    "max_handshakes",
    "proxy_protocol",
    "trusted_proxies",
    "drain_seconds",
    "unix_backends",
];

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Each connection holds at most some 100 KiB of buffers: a gigabyte in all.
const MAX_CONNECTIONS: u64 = 10_000;
/// Room for the visitors behind one address of a provider (a browser opens 1 connection with HTTP/2, 6 with
/// HTTP/1.1), and a twentieth of all connections.
const MAX_PER_ADDRESS: u64 = 512;
/// Handshakes under way for each worker: what it gets done in half a second, at some 50 KiB each.
const HANDSHAKES_PER_WORKER: u64 = 1_000;
/// Long enough for nearly every request, short enough for a deployment.
const DRAIN_SECONDS: u64 = 30;

/// The edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Where it listens in the clear: ACME answers and redirects. May be empty.
    pub http: Vec<SocketAddr>,
    /// Where it listens for TLS; at least one.
    pub https: Vec<SocketAddr>,
    /// Every app answers at `<app>.<zone>`; at least one.
    pub zones: Vec<Host>,
    /// `/metrics`, `/healthz` and `/readyz`, in the clear.
    pub metrics: SocketAddr,
    /// Threads that serve; the cores that the process may use unless told otherwise.
    pub workers: usize,
    /// Addresses that domains without a CNAME record should point at. 127.0.0.1 if every zone is a
    /// development name, else none unless told otherwise.
    pub public: Vec<IpAddr>,
    /// The port in redirects to HTTPS; that of the first `https` address unless told otherwise.
    pub public_https_port: u16,
    /// One line a request.
    pub access_log: AccessLog,
    /// Whether browsers are told to insist on HTTPS; off if every zone is a development name.
    pub hsts: bool,
    /// Connections of visitors at a time; more are closed at once.
    pub max_connections: usize,
    /// Connections of one address (of an IPv6 /64) at a time; more are closed at once.
    pub max_connections_per_address: usize,
    /// TLS handshakes under way; more are closed at once. 1,000 a worker unless told otherwise.
    pub max_handshakes: usize,
    /// Load balancers that begin each connection with a PROXY header.
    pub proxy_protocol: Vec<Network>,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Directories below which apps' backends may be Unix sockets; none unless told otherwise.
    pub unix_backends: Vec<PathBuf>,
    /// How long requests may go on after the process was told to stop.
    pub drain: Duration,
}

pub(crate) fn read(section: &Section<'_>, data: &Path, faults: &mut Faults<'_>) -> Edge {
    let zones = zones(section, faults);
    let development = zones.iter().all(Host::is_development);
    let https = section.some_texts("https", "127.0.0.1:8443", faults);
    let https = sockets(https, 8443, faults);
    let first_port = https.first().map_or(443, SocketAddr::port);
    let metrics = section.text("metrics", faults).and_then(|text| listeners::socket(&text, faults));
    let workers = section.number("workers", 1..=1_024, faults).unwrap_or_else(cores);
    let max_connections = section.number("max_connections", 1..=1_000_000, faults).unwrap_or(MAX_CONNECTIONS);
    let per_address =
        section.number("max_connections_per_address", 1..=1_000_000, faults).unwrap_or(MAX_PER_ADDRESS);
    let handshakes = section.number("max_handshakes", 1..=1_000_000, faults);
    let handshakes = handshakes.unwrap_or(workers.saturating_mul(HANDSHAKES_PER_WORKER));
    let port = section.number("public_https_port", 1..=65_535, faults);
    let drain = section.number("drain_seconds", 0..=3_600, faults).unwrap_or(DRAIN_SECONDS);
    Edge {
        http: sockets(section.texts("http", faults), 8080, faults),
        https,
        zones,
        metrics: metrics.unwrap_or(SocketAddr::new(LOOPBACK, 9090)),
        workers: usize::try_from(workers).unwrap_or(usize::MAX),
        public: public(section, development, faults),
        public_https_port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(first_port),
        access_log: access_log::read(section, data, faults),
        hsts: section.truth("hsts", faults).unwrap_or(!development),
        max_connections: usize::try_from(max_connections).unwrap_or(usize::MAX),
        max_connections_per_address: usize::try_from(per_address).unwrap_or(usize::MAX),
        max_handshakes: usize::try_from(handshakes).unwrap_or(usize::MAX),
        proxy_protocol: networks(section, "proxy_protocol", faults),
        trusted_proxies: networks(section, "trusted_proxies", faults),
        unix_backends: directories(section, faults),
        drain: Duration::from_secs(drain),
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

fn sockets(texts: Option<Vec<Text<'_>>>, port: u16, faults: &mut Faults<'_>) -> Vec<SocketAddr> {
    match texts {
        None => vec![SocketAddr::new(LOOPBACK, port)],
        Some(texts) => texts.iter().filter_map(|text| listeners::socket(text, faults)).collect(),
    }
}

pub(crate) fn networks(section: &Section<'_>, key: &str, faults: &mut Faults<'_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in section.texts(key, faults).unwrap_or_default() {
        match text.value.parse() {
            Ok(network) => networks.push(network),
            Err(error) => faults.at(text.span, format!("`{}`: {error}", text.path)),
        }
    }
    networks
}

fn public(section: &Section<'_>, development: bool, faults: &mut Faults<'_>) -> Vec<IpAddr> {
    let Some(texts) = section.texts("public", faults) else {
        return if development { vec![LOOPBACK] } else { Vec::new() };
    };
    let mut addresses = Vec::new();
    for text in &texts {
        let Some(address) = listeners::address(text, faults) else { continue };
        if address.is_unspecified() || address.is_multicast() {
            faults.at(
                text.span.clone(),
                format!("`edge.public` has `{address}`, which no domain can point at"),
            );
        } else if addresses.contains(&address) {
            faults.at(text.span.clone(), format!("`edge.public` has `{address}` twice"));
        }
        addresses.push(address);
    }
    addresses
}

/// Absolute, and nothing that gives every socket of the machine away.
fn directories(section: &Section<'_>, faults: &mut Faults<'_>) -> Vec<PathBuf> {
    let texts = section.texts("unix_backends", faults).unwrap_or_default();
    let mut directories = Vec::new();
    for text in &texts {
        let path = Path::new(text.value);
        let is_plain =
            path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if path.is_absolute() && is_plain && path.parent().is_some() {
            directories.push(path.to_owned());
        } else {
            let fault = format!(
                "`edge.unix_backends` has `{}`: write the absolute path of a directory for apps' sockets, e.g. /run/apps",
                text.value
            );
            faults.at(text.span.clone(), fault);
        }
    }
    directories
}

fn zones(section: &Section<'_>, faults: &mut Faults<'_>) -> Vec<Host> {
    let Some(texts) = section.some_texts("zones", "apps.localhost", faults) else {
        return Host::parse("apps.localhost").into_iter().collect();
    };
    let mut zones = Vec::new();
    for text in &texts {
        match zone(text, &zones) {
            Ok(zone) => zones.push(zone),
            Err(fault) => faults.at(text.span.clone(), format!("`edge.zones`: {fault}")),
        }
    }
    zones
}

/// A zone has a parent (browsers refuse certificates for `*.localhost` and `*.com`) and overlaps no other:
/// an app of the outer zone could take the name of the inner.
fn zone(text: &Text<'_>, others: &[Host]) -> Result<Host, String> {
    let zone = Host::parse(text.value).map_err(|error| error.to_string())?;
    if zone.parent().is_none() {
        return Err(format!("`{zone}` has one label: write a name below it, e.g. apps.{zone}"));
    }
    match others.iter().find(|other| zone.is_within(other) || other.is_within(&zone)) {
        Some(other) if *other == zone => Err(format!("`{zone}` stands there twice")),
        Some(other) => Err(format!("`{zone}` and `{other}` lie within each other: keep one")),
        None => Ok(zone),
    }
}
