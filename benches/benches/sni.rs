//! The look-up of a certificate among 100,000, and the replacement of one.
//!
//! All share one leaf and key, because making 100,000 keys would take longer than all benchmarks: the look-up
//! and the memory's structure do not see the difference.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion};
use feed::Sink as _;
use model::HostPattern;
use model::certificate::Certificate;
use model::change::{Change, Object, Revision};
use model::clock::{Clock as _, SystemClock};
use model::id::CertificateId;
use model::seal::SealingKey;
use proxy::{Settings, State};
use tokio::time::{Duration, Instant};

/// Names with a certificate.
const CERTIFICATES: u32 = 100_000;
/// Those that visitors ask for: fewer than an edge keeps open keys for.
const BUSY: u32 = 10_000;
/// Look-ups whose times the percentiles are of.
const SAMPLES: u32 = 200_000;

/// An edge's memory, and a key and a leaf for all names.
pub(crate) struct Edge {
    pub(crate) state: Arc<State>,
    key: SealingKey,
    chain_pem: String,
    key_der: Vec<u8>,
}

impl Edge {
    pub(crate) fn new(settings: &Settings) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("a key can be made");
        let key = SealingKey::generate();
        let state = State::new(settings, key.clone(), Arc::new(SystemClock)).expect("no files are read");
        Self { state, key, chain_pem: made.cert.pem(), key_der: made.signing_key.serialize_der() }
    }

    fn certificate(&self, name: HostPattern) -> Change {
        let now = SystemClock.now();
        let id = CertificateId::generate(now);
        let key = self.key.seal(&Certificate::key_context(id), &self.key_der).expect("a sound key seals");
        let certificate = Certificate {
            id,
            tenant: None,
            source: None,
            authority: None,
            names: vec![name],
            chain_pem: self.chain_pem.clone(),
            key,
            not_before: now.minus(Duration::from_secs(3600)),
            not_after: now.plus(Duration::from_secs(86_400)),
        };
        let object = Object::Certificate(certificate);
        Change { revision: Revision(1), id: object.id(), object: Some(object) }
    }

    pub(crate) fn put(&self, name: &str) {
        let change = self.certificate(name.parse().expect("a name"));
        self.state.apply(&change).expect("a certificate that can be served");
    }
}

fn name(number: u32) -> String {
    format!("shop-{number}.example.com")
}

/// A multiplicative walk: visitors come in no order.
struct Walk(u32);

impl Walk {
    fn next(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) % below
    }

    fn name<'n>(&mut self, names: &'n [String]) -> &'n str {
        &names[usize::try_from(self.next(BUSY)).expect("a small number")]
    }
}

/// `sni/hit`, `sni/wildcard`, `sni/miss`, `sni/first-use`, `sni/replace`, and percentiles of the first three.
pub(crate) fn benchmark(criterion: &mut Criterion) {
    let edge = Edge::new(&Settings::default());
    (0..CERTIFICATES).for_each(|number| edge.put(&name(number)));
    edge.put("*.apps.test");
    let hits: Vec<String> = (0..BUSY).map(name).collect();
    let wildcards: Vec<String> = (0..BUSY).map(|number| format!("app-{number}.apps.test")).collect();
    let misses: Vec<String> = (0..BUSY).map(|number| format!("nobody-{number}.example.org")).collect();
    hits.iter().for_each(|name| assert!(edge.state.can_serve(name)));
    let mut group = criterion.benchmark_group("sni");
    for (case, names) in [("hit", &hits), ("wildcard", &wildcards), ("miss", &misses)] {
        percentiles(&edge.state, case, names);
        let mut walk = Walk(7);
        group.bench_function(case, |bencher| {
            bencher.iter(|| edge.state.can_serve(black_box(walk.name(names))));
        });
    }
    let mut walk = Walk(9);
    let fresh = |walk: &mut Walk| edge.certificate(name(walk.next(CERTIFICATES)).parse().expect("a name"));
    group.bench_function("put", |bencher| {
        bencher.iter_batched(
            || fresh(&mut walk),
            |change| edge.state.apply(&change).is_ok(),
            BatchSize::SmallInput,
        );
    });
    let same = edge.certificate(name(1).parse().expect("a name"));
    group.bench_function("replace", |bencher| bencher.iter(|| edge.state.apply(black_box(&same)).is_ok()));
    group.bench_function("first-use", |bencher| {
        bencher.iter_batched(
            || edge.state.apply(&same).is_ok(),
            |_| edge.state.can_serve(&name(1)),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Criterion tells means; the promise is a percentile. Each time includes that of reading the clock, but not
/// that of fetching the name from memory: a handshake has just read it.
fn percentiles(state: &State, case: &str, names: &[String]) {
    let mut walk = Walk(3);
    let mut name = String::new();
    let mut look_up = || {
        name.clear();
        name.push_str(walk.name(names));
        let begun = Instant::now();
        black_box(state.can_serve(black_box(&name)));
        u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX)
    };
    (0..SAMPLES).for_each(|_| _ = look_up());
    let mut times: Vec<u32> = (0..SAMPLES).map(|_| look_up()).collect();
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100];
    println!("sni/{case}: p50 {} ns, p99 {} ns of {SAMPLES} look-ups", at(50), at(99));
}
