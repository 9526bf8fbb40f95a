//! Parsing of the host of a request.

use std::hint::black_box;

use criterion::Criterion;

/// `host/canonical`, `host/upper-case`, `host/unicode`.
pub(crate) fn benchmark(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("host");
    let cases = [
        ("canonical", "hello.apps.localhost"),
        ("upper-case", "Hello.Apps.LOCALHOST."),
        ("unicode", "bücher.example"),
    ];
    for (name, text) in cases {
        group
            .bench_function(name, |bencher| bencher.iter(|| model::host::normalise(black_box(text)).is_ok()));
    }
    group.finish();
}
