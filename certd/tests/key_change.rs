//! Another key for the account with an authority, however its making is broken off.

use std::time::Duration;

use anyhow::ensure;
use model::clock::ManualClock;
use store::{AccountRecord, Actor, OrderState};
use testkit::ca::{Fault, Kind as Asked, Rule};
use testkit::wait::until;

use crate::authority::{Scene, standing};
use crate::rig::BOUND;

/// More than the time between two looks for accounts that are to get another key.
const A_WHILE: Duration = Duration::from_secs(6);

async fn account(scene: &Scene) -> AccountRecord {
    let directory = &scene.ca.directory_url;
    scene.installation.store.acme_account(directory).await.unwrap().unwrap()
}

/// Asks for another key, and waits until the change is as far as `is_so` says.
async fn change(scene: &Scene, clock: &ManualClock, is_so: impl Fn(&AccountRecord) -> bool) {
    let (store, directory) = (&scene.installation.store, &scene.ca.directory_url);
    store.request_key_change(&Actor::system("test"), directory).await.unwrap();
    until("the change of keys", BOUND, async || {
        clock.advance(A_WHILE);
        let found = account(scene).await;
        ensure!(is_so(&found), "{found:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_account_gets_another_key_and_orders_go_on() {
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| acme).await;
    scene.until_done(&scene.order("one.example.com").await).await;
    let before = account(&scene).await;
    change(&scene, &clock, |found| found.key != before.key).await;
    let after = account(&scene).await;
    assert_eq!((&after.account_url, &after.next_key), (&before.account_url, &None));
    assert!(scene.installation.store.key_changes().await.unwrap().is_empty());
    scene.until_done(&scene.order("two.example.com").await).await;
    assert_eq!(scene.ca.counts().of(Asked::KeyChange), 1);
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_key_that_the_authority_refuses_is_given_up_and_orders_go_on() {
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| acme).await;
    scene.until_done(&scene.order("one.example.com").await).await;
    let before = account(&scene).await;
    scene.ca.script(Rule::always(Fault::Refused).on(Asked::KeyChange));
    change(&scene, &clock, |found| found.next_key.is_none() && scene.ca.counts().of(Asked::KeyChange) > 0)
        .await;
    assert_eq!(account(&scene).await, before, "it keeps its key");
    let store = &scene.installation.store;
    assert!(store.key_changes().await.unwrap().is_empty(), "nobody asks again by himself");
    scene.until_done(&scene.order("two.example.com").await).await;
    assert_eq!(scene.ca.counts().of(Asked::KeyChange), 1);
    scene.certd.stop().await.unwrap();
}

/// The process is cut off a moment after the authority has taken the new key: before, while or after it is written
/// down that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_good_for_orders_after_each_of_a_hundred_cut_off_changes() {
    let (clock, options) = standing();
    let mut scene = Scene::with(options, |acme| acme).await;
    scene.until_done(&scene.order("first.example.com").await).await;
    let (store, directory) = (scene.installation.store.clone(), scene.ca.directory_url.clone());
    let first = account(&scene).await;
    let mut unfinished = 0;
    for number in 0..100_u32 {
        let told = scene.ca.counts().of(Asked::KeyChange);
        store.request_key_change(&Actor::system("test"), &directory).await.unwrap();
        clock.advance(A_WHILE);
        until("the authority to be told", BOUND, async || {
            ensure!(scene.ca.counts().of(Asked::KeyChange) > told);
            Ok(())
        })
        .await
        .unwrap();
        scene.certd.task.abort();
        unfinished += u32::from(account(&scene).await.next_key.is_some());
        scene.certd = scene.another().await;
        let order = scene.order(&format!("shop{number}.example.com")).await;
        scene.until_done(&order).await;
    }
    let last = account(&scene).await;
    assert_eq!(last.account_url, first.account_url);
    assert_ne!(last.key, first.key);
    println!("{unfinished} of 100 were cut off before it was written down");
    scene.certd.stop().await.unwrap();
}

/// The moments at which a crash, or a lost connection, hurts: the authority has not heard of the new key, or it has
/// and we have not heard of that.
#[tokio::test]
async fn an_account_is_good_for_orders_wherever_the_change_was_broken_off() {
    for fault in [Fault::Unavailable(None), Fault::LoseAnswer, Fault::Close] {
        let (clock, options) = standing();
        let scene = Scene::with(options, |acme| acme).await;
        scene.until_done(&scene.order("one.example.com").await).await;
        let before = account(&scene).await;
        scene.ca.script(Rule::always(fault).on(Asked::KeyChange));
        change(&scene, &clock, |found| found.next_key.is_some()).await;
        until("the authority to be told", BOUND, async || {
            clock.advance(A_WHILE);
            ensure!(scene.ca.counts().of(Asked::KeyChange) > 0);
            Ok(())
        })
        .await
        .unwrap();
        // By whichever key it is, and whether or not the change ever comes to its end: the session finds out.
        let order = scene.order("two.example.com").await;
        until("the order to be done", BOUND, async || {
            clock.advance(A_WHILE);
            let order = scene.installation.store.order(order.id).await?;
            ensure!(order.state == OrderState::Done, "{order:?}");
            Ok(())
        })
        .await
        .unwrap();
        scene.ca.clear_faults();
        change(&scene, &clock, |found| found.next_key.is_none()).await;
        let after = account(&scene).await;
        assert_eq!(after.account_url, before.account_url, "{fault:?}");
        assert_ne!(after.key, before.key, "{fault:?}");
        scene.certd.stop().await.unwrap();
    }
}
