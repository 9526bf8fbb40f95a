//! The API through its router, on a real SQLite store.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing set-up should stop the test"
)]

mod apps;
mod authorities;
mod certificates;
mod client_ca;
mod connections;
mod contests;
mod desk;
mod document;
mod domains;
mod edge;
mod hostile;
mod idempotency;
mod inspection;
mod isolation;
mod keys;
mod links;
mod problems;
mod progress;
mod serving;
mod tenants;
mod usage;
