//! One decision of the limiter, for few and for many visitors.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::Criterion;
use model::limits::Rate;
use model::net::VisitorKey;
use ratelimit::{Gcra, Limiter as _, Stopwatch, VisitorTable};

const RATE: Rate = Rate { requests_per_minute: 60_000_000, burst: 1_000_000 };
const TABLE_BYTES: usize = 16 << 20;

/// `limits/tenant`, `limits/visitors-1k`, `limits/visitors-1m`.
pub(crate) fn benchmark(criterion: &mut Criterion) {
    let clock = Stopwatch::start();
    let mut group = criterion.benchmark_group("limits");
    let tenant = Gcra::default();
    group.bench_function("tenant", |bencher| bencher.iter(|| tenant.take(clock.now(), black_box(RATE), 1)));
    for (name, visitors) in [("visitors-1k", 1_000_u32), ("visitors-1m", 1_000_000)] {
        let table = VisitorTable::with_bytes(TABLE_BYTES);
        let mut at = 0_u32;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                // A multiplicative walk: visitors come in no order.
                at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let visitor = VisitorKey::V4(Ipv4Addr::from_bits(at % visitors));
                table.bucket(&visitor).take(clock.now(), black_box(RATE), 1)
            });
        });
    }
    group.finish();
}
