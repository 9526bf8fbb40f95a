//! The log that edges follow: order, resets, purges, and who is woken.

use std::collections::BTreeSet;
use std::time::Duration;

use model::acme::{Challenge, ChallengeKind, Token};
use model::change::{Lineage, Object, ObjectId, Revision};
use store::Access;

use crate::bench::{Bench, DAY, HOUR, NO_LINEAGE, actor, host};
use crate::on_both_engines;

const BOUND: Duration = Duration::from_secs(20);

async fn lineage(bench: &Bench) -> Lineage {
    bench.store.changes(&NO_LINEAGE, Revision(0), 1).await.unwrap().lineage
}

async fn revisions_are_gapless_in_commit_order_under_many_writers(bench: Bench) {
    const WRITERS: usize = 8;
    const EACH: usize = 12;
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = bench.store.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    let slug = model::tenant::Slug::parse(&format!("w{writer}-{number}")).unwrap();
                    let new = store::NewTenant { name: "One".to_owned(), slug };
                    store.create_tenant(&actor(), new).await.unwrap();
                }
            })
        })
        .collect();
    let (lineage, mut seen) = (lineage(&bench).await, Vec::new());
    let follow = async {
        let mut after = Revision(0);
        while seen.len() < WRITERS * EACH {
            let batch = bench.store.changes(&lineage, after, 7).await.unwrap();
            assert!(!batch.reset && batch.lineage == lineage);
            seen.extend(batch.changes.iter().map(|change| change.revision.0));
            after = batch.next;
        }
    };
    tokio::time::timeout(BOUND, follow).await.expect("the follower sees every change");
    for task in tasks {
        task.await.unwrap();
    }
    let every: Vec<u64> = (1..).take(WRITERS * EACH).collect();
    assert_eq!(seen, every, "a follower that read while others wrote missed none");
}

async fn a_watcher_is_woken_by_each_commit(bench: Bench) {
    let mut watch = bench.store.watch();
    let before = *watch.borrow_and_update();
    bench.tenant("one").await;
    tokio::time::timeout(BOUND, watch.changed()).await.unwrap().unwrap();
    assert_eq!(watch.borrow().0, before.0 + 1);
    assert_eq!(bench.head().await, *watch.borrow());
}

async fn another_lineage_or_a_revision_beyond_the_head_begins_anew(bench: Bench) {
    for number in 0..5 {
        bench.tenant(&format!("t{number}")).await;
    }
    let own = lineage(&bench).await;
    for (asked, after) in [(&NO_LINEAGE, 3), (&Lineage("other.0".to_owned()), 3), (&own, 6)] {
        let batch = bench.store.changes(asked, Revision(after), 2).await.unwrap();
        assert!(batch.reset && batch.more);
        assert_eq!((batch.lineage, batch.next, batch.changes.len()), (own.clone(), Revision(2), 2));
    }
    let batch = bench.store.changes(&own, Revision(2), 2).await.unwrap();
    assert!(!batch.reset && batch.more);
    let batch = bench.store.changes(&own, Revision(4), 2).await.unwrap();
    assert_eq!((batch.reset, batch.more, batch.next), (false, false, Revision(5)));
    let batch = bench.store.changes(&own, Revision(5), 2).await.unwrap();
    assert_eq!((batch.changes.len(), batch.next), (0, Revision(5)));
}

async fn of_an_object_only_its_latest_place_counts(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let app = bench.app(tenant, "shop").await.id;
    bench.store.suspend_tenant(&actor(), tenant, "unpaid").await.unwrap();
    let batch = bench.store.changes(&NO_LINEAGE, Revision(0), 10).await.unwrap();
    let places: Vec<_> = batch.changes.iter().map(|change| (change.revision.0, change.id.clone())).collect();
    assert_eq!(places, [(2, ObjectId::Site(app)), (3, ObjectId::Tenant(tenant))]);
}

async fn who_was_away_for_a_purge_begins_anew_and_gets_through(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let apps = ["a", "b", "c", "d"];
    let mut ids = Vec::new();
    for name in apps {
        ids.push(bench.app(tenant, name).await.id);
    }
    let (away, old) = (bench.head().await, lineage(&bench).await);
    bench.store.delete_app(&actor(), Access::Platform, ids[0], None).await.unwrap();
    let present = bench.head().await;
    bench.app(tenant, "e").await;
    assert_eq!(bench.store.purge_tombstones(bench.now().minus(DAY)).await.unwrap(), 0);
    bench.clock.advance(DAY);
    assert_eq!(bench.store.purge_tombstones(bench.now()).await.unwrap(), 1);
    let batch = bench.store.changes(&old, present, 10).await.unwrap();
    assert!(!batch.reset, "it had heard of the deletion");
    let mut batch = bench.store.changes(&old, away, 1).await.unwrap();
    assert!(batch.reset);
    let mut known: BTreeSet<ObjectId> = batch.changes.iter().map(|change| change.id.clone()).collect();
    for _ in 0..10 {
        if !batch.more {
            break;
        }
        batch = bench.store.changes(&batch.lineage, batch.next, 1).await.unwrap();
        assert!(!batch.reset, "pages before the horizon are part of this reset");
        known.extend(batch.changes.iter().map(|change| change.id.clone()));
    }
    assert!(!batch.more);
    assert_eq!(known.len(), 5);
    assert!(!known.contains(&ObjectId::Site(ids[0])));
}

