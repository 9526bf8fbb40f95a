//! Renewals as the authority advises, and orders within its limits.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use certd::Acme;
use certd::acme::Limits;
use certd::renewal::due_at;
use model::certificate::Certificate;
use model::clock::ManualClock;
use model::id::CertificateId;
use model::{Clock as _, Host, Timestamp};
use store::{Access, Actor, Bucket, CertificateRecord, NewCertificate, Order, OrderState};
use testkit::ca::{self, Kind as Asked};
use testkit::wait::until;

use crate::authority::{Scene, now, standing};
use crate::rig::BOUND;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);
const HOST: &str = "shop.example.com";

/// A domain with its first certificate, of which the authority has said when it is to be renewed.
async fn advised(scene: &Scene, host: &str) -> CertificateRecord {
    first(scene, host).await;
    until_held(scene, host, |held| held.renewal_window.is_some()).await
}

/// A domain with its first certificate. The first look at it may come before its record does, and the next one never
/// while the clock stands: each probe asks for one.
async fn first(scene: &Scene, host: &str) -> CertificateRecord {
    let domain = scene.installation.add_domain(host).await;
    scene.records.connect(&domain);
    let (store, by) = (&scene.installation.store, Actor::system("test"));
    let certified = until("the first certificate", BOUND, async || {
        let held = store.active_certificate_for(&domain.host).await?;
        if held.is_none() {
            store.request_domain_check(&by, Access::Platform, domain.id).await?;
        }
        held.context("none yet")
    });
    certified.await.unwrap()
}

async fn until_held(
    scene: &Scene,
    host: &str,
    is_so: impl Fn(&CertificateRecord) -> bool,
) -> CertificateRecord {
    let host = Host::parse(host).unwrap();
    let reached = until("the certificate", BOUND, async || {
        let held = scene.installation.store.active_certificate_for(&host).await?;
        let held = held.filter(|held| is_so(held));
        ensure!(held.is_some(), "{host}: {:?}", scene.installation.store.latest_order(&host).await?);
        Ok(held.unwrap())
    });
    reached.await.unwrap()
}

fn go_to(clock: &ManualClock, moment: Timestamp) {
    clock.advance(moment.since(clock.now()));
}

#[tokio::test]
async fn a_renewal_comes_at_its_moment_in_the_window_and_says_what_it_replaces() {
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| Acme { profiles: vec!["tlsserver".to_owned()], ..acme }).await;
    let first = advised(&scene, HOST).await;
    assert_eq!(first.not_after.since(first.not_before).as_secs().div_ceil(3600), 45 * 24, "the profile's");
    let (start, end) = first.renewal_window.unwrap();
    let due = due_at(&first);
    assert!((start..end).contains(&due), "{start} {due} {end}");

    go_to(&clock, due.minus(HOUR));
    until_held(&scene, HOST, |held| held.id == first.id).await;
    assert_eq!(scene.ca.counts().orders, 1, "not before its time");
    go_to(&clock, due);
    let second = until_held(&scene, HOST, |held| {
        // What a look that was under way overtook is found by the next ones.
        clock.advance(Duration::from_secs(1));
        held.id != first.id
    })
    .await;
    assert!(second.not_after > first.not_after);
    let counts = scene.ca.counts();
    assert_eq!((counts.renewals_inside, counts.renewals_outside, counts.renewals_unmarked), (1, 0, 0));
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_revoked_is_replaced_after_the_next_question() {
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| acme).await;
    let mut held = Vec::new();
    for number in 0..5 {
        held.push(advised(&scene, &format!("shop{number}.example.com")).await);
    }
    assert_eq!(scene.ca.revoke(|_| true), 5);
    clock.advance(HOUR * 24);
    for old in &held {
        let name = old.names[0].to_string();
        until_held(&scene, &name, |held| {
            // What a look that was under way overtook is found by the next ones.
            clock.advance(Duration::from_secs(1));
            held.id != old.id
        })
        .await;
    }
    assert_eq!(scene.ca.counts().finalized, 10);
    scene.certd.stop().await.unwrap();
}

