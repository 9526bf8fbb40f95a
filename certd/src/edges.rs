//! Waiting until the edges hold what the store has told them.

use std::time::Duration;

use model::Timestamp;
use model::change::Revision;
use store::{EdgeRecord, Store, StoreError};
use tokio::time::{Instant, sleep};

/// An edge that has been silent for longer is not waited for; edges report at least every five seconds.
const HEARD_OF: Duration = Duration::from_secs(15);
/// Time between two looks at the reports.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits until every edge that was heard of lately has reported `revision` or later, at most for `bound`.
/// False: the bound came first, or there is no such edge.
pub(crate) async fn wait(store: &Store, revision: Revision, bound: Duration) -> Result<bool, StoreError> {
    let end = Instant::now() + bound;
    loop {
        if have(&store.edges().await?, revision, store.now()) {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(INTERVAL).await;
    }
}

fn have(edges: &[EdgeRecord], revision: Revision, now: Timestamp) -> bool {
    let mut heard_of = edges.iter().filter(|edge| now.since(edge.seen_at) <= HEARD_OF).peekable();
    heard_of.peek().is_some() && heard_of.all(|edge| edge.report.revision >= revision)
}

#[cfg(test)]
mod tests {
    use model::edge::EdgeReport;
    use model::id::EdgeId;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000)
    }

    fn edge(revision: u64, silent: Duration) -> EdgeRecord {
        let report = EdgeReport {
            edge: EdgeId::generate(now()),
            revision: Revision(revision),
            version: String::new(),
            started_at: now(),
            sites: 0,
            certificates: 0,
        };
        EdgeRecord { report, seen_at: now().minus(silent) }
    }

    #[test]
    fn every_edge_that_speaks_must_have_it() {
        let fresh = Duration::from_secs(15);
        assert!(have(&[edge(7, fresh), edge(9, fresh)], Revision(7), now()));
        assert!(!have(&[edge(6, fresh), edge(9, fresh)], Revision(7), now()));
    }

    #[test]
    fn a_silent_edge_holds_nobody_up_and_vouches_for_nothing() {
        let (fresh, silent) = (Duration::ZERO, Duration::from_secs(16));
        assert!(have(&[edge(1, silent), edge(9, fresh)], Revision(7), now()));
        assert!(!have(&[edge(9, silent)], Revision(7), now()));
        assert!(!have(&[], Revision(7), now()));
    }
}
