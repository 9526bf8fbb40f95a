//! Reports of edges.

use model::change::Revision;
use model::edge::EdgeReport;
use model::id::{EdgeId, KeyId};
use model::usage::UsageBatch;
use store::{Access, NewKey, Scope, StoreError};

use crate::bench::{Bench, DAY, actor};
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

async fn key(bench: &Bench, lookup: &str) -> KeyId {
    let new =
        NewKey { name: None, tenant: None, scope: Scope::Edge, lookup: lookup.to_owned(), hash: [1; 32] };
    bench.store.create_key(&actor(), Access::Platform, new).await.unwrap().id
}

async fn an_edge_belongs_to_the_first_key_that_speaks_for_it(bench: Bench) {
    let (one, two) = (key(&bench, "one").await, key(&bench, "two").await);
    let edge = EdgeId::generate(bench.now());
    let (store, report) = (&bench.store, report(&bench, edge, 1));
    let usage = |sequence| UsageBatch { edge, sequence, rows: vec![] };
    let is_foreign =
        |refused: Option<StoreError>| matches!(refused, Some(StoreError::EdgeOfAnotherKey { .. }));
    assert!(store.ingest_usage_of(one, &usage(1)).await.unwrap(), "its usage may come first");
    store.report_edge_of(one, &report).await.unwrap();
    assert!(is_foreign(store.ingest_usage_of(two, &usage(2)).await.err()));
    assert!(is_foreign(store.report_edge_of(two, &report).await.err()));
    assert!(is_foreign(store.report_edge(&report).await.err()), "nor the edge without a key");
    assert!(store.ingest_usage_of(one, &usage(2)).await.unwrap(), "nothing was taken of the others");
    store.delete_key(&actor(), Access::Platform, one).await.unwrap();
    store.report_edge_of(two, &report).await.unwrap();
    assert!(store.ingest_usage_of(two, &usage(3)).await.unwrap());
}

async fn the_edge_without_a_key_keeps_its_id(bench: Bench) {
    let key = key(&bench, "one").await;
    let report = report(&bench, EdgeId::generate(bench.now()), 1);
    bench.store.report_edge(&report).await.unwrap();
    let refused = bench.store.report_edge_of(key, &report).await;
    assert!(matches!(refused, Err(StoreError::EdgeOfAnotherKey { .. })), "{refused:?}");
    bench.store.report_edge(&report).await.unwrap();
}

on_both_engines! {
    the_latest_report_of_each_edge_counts,
    a_silent_edge_is_forgotten_after_a_week,
    an_edge_belongs_to_the_first_key_that_speaks_for_it,
    the_edge_without_a_key_keeps_its_id,
}
