//! All micro-benchmarks in one binary: links are dear.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failing set-up should stop the benchmark"
)]

mod host;
mod limits;
mod sni;

criterion::criterion_group!(all, host::benchmark, limits::benchmark, sni::benchmark);
criterion::criterion_main!(all);
