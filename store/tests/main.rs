//! The promises of the store, each kept on SQLite and on Postgres.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing set-up should stop the test"
)]

mod apps;
mod audit;
mod authorities;
mod bench;
mod beside;
mod certificates;
mod changes;
mod client_ca;
mod connections;
mod consents;
mod contests;
mod domains;
mod edges;
mod idempotency;
mod keys;
mod looks;
mod mutations;
mod opening;
mod orders;
mod random_changes;
mod sealed;
mod tenants;
mod texts;
mod tickets;
mod usage;

/// Makes a test of each promise on each engine.
#[macro_export]
macro_rules! on_both_engines {
    ($($promise:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise($crate::bench::Bench::sqlite().await).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                if let Some(bench) = $crate::bench::Bench::postgres().await {
                    super::$promise(bench).await;
                }
            })*
        }
    };
}
