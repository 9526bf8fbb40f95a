//! Certd against a real authority (Debian's Pebble) and a real DNS server, with the least that an edge is.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing set-up should stop the test"
)]

mod account;
mod adapters;
mod addresses;
mod advice;
mod authorities;
mod authority;
mod away;
mod choice;
mod connect;
mod contests;
mod counted;
mod crash;
mod dns01;
mod dns_matrix;
mod edge;
mod key_change;
mod live;
mod local;
mod oracle;
mod rig;
mod standing;
mod together;
mod wildcards;
mod year;
