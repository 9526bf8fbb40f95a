//! All micro-benchmarks in one binary: links are dear. `count <operation> <times>` runs one for
//! `scripts/count-instructions`, without a clock.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failing set-up should stop the benchmark"
)]

mod count;
mod host;
mod limits;
mod sni;

/// As in the binary: where memory lies decides what a look-up among 100,000 costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion::criterion_group!(all, host::benchmark, limits::benchmark, sni::benchmark);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, operation, times] = arguments.as_slice()
        && verb == "count"
    {
        return count::run(operation, times.parse().expect("a number of times"));
    }
    all();
    criterion::Criterion::default().configure_from_args().final_summary();
}