/// As after a roll-back, and in a store that was rebuilt: no order leads to it.
#[tokio::test]
async fn a_certificate_that_came_by_no_order_is_renewed_like_any_other() {
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| Acme { limits: Limits::LetsEncrypt, ..acme }).await;
    let first = advised(&scene, HOST).await;
    clock.advance(Duration::from_secs(1));
    let store = &scene.installation.store;
    let id = CertificateId::generate(clock.now());
    let context = |id| Certificate::key_context(id);
    let key = scene.installation.sealing.open(&context(first.id), &first.key).unwrap();
    let again = NewCertificate {
        id,
        tenant: first.tenant,
        app: first.app,
        source: first.source,
        authority: first.authority.clone(),
        issuer: first.issuer.clone(),
        serial: first.serial.clone(),
        names: first.names.clone(),
        chain_pem: first.chain_pem.clone(),
        key: scene.installation.sealing.seal(&context(id), &key).unwrap(),
        not_before: first.not_before,
        not_after: first.not_after,
    };
    store.roll_back_certificate(&Actor::system("test"), first.id, again).await.unwrap();
    clock.advance(DAY);
    let again = until_held(&scene, HOST, |held| held.id == id && held.renewal_window.is_some()).await;
    go_to(&clock, due_at(&again));
    until_held(&scene, HOST, |held| {
        // What a look that was under way overtook is found by the next ones.
        clock.advance(Duration::from_secs(1));
        held.id != again.id
    })
    .await;
    let counts = scene.ca.counts();
    assert_eq!((counts.renewals_inside, counts.renewals_unmarked), (1, 0), "{counts:?}");
    let drawn = store.ca_budget(&scene.ca.directory_url).await.unwrap();
    assert_eq!(drawn.iter().map(|line| line.full_at).max(), None, "it is exempt from all limits: {drawn:?}");
    scene.certd.stop().await.unwrap();
}

