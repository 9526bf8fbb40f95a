//! Looks at domains: taken by one process, written down together, and what becomes of a change that breaks off.

use std::task::Poll;
use std::time::Duration;

use model::Timestamp;
use model::domain::{DomainStatus, Facts};
use model::tenant::Slug;
use store::{Access, DomainRecord, NewTenant, Page, StoreError, Version};

use crate::bench::{Bench, HOUR, actor, live, proved};
use crate::on_both_engines;

async fn domains(bench: &Bench, count: usize) -> Vec<DomainRecord> {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let mut domains = Vec::new();
    for number in 0..count {
        domains.push(bench.proved_domain(app.id, &format!("shop-{number}.example.com")).await);
    }
    domains
}

/// What became of these looks, which end in one moment.
async fn look_at_once(
    bench: &Bench,
    looks: Vec<(&DomainRecord, Facts)>,
    next: Timestamp,
) -> Vec<Result<DomainRecord, StoreError>> {
    let mut ended = Vec::new();
    for (domain, facts) in looks {
        let (store, id, version) = (bench.store.clone(), domain.id, domain.version);
        ended.push(tokio::spawn(async move { store.record_domain_check(id, version, facts, next).await }));
    }
    let mut outcomes = Vec::new();
    for look in ended {
        outcomes.push(look.await.unwrap());
    }
    outcomes
}

async fn a_look_is_taken_by_one_process_until_its_time_is_over(bench: Bench) {
    let domains = domains(&bench, 40).await;
    let ids: Vec<_> = domains.iter().map(|domain| domain.id).collect();
    let other = bench.reopened(&["apps.test", "alt.test"]).await;
    let until = bench.now().plus(HOUR * 2);
    assert!(bench.store.take_domain_checks(&ids, until).await.unwrap().is_empty(), "none is due");
    bench.clock.advance(HOUR);
    let until = bench.now().plus(Duration::from_secs(120));
    let (ours, theirs) =
        tokio::join!(bench.store.take_domain_checks(&ids, until), other.take_domain_checks(&ids, until));
    let mut taken = [ours.unwrap(), theirs.unwrap()].concat();
    taken.sort();
    assert_eq!(taken, ids, "each once");
    assert!(bench.store.due_domains(until.minus(Duration::from_millis(1)), 100).await.unwrap().is_empty());
    assert_eq!(bench.store.due_domains(until, 100).await.unwrap().len(), 40, "whoever took them may be gone");
    bench.check(&domains[0], proved()).await;
    assert!(bench.store.take_domain_checks(&[], until).await.unwrap().is_empty());
}

async fn each_of_many_looks_has_its_own_outcome(bench: Bench) {
    let domains = domains(&bench, 70).await;
    let gone = &domains[2];
    bench.store.delete_domain(&actor(), Access::Platform, gone.id).await.unwrap();
    bench.check(&domains[1], proved()).await;
    let next = bench.now().plus(HOUR * 6);
    let facts = |number| if number == 0 { live(next) } else { proved() };
    let looks = domains.iter().enumerate().map(|(number, domain)| (domain, facts(number))).collect();
    let before = (bench.head().await, bench.audited().await);
    let outcomes = look_at_once(&bench, looks, next).await;
    let after = (bench.head().await, bench.audited().await);
    assert_eq!((after.0.0 - before.0.0, after.1 - before.1), (1, 1), "one is news");
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match (number, outcome) {
            (0, outcome) => assert_eq!(outcome.unwrap().status, DomainStatus::Live),
            (1, outcome) => assert!(matches!(outcome, Err(StoreError::Stale { current: Version(3), .. }))),
            (2, outcome) => assert!(matches!(outcome, Err(StoreError::NotFound { .. }))),
            (_, outcome) => {
                let kept = outcome.unwrap();
                assert_eq!((kept.version, kept.next_check_at), (Version(3), next));
                assert_eq!(bench.store.domain(Access::Platform, kept.id).await.unwrap(), kept);
            }
        }
    }
}

async fn of_two_looks_in_one_moment_one_is_stale(bench: Bench) {
    let domains = domains(&bench, 3).await;
    let looks = domains.iter().chain(&domains).map(|domain| (domain, proved())).collect();
    let outcomes = look_at_once(&bench, looks, bench.now().plus(HOUR)).await;
    let (kept, others): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(kept.len(), 3);
    let is_stale = |look: &_| matches!(look, Err(StoreError::Stale { current: Version(3), .. }));
    assert!(others.iter().all(is_stale), "{others:?}");
}

async fn a_row_that_is_damaged_spoils_no_other_look(bench: Bench) {
    let domains = domains(&bench, 3).await;
    bench.execute("UPDATE domains SET facts = '[{]' WHERE host = 'shop-1.example.com'").await;
    let next = bench.now().plus(HOUR);
    let looks = domains.iter().map(|domain| (domain, proved())).collect();
    let outcomes = look_at_once(&bench, looks, next).await;
    assert!(matches!(&outcomes[1], Err(StoreError::Corrupt { what }) if what.contains("facts")));
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
}

/// Goes on with a future until it has waited so often.
async fn give_up_after<T>(waits: u32, future: impl Future<Output = T>) {
    let (mut future, mut waited) = (std::pin::pin!(future), 0);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Pending if waited < waits => {
            waited += 1;
            Poll::Pending
        }
        _ => Poll::Ready(()),
    })
    .await;
}

async fn a_change_whose_caller_goes_away_is_whole_or_nothing_and_holds_up_nobody(bench: Bench) {
    let other = bench.reopened(&["apps.test", "alt.test"]).await;
    let named = |name: &str, number| {
        let slug = Slug::parse(&format!("{name}-{number}")).unwrap();
        NewTenant { name: name.to_owned(), slug }
    };
    let by = actor();
    for number in 0..30 {
        give_up_after(number, bench.store.create_tenant(&by, named("away", number))).await;
        // Another process, which sees locks that are left: SQLite's patience is five seconds.
        let next = other.create_tenant(&by, named("next", number));
        let next = tokio::time::timeout(Duration::from_secs(4), next).await;
        assert!(next.is_ok_and(|next| next.is_ok()), "after {number} steps");
    }
    let kept =
        bench.store.tenants(Access::Platform, &Page::first(Page::MAX_LIMIT)).await.unwrap().items.len();
    assert_eq!(bench.audited().await, i64::try_from(kept).unwrap(), "each with its event");
}

on_both_engines!(
    a_look_is_taken_by_one_process_until_its_time_is_over,
    each_of_many_looks_has_its_own_outcome,
    of_two_looks_in_one_moment_one_is_stale,
    a_row_that_is_damaged_spoils_no_other_look,
    a_change_whose_caller_goes_away_is_whole_or_nothing_and_holds_up_nobody,
);
