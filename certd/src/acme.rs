//! An ACME authority (RFC 8555), wrapped so that every request ends, every failure is sorted by what to do
//! about it, and an order survives a crash at any of its steps.
//!
//! Challenges are answered by the edges from the store. Which of several authorities is asked, and whether its limits
//! allow it, is decided outside (`authorities`).

/// Sends one step until it succeeds or has failed for good, as `$line.failed` tells. A macro, because the
/// compiler cannot see that the future of a closure which lends its order is `Send`.
macro_rules! step {
    ($line:expr, $call:expr) => {{
        let mut tries = 1_u32;
        loop {
            match $call.await {
                Ok(value) => break Ok(value),
                Err(error) => match $line.failed(error, tries) {
                    Some(error) => break Err(error),
                    None => tries += 1,
                },
            }
        }
    }};
}

mod account;
mod budget;
mod directory;
mod error;
mod journal;
mod jws;
mod key_change;
mod lane;
mod order;
mod retry;
mod transport;
mod window;

pub use account::Authority;
pub use budget::{Limits, Names, Purpose};
pub use error::AcmeError;
pub use lane::{Course, WIDEST};
pub use retry::next_at;
pub use window::Advice;

pub(crate) use retry::LIMITED;

pub(crate) use budget::registered_domain;
pub(crate) use journal::Journal;
pub(crate) use order::complete;
pub(crate) use window::made_for;

#[cfg(test)]
mod tests;
