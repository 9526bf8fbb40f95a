//! The edge: TLS, SNI, routing, protection, forwarding, metering.
//!
//! [`State`] is the memory that the feed fills; [`Edge::start`] serves from it. A request's way is one
//! function, `way::admit`; every "no" on it is a `Refusal`; every request ends in `ending`. Nothing here
//! reads a file or a database while a request waits. Deliberately absent: SQL, configuration files, the
//! issuing of certificates.

mod access_log;
mod acme;
mod answer;
mod backends;
mod client_auth;
mod client_hello;
mod connection;
mod context;
mod direct;
mod drain;
mod edge;
mod ending;
mod firewall;
mod forward;
mod front;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod handshake;
mod head;
mod headers;
mod hedge;
mod hooks;
mod host;
mod listen;
mod metrics;
mod page;
mod patience;
mod probe;
mod proxy_protocol;
mod queue;
mod quota;
mod refusal;
mod resolver;
mod routing;
mod scheme;
mod settings;
mod slots;
mod sni;
mod standing;
mod state;
mod throttle;
mod tickets;
mod tls;
mod usage;
mod visitor;
mod way;

pub use edge::{Edge, EdgeError, Parts, Running};
pub use resolver::{ResolveError, Resolved, Resolver, SystemResolver};
pub use settings::{AccessLog, Deadlines, Settings};
pub use state::State;
pub use usage::UsageSink;
