//! Usage: counted once, summed right.

use model::Timestamp;
use model::id::{AppId, EdgeId, TenantId};
use model::usage::{Counters, UsageBatch, UsageClass, UsageKey, UsageRow, WINDOW};
use store::{Access, StoreError, UsageGroup, UsageLine, UsageQuery};

use crate::bench::{Bench, DAY, HOUR};
use crate::on_both_engines;

fn row((tenant, app): (TenantId, AppId), at: Timestamp, class: UsageClass, requests: u64) -> UsageRow {
    let key = UsageKey { tenant, app, window: at.floor_to(WINDOW), class };
    UsageRow { key, counters: Counters { requests, bytes_in: requests * 10, bytes_out: requests * 100 } }
}

async fn site(bench: &Bench) -> (TenantId, AppId) {
    let tenant = bench.tenant("one").await.id;
    (tenant, bench.app(tenant, "shop").await.id)
}

async fn sums(bench: &Bench, tenant: TenantId, group_by: UsageGroup) -> Vec<UsageLine> {
    let query = UsageQuery { from: bench.now().minus(DAY * 10), to: bench.now().plus(HOUR), group_by };
    bench.store.usage(Access::Tenant(tenant), tenant, query).await.unwrap()
}

async fn total(bench: &Bench, tenant: TenantId) -> u64 {
    sums(bench, tenant, UsageGroup::None).await[0].counters.requests
}

async fn a_batch_counts_once_however_often_it_is_sent(bench: Bench) {
    let site = site(&bench).await;
    let edge = EdgeId::generate(bench.now());
    let batch = |sequence| UsageBatch {
        edge,
        sequence,
        rows: vec![
            row(site, bench.now(), UsageClass::Visitor, 5),
            row(site, bench.now(), UsageClass::Visitor, 2),
        ],
    };
    assert_eq!(bench.store.usage_freshness().await.unwrap(), None);
    assert!(bench.store.ingest_usage(&batch(1)).await.unwrap());
    assert!(!bench.store.ingest_usage(&batch(1)).await.unwrap());
    assert!(bench.store.ingest_usage(&batch(3)).await.unwrap(), "a gap is the edge's business");
    assert!(!bench.store.ingest_usage(&batch(2)).await.unwrap());
    assert_eq!(total(&bench, site.0).await, 14);
    assert_eq!(bench.store.usage_freshness().await.unwrap(), Some(bench.now()));
    let other = UsageBatch { edge: EdgeId::generate(bench.now()), ..batch(1) };
    assert!(bench.store.ingest_usage(&other).await.unwrap());
    assert_eq!(total(&bench, site.0).await, 21);
}

async fn the_same_batch_at_the_same_time_counts_once(bench: Bench) {
    let site = site(&bench).await;
    let rows = vec![row(site, bench.now(), UsageClass::Visitor, 5)];
    let batch = UsageBatch { edge: EdgeId::generate(bench.now()), sequence: 1, rows };
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, batch) = (bench.store.clone(), batch.clone());
            tokio::spawn(async move { store.ingest_usage(&batch).await.unwrap() })
        })
        .collect();
    let mut taken = 0;
    for task in tasks {
        taken += usize::from(task.await.unwrap());
    }
    assert_eq!((taken, total(&bench, site.0).await), (1, 5));
}

