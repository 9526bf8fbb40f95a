//! A real edge on loopback, its memory filled by hand, in front of real origins.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing set-up should stop the test")]

mod alpn_challenge;
mod announced;
mod answers;
mod backend_trust;
mod balancing;
mod client_auth;
mod clock;
mod corpus;
mod drain;
mod forwarding;
mod front;
mod grpc;
mod h2_origin;
mod hedging;
mod http1;
mod http2;
mod http2_backends;
mod market;
mod operating;
mod protection;
mod queue;
mod raw_origin;
mod refusals;
mod resumption;
mod semantics;
mod streams;
mod tls;
mod unix_sockets;
mod usage;
