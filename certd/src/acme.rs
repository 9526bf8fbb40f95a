//! An ACME authority (RFC 8555), wrapped so that every request ends, every failure is sorted by what to do
//! about it, and an order survives a crash at any of its steps.
//!
//! Challenges are http-01 only, answered by the edges from the store. Deliberately absent for now: dns-01,
//! renewal information (RFC 9773), external account binding and key rollover.

mod account;
mod error;
mod journal;
mod order;
mod retry;
mod transport;

pub use account::Authority;
pub use error::AcmeError;
pub use retry::next_at;

#[cfg(test)]
mod tests;
