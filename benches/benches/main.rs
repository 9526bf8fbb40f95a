//! All micro-benchmarks in one binary: links are dear.

mod host;
mod limits;

criterion::criterion_group!(all, host::benchmark, limits::benchmark);
criterion::criterion_main!(all);
