//! What `feed` promises, held against kills, torn and damaged files, lost answers and a lost control plane.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing set-up should stop the test"
)]

mod fixtures;
mod follower;
mod http;
mod outbox;
mod replica;
mod succession;
