//! What an operator decides about an edge. `stoa` fills it from the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::Host;
use model::net::Networks;

/// The settings of one edge; the defaults are safe at the open internet.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Cleartext listeners: ACME answers and redirects. An IPv6 address takes IPv6 only.
    pub http: Vec<SocketAddr>,
    /// TLS listeners.
    pub https: Vec<SocketAddr>,
    /// Where `/metrics`, `/healthz` and `/readyz` are; none: nowhere. Not for the internet.
    pub metrics: Option<SocketAddr>,
    /// The names below which apps live side by side.
    pub zones: Vec<Host>,
    /// Whether HSTS is sent at all; names that are reserved for development never carry it.
    pub hsts: bool,
    /// The port in redirects to https; none: that of the first TLS listener, or 443.
    pub public_https_port: Option<u16>,
    /// Threads that serve, each with its own runtime; 0: one a core.
    pub workers: usize,
    /// Most connections at a time; those above are dropped. About 10 KB each when idle.
    pub max_connections: usize,
    /// Most connections of one address (of an IPv6 /64) at a time.
    pub max_connections_per_address: usize,
    /// Most TLS handshakes under way, counted from a whole ClientHello on.
    pub max_handshakes: usize,
    /// Who begins each connection with a PROXY header; from others it is never read.
    pub proxy_protocol: Networks,
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Networks,
    /// Time limits of connections.
    pub deadlines: Deadlines,
    /// How long requests may run on after [`crate::Running::drain`] is called.
    pub drain_limit: Duration,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Trust anchors (PEM) for `https` backends; none: those of the platform.
    pub backend_ca_file: Option<PathBuf>,
    /// Addresses of this installation, beside the listeners above, that no backend may have: the API's.
    pub forbidden_backends: Vec<SocketAddr>,
    /// Directories below which backends may be Unix sockets; none: none may.
    pub unix_backends: Vec<PathBuf>,
    /// Memory for the buckets of visitors in bytes, taken at the start.
    pub visitor_table_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: Vec::new(),
            https: Vec::new(),
            metrics: None,
            zones: Vec::new(),
            hsts: true,
            public_https_port: None,
            workers: 0,
            max_connections: 50_000,
            max_connections_per_address: 512,
            max_handshakes: 2_000,
            proxy_protocol: Networks::default(),
            trusted_proxies: Networks::default(),
            deadlines: Deadlines::default(),
            drain_limit: Duration::from_secs(30),
            access_log: AccessLog::Off,
            backend_ca_file: None,
            forbidden_backends: Vec::new(),
            unix_backends: Vec::new(),
            visitor_table_bytes: ratelimit::VisitorTable::DEFAULT_BYTES,
        }
    }
}

/// How long a visitor may take for what.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// A PROXY header, where one is expected, from the first byte to the last.
    pub proxy_header: Duration,
    /// A ClientHello, from the first byte to the last; a drip of bytes does not extend it.
    pub client_hello: Duration,
    /// A TLS handshake from its ClientHello to its end.
    pub handshake: Duration,
    /// The header section of a request, in all; a drip of bytes does not extend it.
    pub header: Duration,
    /// Silence between two requests of a connection.
    pub idle: Duration,
    /// The longest silence within a request's body, and of a visitor who does not read the answer. A visitor
    /// who was slow before has less.
    pub body: Duration,
    /// How long a visitor may send or read more slowly than [`Self::bytes_per_second`]. Only time counts in
    /// which the edge waits for the visitor.
    pub grace: Duration,
    /// What a visitor must send of a body, and read of an answer, on average. At least 1.
    pub bytes_per_second: u32,
    /// Silence of a WebSocket or an event stream.
    pub stream: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            proxy_header: Duration::from_secs(5),
            client_hello: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            bytes_per_second: 240,
            stream: Duration::from_secs(3600),
        }
    }
}

/// Where the access log goes: JSON, one object a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file, rotated at 64 MiB to `<file>.1` … `<file>.4`.
    File(PathBuf),
}
