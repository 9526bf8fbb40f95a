//! What counts at an authority counts here, though a crash or a cut came between.

use anyhow::ensure;
use certd::Acme;
use certd::acme::Limits;
use model::Clock as _;
use store::{Bucket, Order};
use testkit::ca::{self, Fault, Kind as Asked, Rule, Validation};
use testkit::wait::until;

use crate::authority::{Scene, standing};
use crate::rig::BOUND;

const HOST: &str = "shop.example.com";

async fn limited(options: ca::Options) -> Scene {
    Scene::with(options, |acme| Acme { limits: Limits::LetsEncrypt, ..acme }).await
}

/// How many were drawn from the limits of this kind.
async fn drawn(scene: &Scene, bucket: Bucket) -> u32 {
    let (store, directory) = (&scene.installation.store, &scene.ca.directory_url);
    let lines = store.ca_budget(directory).await.unwrap();
    let of_kind = lines.iter().filter(|line| line.bucket == bucket);
    of_kind.map(|line| line.limit.burst - line.limit.left(line.full_at, store.now())).sum()
}

async fn until_befallen(scene: &Scene) {
    until("something to go wrong", BOUND, async || {
        ensure!(scene.ca.counts().faults > 0, "{:?}", scene.ca.counts());
        Ok(())
    })
    .await
    .unwrap();
}

async fn until_failed(scene: &Scene, order: &Order) -> Order {
    scene.until(order, "the order to fail", |order| order.attempts > 0).await
}

/// The process dies; another one goes on when the lease is over.
async fn crash(scene: &Scene, clock: &model::clock::ManualClock) -> crate::rig::Running {
    scene.certd.task.abort();
    scene.ca.clear_faults();
    clock.advance(scene.settings.lease * 2);
    scene.another().await
}

#[tokio::test]
async fn an_order_that_fell_while_nobody_looked_is_a_failed_check() {
    let (clock, options) = standing();
    let validation = Validation::Failing { names: [HOST.to_owned()].into() };
    let scene = limited(ca::Options { validation, ..options }).await;
    scene.ca.script(Rule::always(Fault::Hang).on(Asked::Order));
    let order = scene.order(HOST).await;
    until_befallen(&scene).await;
    assert_eq!((scene.ca.counts().failed_checks, drawn(&scene, Bucket::FailuresPerHour).await), (1, 0));
    let second = crash(&scene, &clock).await;
    let failed = until_failed(&scene, &order).await;
    let counts = scene.ca.counts();
    assert_eq!((counts.orders, counts.failed_checks), (1, 1), "it is not placed anew at once");
    assert_eq!(drawn(&scene, Bucket::FailuresPerHour).await, 1);
    assert_eq!((failed.attempts, &failed.order_url, &failed.key), (1, &None, &None));
    let error = failed.error.unwrap_or_default();
    assert!(error.contains("DNS problem: NXDOMAIN"), "{error}");
    assert!(failed.next_at > clock.now());
    second.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_drawn_and_so_is_the_next() {
    let (clock, options) = standing();
    let scene = limited(ca::Options { reuse_orders: false, ..options }).await;
    scene.ca.script(Rule::next(1, Fault::LoseAnswer).on(Asked::NewOrder));
    let order = scene.order(HOST).await;
    let failed = until_failed(&scene, &order).await;
    assert_eq!(drawn(&scene, Bucket::ExactSet).await, 1);
    clock.advance(failed.next_at.since(clock.now()));
    scene.until_done(&order).await;
    assert_eq!((scene.ca.counts().orders, drawn(&scene, Bucket::ExactSet).await), (2, 2));
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn an_order_that_was_sent_before_a_crash_is_drawn_and_so_is_the_next() {
    let (clock, options) = standing();
    let scene = limited(options).await;
    scene.ca.script(Rule::always(Fault::Hang).on(Asked::NewOrder));
    let order = scene.order(HOST).await;
    until_befallen(&scene).await;
    let second = crash(&scene, &clock).await;
    scene.until_done(&order).await;
    assert_eq!(drawn(&scene, Bucket::ExactSet).await, 2);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn what_the_authority_did_not_take_is_drawn_once() {
    for fault in [Fault::Unavailable(None), Fault::Limited(None), Fault::Refused] {
        let (clock, options) = standing();
        let scene = limited(options).await;
        scene.ca.script(Rule::next(1, fault).on(Asked::NewOrder));
        let order = scene.order(HOST).await;
        let failed = until_failed(&scene, &order).await;
        clock.advance(failed.next_at.since(clock.now()));
        scene.until_done(&order).await;
        let counts = scene.ca.counts();
        let drawn = drawn(&scene, Bucket::ExactSet).await;
        assert_eq!((counts.orders, drawn), (1, 1), "{fault:?}");
        scene.certd.stop().await.unwrap();
    }
}