async fn edges_that_count_the_same_apps_do_not_stop_each_other(bench: Bench) {
    let (tenant, app) = site(&bench).await;
    let apps: Vec<AppId> = (0..20).map(|_| AppId::generate(bench.now())).chain([app]).collect();
    let tasks: Vec<_> = (0..6)
        .map(|number| {
            let (store, mut apps, now) = (bench.store.clone(), apps.clone(), bench.now());
            tokio::spawn(async move {
                apps.rotate_left(number);
                let edge = EdgeId::generate(now);
                for sequence in 1..=5 {
                    let rows =
                        apps.iter().map(|app| row((tenant, *app), now, UsageClass::Visitor, 1)).collect();
                    assert!(store.ingest_usage(&UsageBatch { edge, sequence, rows }).await.unwrap());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(total(&bench, tenant).await, 6 * 5 * 21);
}

async fn usage_of_an_unknown_tenant_is_left_out(bench: Bench) {
    let site = site(&bench).await;
    let stranger = (TenantId::generate(bench.now()), site.1);
    let rows = vec![
        row(stranger, bench.now(), UsageClass::Visitor, 9),
        row(site, bench.now(), UsageClass::Visitor, 1),
    ];
    let batch = UsageBatch { edge: EdgeId::generate(bench.now()), sequence: 1, rows };
    assert!(bench.store.ingest_usage(&batch).await.unwrap());
    assert_eq!(bench.count("SELECT COUNT(*) FROM usage_sums").await, 1);
}

async fn usage_is_summed_by_app_class_hour_and_day(bench: Bench) {
    let (tenant, app) = site(&bench).await;
    let other = bench.app(tenant, "other").await.id;
    let yesterday = bench.now().minus(DAY);
    let rows = vec![
        row((tenant, app), bench.now(), UsageClass::Visitor, 1),
        row((tenant, app), bench.now(), UsageClass::Blocked, 2),
        row((tenant, other), bench.now().minus(HOUR), UsageClass::Visitor, 4),
        row((tenant, app), yesterday, UsageClass::Refused, 8),
    ];
    let batch = UsageBatch { edge: EdgeId::generate(bench.now()), sequence: 1, rows };
    bench.store.ingest_usage(&batch).await.unwrap();
    let all = sums(&bench, tenant, UsageGroup::None).await;
    assert_eq!(all[0].counters, Counters { requests: 15, bytes_in: 150, bytes_out: 1500 });
    assert_eq!(all[0].by_class[&UsageClass::Visitor].requests, 5);
    let requests = async |group_by| -> Vec<u64> {
        sums(&bench, tenant, group_by).await.iter().map(|line| line.counters.requests).collect()
    };
    assert_eq!(requests(UsageGroup::App).await, [11, 4]);
    assert_eq!(requests(UsageGroup::Class).await, [2, 8, 5], "blocked, refused, visitor");
    assert_eq!(requests(UsageGroup::Hour).await, [8, 4, 3]);
    assert_eq!(requests(UsageGroup::Day).await, [8, 7]);
    let days = sums(&bench, tenant, UsageGroup::Day).await;
    assert_eq!(days[0].start, Some(yesterday.floor_to(DAY)));
}

async fn a_stretch_has_its_begin_and_not_its_end(bench: Bench) {
    let site = site(&bench).await;
    let at = bench.now().floor_to(WINDOW);
    let rows = vec![row(site, at, UsageClass::Visitor, 1)];
    bench.store.ingest_usage(&UsageBatch { edge: EdgeId::generate(at), sequence: 1, rows }).await.unwrap();
    let count = async |from, to| {
        let query = UsageQuery { from, to, group_by: UsageGroup::None };
        bench.store.usage(Access::Platform, site.0, query).await.map(|lines| lines[0].counters.requests)
    };
    assert_eq!(count(at, at.plus(WINDOW)).await.unwrap(), 1);
    assert_eq!(count(at.minus(WINDOW), at).await.unwrap(), 0);
    assert!(matches!(count(at, at.minus(WINDOW)).await, Err(StoreError::Invalid { field: "from", .. })));
    let query = UsageQuery { from: at, to: at, group_by: UsageGroup::None };
    let stranger = TenantId::generate(at);
    let refused = bench.store.usage(Access::Tenant(stranger), site.0, query).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })));
}

async fn a_batch_that_no_edge_sends_is_refused(bench: Bench) {
    let site = site(&bench).await;
    let edge = EdgeId::generate(bench.now());
    let rows = vec![row(site, bench.now(), UsageClass::Visitor, u64::MAX / 1000)];
    for batch in [UsageBatch { edge, sequence: 0, rows: vec![] }, UsageBatch { edge, sequence: 1, rows }] {
        let refused = bench.store.ingest_usage(&batch).await;
        assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    }
}

on_both_engines! {
    a_batch_counts_once_however_often_it_is_sent,
    the_same_batch_at_the_same_time_counts_once,
    edges_that_count_the_same_apps_do_not_stop_each_other,
    usage_of_an_unknown_tenant_is_left_out,
    usage_is_summed_by_app_class_hour_and_day,
    a_stretch_has_its_begin_and_not_its_end,
    a_batch_that_no_edge_sends_is_refused,
}
