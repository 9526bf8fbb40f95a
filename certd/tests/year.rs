//! A simulated year, and bad days in it: what two processes make of them.

use std::time::Duration;

use model::Clock as _;
use testkit::ca::{Ca, Fault, Rule};

use self::world::{DAY, HOUR, STEPS, Year, lets_encrypt, live_through, start_of_time};

mod world;

const SECOND: Duration = Duration::from_secs(1);

/// Two renewals of each of a thousand. At full size: the example `year`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_are_kept_certified_by_two_processes_inside_all_windows_and_limits() {
    // Days without any renewal are passed over: what is asked in them has nothing to tell.
    println!("{}", live_through(1_000, 65, (STEPS.0, DAY * 10)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_days_without_an_authority_cost_nobody_the_padlock_and_keep_nobody_waiting() {
    let clock = start_of_time();
    let first = Ca::start(lets_encrypt(&clock, 1)).await.unwrap();
    let second = Ca::start(lets_encrypt(&clock, 2)).await.unwrap();
    let mut year = Year::start(clock, &[&first, &second]).await;
    year.board(8).await;
    year.pass(DAY * 25, STEPS).await;
    first.script(Rule::always(Fault::Unavailable(None)));
    year.pass(DAY * 2, STEPS).await;
    let domain = year.add().await;
    let added = domain.created_at;
    while !year.is_live(&domain).await {
        year.pass(SECOND * 5, (SECOND, SECOND * 5)).await;
        let waited = year.clock.now().since(added);
        assert!(waited <= SECOND * 90, "{waited:?}");
    }
    year.pass(DAY * 8, STEPS).await;
    assert_eq!(first.counts().finalized, 8);
    first.clear_faults();
    year.pass(DAY * 40, STEPS).await;
    year.assert_no_expiry().await;
    assert_eq!(first.counts().finalized, 17, "all are home again");
    assert_eq!((first.counts().limited(), second.counts().limited()), (0, 0));
    year.stop().await;
}

/// Each is asked about every six hours, half of them three hours after the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_revoked_all_at_once_is_replaced_within_an_hour_of_the_first_question() {
    let clock = start_of_time();
    let ca = Ca::start(lets_encrypt(&clock, 1)).await.unwrap();
    let mut year = Year::start(clock, &[&ca]).await;
    year.board(20).await;
    year.pass(HOUR * 3, STEPS).await;
    year.board(20).await;
    year.pass(DAY, (HOUR / 2, HOUR / 2)).await;
    assert_eq!(ca.revoke(|_| true), 40);
    let step = HOUR / 12;
    while ca.counts().finalized == 40 {
        year.pass(step, (step, step)).await;
    }
    year.pass(HOUR - step, (step, step)).await;
    assert_eq!(year.assert_no_expiry().await, 80);
    assert_eq!(ca.counts().limited(), 0);
    year.stop().await;
}
