//! Reports of edges.

use model::change::Revision;
use model::edge::EdgeReport;
use model::id::EdgeId;

use crate::bench::{Bench, DAY};
use crate::on_both_engines;

fn report(bench: &Bench, edge: EdgeId, revision: u64) -> EdgeReport {
    let version = "1.2.3".to_owned();
    EdgeReport {
        edge,
        revision: Revision(revision),
        version,
        started_at: bench.now(),
        sites: 2,
        certificates: 3,
    }
}

async fn the_latest_report_of_each_edge_counts(bench: Bench) {
    let edge = EdgeId::generate(bench.now());
    bench.store.report_edge(&report(&bench, edge, 1)).await.unwrap();
    bench.tick();
    let latest = report(&bench, edge, 9);
    bench.store.report_edge(&latest).await.unwrap();
    let edges = bench.store.edges().await.unwrap();
    let [seen] = edges.as_slice() else { panic!("{edges:?}") };
    assert_eq!((&seen.report, seen.seen_at), (&latest, bench.now()));
}

async fn a_silent_edge_is_forgotten_after_a_week(bench: Bench) {
    bench.store.report_edge(&report(&bench, EdgeId::generate(bench.now()), 1)).await.unwrap();
    bench.clock.advance(DAY * 7);
    assert!(bench.store.edges().await.unwrap().is_empty());
    bench.store.report_edge(&report(&bench, EdgeId::generate(bench.now()), 1)).await.unwrap();
    assert_eq!(bench.count("SELECT COUNT(*) FROM edges").await, 1);
}

on_both_engines! { the_latest_report_of_each_edge_counts, a_silent_edge_is_forgotten_after_a_week }
