//! No usage is counted twice, and none is lost but what the disk lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use feed::usage::{CAP_BYTES, OutboxError, OutboxSettings};
use feed::{Origin, Outbox};
use model::Timestamp;
use model::id::{AppId, EdgeId, TenantId};
use model::usage::{Counters, UsageClass, UsageKey, UsageRow, WINDOW};
use proptest::prelude::*;
use tokio::sync::watch;

use crate::fixtures::{Fault, MemoryOrigin};

const START: Timestamp = Timestamp::from_unix_seconds(1_790_000_000);

fn row(app: u8, minute: u16, requests: u64) -> UsageRow {
    let id = |text: &str| format!("{text}_{:0>26}", app % 8);
    let tenant: TenantId = id("t").parse().unwrap();
    let app: AppId = id("a").parse().unwrap();
    let window = START.plus(WINDOW * u32::from(minute)).floor_to(WINDOW);
    let key = UsageKey { tenant, app, window, class: UsageClass::Visitor };
    UsageRow { key, counters: Counters { requests, bytes_in: requests * 2, bytes_out: requests * 3 } }
}

/// Sums that stay the same in windows of any width.
fn totals<'a>(rows: impl Iterator<Item = (&'a UsageKey, &'a Counters)>) -> BTreeMap<TenantId, Counters> {
    let mut totals: BTreeMap<TenantId, Counters> = BTreeMap::new();
    for (key, counters) in rows {
        totals.entry(key.tenant).or_default().add(*counters);
    }
    totals
}

struct Bench {
    _folder: tempfile::TempDir,
    path: PathBuf,
    edge: EdgeId,
    origin: Arc<MemoryOrigin>,
    starts: i64,
    cap_bytes: u64,
    pushed: Vec<UsageRow>,
}

impl Bench {
    fn new(cap_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/usage.journal");
        let (edge, origin) = (EdgeId::generate(START), Arc::new(MemoryOrigin::new(1)));
        Self { _folder: folder, path, edge, origin, starts: 0, cap_bytes, pushed: Vec::new() }
    }

    /// Starts anew, an hour after the last time.
    fn open(&mut self) -> Outbox {
        self.starts += 1;
        let now = Timestamp::from_unix_seconds(START.unix_seconds() + self.starts * 3600);
        let settings = OutboxSettings { now, cap_bytes: self.cap_bytes };
        Outbox::open_with(&self.path, self.edge, settings).unwrap()
    }

