//! Usage as it is counted: sums per app, minute and class, handed to the outbox every second.
//!
//! Each app has one meter, which outlives the versions of its site. A meter that has counted stands in the
//! ledger's list until the next hand-over, so that a second costs as much as there are busy apps. What the
//! outbox does not take is kept and offered again; if that goes on for long, minutes are summed up to hours,
//! so that totals never change and memory stays bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Timestamp;
use model::id::{AppId, TenantId};
use model::usage::{Counters, UsageClass, UsageKey, UsageRow, WINDOW};

/// From so many rows on, those that wait are summed up to hours: some 10 MB.
const MOST_WAITING: usize = 100_000;
const HOUR: Duration = Duration::from_secs(3600);

/// Where usage goes: the feed's outbox.
pub trait UsageSink: Send + Sync + 'static {
    /// Takes rows over.
    ///
    /// # Errors
    /// Why none of them was taken; they are offered again.
    fn push(&self, rows: Vec<UsageRow>) -> Result<(), String>;
}

impl UsageSink for feed::Outbox {
    fn push(&self, rows: Vec<UsageRow>) -> Result<(), String> {
        Self::push(self, rows).map_err(|error| error.to_string())
    }
}

/// The meter of one app.
#[derive(Debug)]
pub(crate) struct Meter {
    tenant: TenantId,
    app: AppId,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    window: Timestamp,
    /// In the order of [`UsageClass::ALL`].
    sums: [Counters; 3],
    is_listed: bool,
}

/// What was counted and not handed over yet.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    listed: Mutex<Vec<Arc<Meter>>>,
    waiting: Mutex<BTreeMap<UsageKey, Counters>>,
}

/// A panic elsewhere leaves sums whole: each step is one addition.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// A meter at zero.
    pub(crate) fn new(tenant: TenantId, app: AppId) -> Self {
        Self { tenant, app, tally: Mutex::default() }
    }

    /// Whether it counts for `tenant`.
    pub(crate) fn is_of(&self, tenant: TenantId) -> bool {
        self.tenant == tenant
    }

    fn rows(&self, tally: &mut Tally) -> [UsageRow; 3] {
        let sums = std::mem::take(&mut tally.sums);
        let [visitor, refused, blocked] = sums;
        let [first, second, third] = UsageClass::ALL;
        [(first, visitor), (second, refused), (third, blocked)].map(|(class, counters)| UsageRow {
            key: UsageKey { tenant: self.tenant, app: self.app, window: tally.window, class },
            counters,
        })
    }
}

impl Ledger {
    /// Adds `more` to what `meter` counted in the minute of `now`.
    pub(crate) fn count(&self, meter: &Arc<Meter>, now: Timestamp, class: UsageClass, more: Counters) {
        let window = now.floor_to(WINDOW);
        let mut tally = lock(&meter.tally);
        if tally.window != window {
            self.close(meter.rows(&mut tally));
            tally.window = window;
        }
        if let Some(sum) = tally.sums.get_mut(place(class)) {
            sum.add(more);
        }
        let is_new = !std::mem::replace(&mut tally.is_listed, true);
        drop(tally);
        if is_new {
            lock(&self.listed).push(Arc::clone(meter));
        }
    }

    /// Hands over all that was counted. On an error it is kept.
    pub(crate) fn hand_over(&self, sink: &dyn UsageSink) {
        for meter in std::mem::take(&mut *lock(&self.listed)) {
            let mut tally = lock(&meter.tally);
            tally.is_listed = false;
            self.close(meter.rows(&mut tally));
        }
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        if waiting.is_empty() {
            return;
        }
        let rows: Vec<UsageRow> =
            waiting.iter().map(|(key, counters)| UsageRow { key: *key, counters: *counters }).collect();
        if let Err(error) = sink.push(rows) {
            tracing::error!(rows = waiting.len(), error, "usage was not taken: it is kept in memory");
            self.put_back(waiting);
        }
    }

    fn close(&self, rows: [UsageRow; 3]) {
        let mut waiting = lock(&self.waiting);
        for row in rows.into_iter().filter(|row| !row.counters.is_zero()) {
            waiting.entry(row.key).or_default().add(row.counters);
        }
    }

    fn put_back(&self, rows: BTreeMap<UsageKey, Counters>) {
        let is_much = rows.len() > MOST_WAITING;
        let mut waiting = lock(&self.waiting);
        for (mut key, counters) in rows {
            if is_much {
                key.window = key.window.floor_to(HOUR);
            }
            waiting.entry(key).or_default().add(counters);
        }
    }
}

const fn place(class: UsageClass) -> usize {
    match class {
        UsageClass::Visitor => 0,
        UsageClass::Refused => 1,
        UsageClass::Blocked => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that can be full.
    #[derive(Default)]
    struct Box1 {
        rows: Mutex<Vec<UsageRow>>,
        is_full: std::sync::atomic::AtomicBool,
    }

    impl UsageSink for Box1 {
        fn push(&self, rows: Vec<UsageRow>) -> Result<(), String> {
            if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
                return Err("full".to_owned());
            }
            lock(&self.rows).extend(rows);
            Ok(())
        }
    }

    fn meter() -> Arc<Meter> {
        let now = Timestamp::from_unix_seconds(0);
        Arc::new(Meter::new(TenantId::generate(now), AppId::generate(now)))
    }

    const ONE: Counters = Counters { requests: 1, bytes_in: 2, bytes_out: 3 };

    #[test]
    fn sums_are_kept_by_minute_and_class() {
        let (ledger, meter, sink) = (Ledger::default(), meter(), Box1::default());
        for (second, class) in [
            (0, UsageClass::Visitor),
            (59, UsageClass::Visitor),
            (59, UsageClass::Blocked),
            (60, UsageClass::Visitor),
        ] {
            ledger.count(&meter, Timestamp::from_unix_seconds(second), class, ONE);
        }
        ledger.hand_over(&sink);
        let rows = lock(&sink.rows);
        let requests: Vec<_> = rows
            .iter()
            .map(|row| (row.key.window.unix_seconds(), row.key.class, row.counters.requests))
            .collect();
        assert_eq!(
            requests,
            [(0, UsageClass::Visitor, 2), (0, UsageClass::Blocked, 1), (60, UsageClass::Visitor, 1)]
        );
    }

    #[test]
    fn what_is_not_taken_is_offered_again_and_nothing_twice() {
        let (ledger, meter, sink) = (Ledger::default(), meter(), Box1::default());
        let now = Timestamp::from_unix_seconds(0);
        sink.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
        ledger.count(&meter, now, UsageClass::Visitor, ONE);
        ledger.hand_over(&sink);
        ledger.count(&meter, now, UsageClass::Visitor, ONE);
        sink.is_full.store(false, std::sync::atomic::Ordering::Relaxed);
        ledger.hand_over(&sink);
        ledger.hand_over(&sink);
        let rows = lock(&sink.rows);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows.first().map(|row| row.counters.requests), Some(2));
    }
}
