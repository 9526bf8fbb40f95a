//! All micro-benchmarks in one binary: links are dear.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failing set-up should stop the benchmark"
)]

mod host;
mod limits;
mod sni;

/// As in the binary: where memory lies decides what a look-up among 100,000 costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion::criterion_group!(all, host::benchmark, limits::benchmark, sni::benchmark);
criterion::criterion_main!(all);