    fn push(&mut self, outbox: &Outbox, rows: Vec<UsageRow>) {
        match outbox.push(rows.clone()) {
            Ok(()) => self.pushed.extend(rows),
            Err(OutboxError::Full { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Lets the sender run for so long (of paused time), then cuts it off where it is.
    fn send(&self, outbox: &Outbox, time: Duration) {
        let (_keep, shutdown) = watch::channel(false);
        let origin: Arc<dyn Origin> = self.origin.clone();
        paused()
            .block_on(async { tokio::time::timeout(time, outbox.run(origin, shutdown)).await.unwrap_err() });
    }

    /// Sends until nothing is left.
    fn finish(&self, outbox: &Outbox) {
        self.origin.plane().faults.clear();
        let tries = (0..100).take_while(|_| outbox.pending() > 0);
        tries.for_each(|_| self.send(outbox, Duration::from_secs(20)));
        assert_eq!(outbox.pending(), 0);
    }

    fn counted(&self) -> BTreeMap<TenantId, Counters> {
        totals(self.origin.plane().usage.iter())
    }

    fn expected(&self) -> BTreeMap<TenantId, Counters> {
        totals(self.pushed.iter().map(|row| (&row.key, &row.counters)))
    }

    fn aside(&self, infix: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.to_string_lossy().contains(infix)).collect()
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn cut_tail(path: &Path, bytes: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(bytes).max(64)).unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Push(Vec<(u8, u16, u64)>),
    Crash,
    CutTail(u64),
    Faults(Vec<Fault>),
    Send(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![Just(Fault::Lost), Just(Fault::AnswerLost)];
    let row = (0..6_u8, 0..300_u16, 1..1000_u64);
    prop_oneof![
        4 => proptest::collection::vec(row, 1..20).prop_map(Step::Push),
        2 => Just(Step::Crash),
        1 => (1..400_u64).prop_map(Step::CutTail),
        2 => proptest::collection::vec(fault, 1..6).prop_map(Step::Faults),
        3 => (0..3_000_u64).prop_map(Step::Send),
    ]
}

/// Plays the steps; tells whether something was cut off.
fn play(bench: &mut Bench, steps: Vec<Step>, may_cut: bool) -> (Outbox, bool) {
    let (mut outbox, mut was_cut) = (bench.open(), false);
    for step in steps {
        match step {
            Step::Push(rows) => {
                let rows = rows.into_iter().map(|(app, minute, n)| row(app, minute, n)).collect();
                bench.push(&outbox, rows);
            }
            Step::Faults(faults) => bench.origin.plane().faults.extend(faults),
            Step::Send(millis) => bench.send(&outbox, Duration::from_millis(millis)),
            Step::Crash | Step::CutTail(_) => {
                drop(outbox);
                if let (Step::CutTail(bytes), true) = (step, may_cut) {
                    cut_tail(&bench.path, bytes);
                    was_cut = true;
                }
                outbox = bench.open();
            }
        }
    }
    (outbox, was_cut)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn totals_are_those_pushed_whatever_happens(steps in proptest::collection::vec(step(), 0..25)) {
        let mut bench = Bench::new(CAP_BYTES);
        let (outbox, was_cut) = play(&mut bench, steps, true);
        bench.finish(&outbox);
        let (counted, expected) = (bench.counted(), bench.expected());
        for (tenant, counters) in &counted {
            prop_assert!(counters.requests <= expected[tenant].requests);
            prop_assert!(counters.bytes_out <= expected[tenant].bytes_out);
        }
        prop_assert!(was_cut || counted == expected, "{counted:?} of {expected:?}");
    }

    #[test]
    fn summing_up_changes_no_total(steps in proptest::collection::vec(step(), 0..40), cap in 4_000..30_000_u64) {
        let mut bench = Bench::new(cap);
        let (outbox, _) = play(&mut bench, steps, false);
        prop_assert!(std::fs::metadata(&bench.path).unwrap().len() <= cap + 2_000);
        bench.finish(&outbox);
        prop_assert_eq!(bench.counted(), bench.expected());
    }

    #[test]
    fn a_flipped_byte_never_counts_twice(
        steps in proptest::collection::vec(step(), 0..15), at in any::<proptest::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bench = Bench::new(CAP_BYTES);
        drop(play(&mut bench, steps, false));
        let mut bytes = std::fs::read(&bench.path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        std::fs::write(&bench.path, &bytes).unwrap();
        let outbox = bench.open();
        let fresh = vec![row(7, 1, 1)];
        bench.push(&outbox, fresh);
        bench.finish(&outbox);
        let (counted, expected) = (bench.counted(), bench.expected());
        for (tenant, counters) in &counted {
            prop_assert!(counters.requests <= expected[tenant].requests);
        }
        let new: TenantId = row(7, 1, 1).key.tenant;
        prop_assert_eq!(counted.get(&new), expected.get(&new));
    }
}

#[test]
fn a_refused_batch_is_set_aside_and_the_next_is_sent() {
    let mut bench = Bench::new(CAP_BYTES);
    let outbox = bench.open();
    outbox.push(vec![row(1, 0, 5)]).unwrap();
    bench.push(&outbox, vec![row(2, 0, 7)]);
    bench.origin.plane().faults.push_back(Fault::Refused);
    bench.send(&outbox, Duration::from_secs(1));
    assert_eq!((outbox.pending(), bench.counted()), (0, bench.expected()));
    let kept = std::fs::read_to_string(&bench.aside(".refused")[0]).unwrap();
    let line: serde_json::Value = serde_json::from_str(kept.trim()).unwrap();
    assert_eq!(
        (&line["reason"], &line["batch"]["rows"][0]["requests"]),
        (&"no such tenant".into(), &5.into())
    );
}

#[test]
fn a_lost_journal_does_not_make_new_usage_look_old() {
    let mut bench = Bench::new(CAP_BYTES);
    for _ in 0..2 {
        let outbox = bench.open();
        bench.push(&outbox, vec![row(1, 0, 5)]);
        bench.finish(&outbox);
        drop(outbox);
        std::fs::remove_file(&bench.path).unwrap();
    }
    assert_eq!(bench.counted(), bench.expected());
}

#[test]
fn a_full_journal_refuses_rows_and_takes_them_again_once_sent() {
    let mut bench = Bench::new(6_000);
    let outbox = bench.open();
    bench.origin.plane().faults.extend(std::iter::repeat_n(Fault::Lost, 3));
    bench.send(&outbox, Duration::from_secs(1));
    let refused = (0..2_000_u16).find(|day| {
        let rows = vec![row(1, day.wrapping_mul(1440), 1)];
        let before = bench.pushed.len();
        bench.push(&outbox, rows);
        bench.pushed.len() == before
    });
    assert!(refused.is_some());
    assert!(std::fs::metadata(&bench.path).unwrap().len() <= 6_000);
    bench.finish(&outbox);
    bench.push(&outbox, vec![row(1, 0, 1)]);
    bench.finish(&outbox);
    assert_eq!(bench.counted(), bench.expected());
}

#[test]
fn a_journal_of_usage_that_was_sent_stays_small() {
    let mut bench = Bench::new(CAP_BYTES);
    let outbox = bench.open();
    for round in 0..60 {
        bench.push(&outbox, (0..40).map(|minute| row(1, minute, round)).collect());
        bench.finish(&outbox);
    }
    assert!(std::fs::metadata(&bench.path).unwrap().len() < 100_000);
    assert_eq!(bench.counted(), bench.expected());
}

#[test]
fn what_was_sent_at_once_after_a_start_is_never_summed_up() {
    let mut bench = Bench::new(12_000);
    let outbox = bench.open();
    for n in 0..5 {
        bench.push(&outbox, vec![row(1, n, 1)]);
    }
    bench.send(&outbox, Duration::from_secs(1));
    assert_eq!(outbox.pending(), 0);
    drop(outbox);
    // A power cut takes what was noted after the batches were sent, but not what was waited for.
    let done_record = 12 + r#"{"done":1790003600000}"#.len() as u64;
    cut_tail(&bench.path, 5 * done_record);
    let outbox = bench.open();
    assert_eq!(outbox.pending(), 5);
    for n in 0..200 {
        bench.push(&outbox, vec![row(1, n, 1)]);
    }
    bench.finish(&outbox);
    assert_eq!(bench.counted(), bench.expected());
}

#[test]
fn shutdown_sends_what_is_there() {
    let mut bench = Bench::new(CAP_BYTES);
    let outbox = bench.open();
    bench.push(&outbox, vec![row(1, 0, 5)]);
    let (stop, shutdown) = watch::channel(false);
    stop.send_replace(true);
    let origin: Arc<dyn Origin> = bench.origin.clone();
    paused().block_on(outbox.run(origin, shutdown));
    assert_eq!(bench.counted(), bench.expected());
}
