//! Real servers and clients on loopback, for tests only: Postgres, Redis, Pebble, a DNS server, an origin,
//! TLS and HTTP clients, and Stoa itself as a process.
//!
//! Every server listens on a leased port of 127.0.0.1, keeps its log in a temporary directory, prints the
//! end of that log when it is dropped (the test runner shows it for failing tests only) and dies with the
//! test, also when the test is killed. Deliberately absent: fakes of what can be had for real. What nobody
//! can be made to do, such as an authority's bad days, is done on demand by [`ca`].

pub mod api;
pub mod authority;
pub mod bind;
pub mod ca;
pub mod client;
pub mod cloudflare;
pub mod command;
pub mod curl;
pub mod digitalocean;
pub mod dns;
pub mod edge;
pub mod figures;
pub mod haproxy;
pub mod http2;
pub mod impostor;
mod json_server;
pub mod kills;
pub mod knot;
pub mod load;
pub mod marketplace;
pub mod origin;
pub mod pebble;
pub mod ports;
pub mod postgres;
pub mod powerdns;
pub mod process;
pub mod redis;
pub mod stoa;
pub mod tls;
pub mod wait;
pub mod websocket;
pub mod witness;