/// As after the loss of the account's key: the authority lets nobody else say that a certificate is replaced.
#[tokio::test]
async fn a_certificate_of_another_account_is_renewed_all_the_same() {
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| Acme { limits: Limits::LetsEncrypt, ..acme }).await;
    let first = advised(&scene, HOST).await;
    clock.advance(DAY);
    let (directory, store) = (scene.ca.directory_url.clone(), &scene.installation.store);
    let der = rcgen::KeyPair::generate().unwrap().serialize_der();
    let key = scene.installation.sealing.seal(&format!("acme-account-key/{directory}"), &der).unwrap();
    store.request_key_change(&Actor::system("test"), &directory).await.unwrap();
    store.begin_key_change(&directory, &key).await.unwrap().unwrap();
    store.finish_key_change(&directory, &key).await.unwrap();
    store.set_account_url(&directory, &key, None).await.unwrap();

    go_to(&clock, due_at(&first));
    until_held(&scene, HOST, |held| {
        // What a look that was under way overtook is found by the next ones.
        clock.advance(Duration::from_secs(1));
        held.id != first.id
    })
    .await;
    let counts = scene.ca.counts();
    assert_eq!((counts.of(Asked::NewAccount), counts.renewals_unmarked), (2, 1), "{counts:?}");
    // Without `replaces` the order is like any other.
    let drawn = store.ca_budget(&directory).await.unwrap();
    assert_eq!(drawn.iter().filter(|line| line.bucket == Bucket::ExactSet).count(), 1, "{drawn:?}");
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_refused_for_another_reason_than_what_it_replaces_is_not_asked_for_again() {
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| acme).await;
    let first = advised(&scene, HOST).await;
    scene.ca.block(HOST);
    let before = scene.ca.counts().of(Asked::NewOrder);
    go_to(&clock, due_at(&first));
    let host = Host::parse(HOST).unwrap();
    until("the refusal", BOUND, async || {
        clock.advance(Duration::from_secs(1));
        let order = scene.installation.store.latest_order(&host).await?;
        ensure!(order.as_ref().is_some_and(|order| order.attempts == 1), "{order:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(scene.ca.counts().of(Asked::NewOrder), before + 1);
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn two_processes_ask_each_question_once() {
    const NAMES: u64 = 12;
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| acme).await;
    for number in 0..NAMES {
        advised(&scene, &format!("shop{number}.example.com")).await;
    }
    let second = scene.another().await;
    let asked = scene.ca.counts().of(Asked::RenewalInfo);
    assert_eq!(asked, NAMES);
    for round in 2..=6 {
        clock.advance(HOUR * 7);
        until("all questions", BOUND, async || {
            // Also those that were asked and whose answer is not written down yet.
            let soon = clock.now().plus(HOUR);
            let waiting = scene.installation.store.certificates_to_ask(soon, 100).await?;
            let asked = scene.ca.counts().of(Asked::RenewalInfo);
            ensure!(waiting.is_empty() && asked >= NAMES * round, "{asked} {}", waiting.len());
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(scene.ca.counts().of(Asked::RenewalInfo), NAMES * round);
    }
    second.stop().await.unwrap();
    scene.certd.stop().await.unwrap();
}

#[tokio::test]
async fn without_advice_a_third_of_the_lifetime_is_left() {
    let (clock, options) = standing();
    let scene = Scene::with(ca::Options { renewal_info: false, ..options }, |acme| acme).await;
    let first = first(&scene, HOST).await;
    go_to(&clock, due_at(&first));
    until_held(&scene, HOST, |held| {
        // What a look that was under way overtook is found by the next ones.
        clock.advance(Duration::from_secs(1));
        held.id != first.id
    })
    .await;
    let left = first.not_after.since(clock.now());
    assert!(left > DAY * 29 && left < DAY * 31, "{left:?}");
    assert_eq!(scene.ca.counts().renewals_unmarked, 1);
    scene.certd.stop().await.unwrap();
}

/// Fifty a week for one registered domain, five of which are kept for those that hurry.
#[tokio::test]
async fn orders_beyond_the_limits_wait_for_their_turn_and_are_never_refused() {
    let (clock, options) = standing();
    let options = ca::Options { limits: ca::Limits::lets_encrypt(), ..options };
    let scene = Scene::with(options, |acme| Acme { limits: Limits::LetsEncrypt, ..acme }).await;
    let mut orders: Vec<Order> = Vec::new();
    for number in 0..47 {
        orders.push(scene.order(&format!("shop{number}.example.com")).await);
    }
    let mut waiting = until_waiting(&scene, &orders, 2).await;
    assert_eq!(scene.ca.counts().finalized, 45);
    let week = DAY * 7;
    let turns: Vec<Duration> = waiting.iter().map(|order| order.next_at.since(now())).collect();
    assert_eq!(turns, [week / 50, week / 50 * 2]);
    let reason = waiting[0].error.as_deref().unwrap_or_default();
    assert!(reason.contains("makes no more certificates for this name before"), "{reason}");
    assert_eq!(waiting[0].attempts, 0, "it is no failure");

    for order in waiting.drain(..) {
        go_to(&clock, order.next_at);
        scene.until_done(&order).await;
    }
    let counts = scene.ca.counts();
    assert_eq!((counts.finalized, counts.limited()), (47, 0), "{counts:?}");
    scene.certd.stop().await.unwrap();
}

/// Those orders that have a turn still to come, the first turn first, once all others are done.
async fn until_waiting(scene: &Scene, orders: &[Order], expected: usize) -> Vec<Order> {
    let reached = until("all but some orders to be done", BOUND, async || {
        let mut waiting = Vec::new();
        for order in orders {
            let order = scene.installation.store.order(order.id).await?;
            if order.state != OrderState::Done {
                ensure!(order.slot_at.is_some_and(|turn| turn > now()), "{order:?}");
                waiting.push(order);
            }
        }
        ensure!(waiting.len() == expected, "{} orders wait", waiting.len());
        waiting.sort_by_key(|order| order.slot_at);
        Ok(waiting)
    });
    reached.await.unwrap()
}