async fn a_challenge_is_there_until_it_is_dropped_or_past(bench: Bench) {
    let challenge = |token: &str| Challenge {
        kind: ChallengeKind::Http01,
        token: Token::parse(token).unwrap(),
        host: host("a.example.com"),
        key_authorization: format!("{token}.thumbprint"),
        expires_at: bench.now().plus(HOUR),
    };
    let there = async || -> Vec<Challenge> {
        let batch = bench.store.changes(&NO_LINEAGE, Revision(0), 100).await.unwrap();
        let object = |object| if let Object::Challenge(challenge) = object { Some(challenge) } else { None };
        batch.changes.into_iter().filter_map(|change| change.object.and_then(object)).collect()
    };
    let (one, two) = (challenge("one"), challenge("two"));
    bench.store.put_challenge(&one).await.unwrap();
    bench.store.put_challenge(&two).await.unwrap();
    assert_eq!(there().await, [one.clone(), two.clone()]);
    bench.store.drop_challenge(&one.token).await.unwrap();
    let head = bench.head().await;
    bench.store.drop_challenge(&one.token).await.unwrap();
    assert_eq!(bench.head().await, head, "gone already");
    assert_eq!(there().await, [two]);
    bench.clock.advance(HOUR);
    assert!(there().await.is_empty());
    let three = Challenge { expires_at: bench.now().plus(HOUR), ..challenge("three") };
    bench.store.put_challenge(&three).await.unwrap();
    assert_eq!(bench.count("SELECT COUNT(*) FROM challenges").await, 1);
}

async fn other_zones_change_every_site(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let (head, lineage) = (bench.head().await, lineage(&bench).await);
    let same = bench.reopened(&["apps.test", "alt.test"]).await;
    assert_eq!(same.head().await.unwrap(), head);
    let store = bench.reopened(&["new.test"]).await;
    let batch = store.changes(&lineage, head, 10).await.unwrap();
    let [change] = batch.changes.as_slice() else { panic!("{batch:?}") };
    let Some(Object::Site(site)) = &change.object else { panic!("{change:?}") };
    assert_eq!((site.app, site.hosts[0].host.to_string().as_str()), (app.id, "shop.new.test"));
}

async fn a_new_lineage_wakes_who_waits_and_begins_anew(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let (head, old) = (bench.head().await, lineage(&bench).await);
    let mut watch = bench.store.watch();
    watch.borrow_and_update();
    bench.store.begin_new_lineage(&actor()).await.unwrap();
    tokio::time::timeout(BOUND, watch.changed()).await.unwrap().unwrap();
    let batch = bench.store.changes(&old, head, 10).await.unwrap();
    assert!(batch.reset && batch.lineage != old);
    let ids: Vec<_> = batch.changes.iter().map(|change| change.id.clone()).collect();
    assert_eq!((ids, batch.next), (vec![ObjectId::Tenant(tenant)], bench.head().await));
    let batch = bench.store.changes(&batch.lineage, batch.next, 10).await.unwrap();
    assert!(!batch.reset && batch.changes.is_empty());
}

on_both_engines! {
    a_new_lineage_wakes_who_waits_and_begins_anew,
    revisions_are_gapless_in_commit_order_under_many_writers,
    a_watcher_is_woken_by_each_commit,
    another_lineage_or_a_revision_beyond_the_head_begins_anew,
    of_an_object_only_its_latest_place_counts,
    who_was_away_for_a_purge_begins_anew_and_gets_through,
    a_challenge_is_there_until_it_is_dropped_or_past,
    other_zones_change_every_site,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_a_commit_of_another_node_wakes_as_well() {
    let Some(bench) = Bench::postgres().await else { return };
    let other = bench.reopened(&["apps.test", "alt.test"]).await;
    let mut watch = other.watch();
    watch.borrow_and_update();
    bench.tenant("one").await;
    tokio::time::timeout(BOUND, watch.changed()).await.unwrap().unwrap();
    assert_eq!(bench.head().await, *watch.borrow());
}
