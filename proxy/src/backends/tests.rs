mod names;
mod recovery;

use std::collections::HashMap;

use model::Timestamp;
use pingora_core::upstreams::peer::Peer;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::TcpListener;

use super::*;
use crate::resolver::{ResolveError, Resolved, SystemResolver};

fn app() -> AppId {
    AppId::generate(Timestamp::from_unix_millis(1_795_371_000_123))
}

fn backend(url: &str, weight: u16) -> Backend {
    Backend { url: url.parse().unwrap(), weight }
}

fn quick() -> Settings {
    Settings { health_interval_ms: 200, connect_timeout_ms: 500, ..Settings::default() }
}

fn pools() -> Arc<Pools> {
    fenced(&[])
}

fn fenced(forbidden: &[SocketAddr]) -> Arc<Pools> {
    let roots = Some(Arc::new(RootCertStore::empty()));
    Pools::new(PoolSettings { forbidden: forbidden.to_vec(), socket_directories: Vec::new(), roots })
}

fn pool_of(urls: &[&str]) -> Arc<Pool> {
    let backends: Vec<_> = urls.iter().map(|url| backend(url, 1)).collect();
    pools().replace(app(), &backends, &Settings::default())
}

const ONE: &str = "http://192.0.2.1:80";
const TWO: &str = "http://192.0.2.2:80";
const THREE: &str = "http://192.0.2.3:80";
const FOUR: &str = "http://192.0.2.4:80";

fn picked(pool: &Arc<Pool>, times: usize) -> HashMap<String, usize> {
    let mut random = StdRng::seed_from_u64(1);
    let mut counts = HashMap::new();
    for _ in 0..times {
        *counts.entry(pool.pick_with(&[], &mut random).unwrap().label().to_owned()).or_default() += 1;
    }
    counts
}

fn fail(pool: &Arc<Pool>, label: &str, times: usize) {
    let member = pool.members.iter().find(|member| member.endpoint.label == label).unwrap();
    let now = pool.uptime.millis();
    (0..times).for_each(|_| member.endpoint.note_failure(now, now));
}

fn take_down(pool: &Arc<Pool>, label: &str) {
    let member = pool.members.iter().find(|member| member.endpoint.label == label).unwrap();
    let now = pool.uptime.millis();
    (0..2).for_each(|_| member.endpoint.note_check(Err(check::CheckError::NotHttp), now));
}

/// Waits until `holds`, at most 10 s.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = timeout(Duration::from_secs(10), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within 10 s: {what}");
}

fn advance(millis: u64) -> impl Future<Output = ()> {
    tokio::time::advance(Duration::from_millis(millis))
}

#[test]
fn an_app_without_backends_or_with_drained_ones_has_no_backend() {
    let drained = pools().replace(app(), &[backend(ONE, 0)], &Settings::default());
    assert_eq!(pool_of(&[]).pick(&[]).err(), Some(NoPick::NoBackend));
    assert_eq!(drained.pick(&[]).err(), Some(NoPick::NoBackend));
}

#[test]
fn what_was_tried_is_not_picked_again() {
    let pool = pool_of(&[ONE, TWO]);
    let first = pool.pick(&[]).unwrap();
    let second = pool.pick(&[first.index()]).unwrap();
    assert_ne!(first.label(), second.label());
    assert_eq!(pool.pick(&[first.index(), second.index()]).err(), Some(NoPick::AllDown));
}

#[test]
fn a_drained_backend_gets_nothing_even_when_the_rest_is_down() {
    let pool = pools().replace(app(), &[backend(ONE, 1), backend(TWO, 0)], &Settings::default());
    take_down(&pool, ONE);
    assert_eq!(picked(&pool, 100), HashMap::from([(ONE.to_owned(), 100)]));
    assert_eq!(pool.pick(&[0]).err(), Some(NoPick::AllDown));
}

#[test]
fn a_backend_that_is_down_or_ejected_gets_nothing_while_another_is_fit() {
    let pool = pool_of(&[ONE, TWO, THREE]);
    take_down(&pool, ONE);
    fail(&pool, TWO, 3);
    assert_eq!(picked(&pool, 100), HashMap::from([(THREE.to_owned(), 100)]));
}

#[test]
fn a_wrong_health_check_takes_no_app_down() {
    let pool = pool_of(&[ONE, TWO]);
    take_down(&pool, ONE);
    take_down(&pool, TWO);
    let counts = picked(&pool, 1_000);
    assert!(counts.values().all(|count| *count > 300), "the load is still balanced: {counts:?}");
}

#[test]
fn of_backends_that_all_fail_the_least_recent_is_tried() {
    let pool = pool_of(&[ONE, TWO]);
    let [one, two] = [0, 1].map(|index: usize| &pool.members[index].endpoint);
    for _ in 0..3 {
        one.health.breaker.note_failure(5_000, 5_000, 30_000);
        two.health.breaker.note_failure(4_000, 4_000, 30_000);
    }
    assert_eq!(pool.pick(&[]).unwrap().label(), TWO);
}

#[test]
fn a_backend_on_trial_gets_64_requests_at_a_time_and_all_again_after_a_success() {
    let pool = pool_of(&[ONE]);
    fail(&pool, ONE, 3);
    let trials: Vec<_> = (0..64).map(|_| pool.pick(&[]).unwrap()).collect();
    assert_eq!(pool.pick(&[]).err(), Some(NoPick::AllDown));
    trials[0].succeeded();
    assert!(pool.pick(&[]).is_ok());
    drop(trials);
    assert_eq!(pool.members[0].endpoint.in_flight.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn requests_that_fail_keep_at_most_half_of_the_backends_from_traffic() {
    let urls: Vec<String> = (1..=5).map(|number| format!("http://192.0.2.{number}:80")).collect();
    let pool = pool_of(&urls.iter().map(String::as_str).collect::<Vec<_>>());
    for (failing, in_use) in [(1, 4), (2, 3), (3, 3), (4, 3), (5, 3)] {
        fail(&pool, &urls[failing - 1], 3);
        assert_eq!(picked(&pool, 2_000).len(), in_use, "{failing} of 5 fail");
    }
}

#[test]
fn backends_that_are_down_by_their_checks_are_out_however_many() {
    let pool = pool_of(&[ONE, TWO, THREE, FOUR]);
    take_down(&pool, ONE);
    take_down(&pool, TWO);
    fail(&pool, THREE, 3);
    assert_eq!(picked(&pool, 100), HashMap::from([(FOUR.to_owned(), 100)]));
}

#[test]
fn a_backend_never_has_more_requests_in_flight_than_it_may() {
    let settings = Settings { max_in_flight: 3, ..Settings::default() };
    let pool = pools().replace(app(), &[backend(ONE, 1), backend(TWO, 1)], &settings);
    let held: Vec<_> = (0..6).map(|_| pool.pick(&[]).unwrap()).collect();
    assert_eq!(held.iter().filter(|lease| lease.label() == ONE).count(), 3);
    assert_eq!(pool.pick(&[]).err(), Some(NoPick::AllFull));
    assert_eq!(pool.pick(&[0, 1]).err(), Some(NoPick::AllDown), "what was tried is not waited for");
    drop(held);
    assert!(pool.pick(&[]).is_ok());
}

#[test]
fn threads_together_keep_to_a_backends_limit() {
    let settings = Settings { max_in_flight: 10, ..Settings::default() };
    let pool = pools().replace(app(), &[backend(ONE, 1), backend(TWO, 1)], &settings);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let held: Vec<_> = (0..8).filter_map(|_| pool.pick(&[]).ok()).collect();
                    for member in &pool.members {
                        assert!(member.endpoint.in_flight.load(std::sync::atomic::Ordering::Relaxed) <= 10);
                    }
                    drop(held);
                }
            });
        }
    });
    assert!(
        pool.members.iter().all(|member| member
            .endpoint
            .in_flight
            .load(std::sync::atomic::Ordering::Relaxed)
            == 0)
    );
}

#[test]
fn a_change_of_weights_forgets_neither_health_nor_requests_in_flight() {
    let (pools, app) = (pools(), app());
    let old = pools.replace(app, &[backend(ONE, 1), backend(TWO, 1)], &Settings::default());
    take_down(&old, ONE);
    let lease = old.pick(&[]).unwrap();
    assert_eq!(lease.label(), TWO);
    let new =
        pools.replace(app, &[backend(TWO, 9), backend(ONE, 5), backend(THREE, 1)], &Settings::default());
    assert_eq!(pools.counts(), (2, 1));
    assert!(!picked(&new, 100).contains_key(ONE));
    assert_eq!(new.members[0].endpoint.in_flight.load(std::sync::atomic::Ordering::Relaxed), 1);
    drop(lease);
    assert_eq!(new.members[0].endpoint.in_flight.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn the_same_backend_of_another_app_has_a_health_and_connections_of_its_own() {
    let pools = pools();
    let [mine, yours] =
        [app(), app()].map(|app| pools.replace(app, &[backend(ONE, 1)], &Settings::default()));
    take_down(&mine, ONE);
    assert_eq!(pools.counts(), (1, 1));
    let [mine, yours] = [mine, yours].map(|pool| pool.pick(&[]).unwrap().peer(Need::Exchange));
    assert_ne!(mine.reuse_hash(), yours.reuse_hash());
}

#[test]
fn a_url_given_twice_is_one_backend_with_both_weights() {
    let twice = [backend(ONE, 1), backend(TWO, 2), backend(ONE, 3)];
    let pool = pools().replace(app(), &twice, &Settings::default());
    let weights: Vec<_> = pool.members.iter().map(|member| member.weight).collect();
    assert_eq!(weights, [4, 2]);
}

#[test]
fn a_removed_app_is_forgotten() {
    let (pools, app) = (pools(), app());
    pools.replace(app, &[backend(ONE, 1)], &Settings::default());
    pools.remove(app);
    assert_eq!(pools.counts(), (0, 0));
}

#[test]
fn a_peer_has_the_apps_time_limits() {
    let settings = Settings { connect_timeout_ms: 7, first_byte_timeout_ms: 8, ..Settings::default() };
    let peer = pools().replace(app(), &[backend(ONE, 1)], &settings).pick(&[]).unwrap().peer(Need::Exchange);
    assert_eq!(peer.options.total_connection_timeout, Some(Duration::from_millis(7)));
    assert_eq!(peer.options.connection_timeout, Some(Duration::from_millis(7)));
    assert!(peer.options.read_timeout.is_none() && peer.options.custom_l4.is_some());
    assert!(peer.options.idle_timeout.is_some() && peer.options.write_timeout.is_some());
    assert!(!peer.is_tls());
}

#[test]
fn verification_is_never_switched_off() {
    for (url, name) in [
        ("https://192.0.2.1:8443", "192.0.2.1"),
        ("https://[2001:db8::1]", "2001:db8::1"),
        ("https://[::ffff:192.0.2.1]", "192.0.2.1"),
    ] {
        let peer = pool_of(&[url]).pick(&[]).unwrap().peer(Need::Exchange);
        assert_eq!((peer.is_tls(), peer.sni()), (true, name));
        assert!(peer.verify_cert() && peer.verify_hostname());
    }
    assert_eq!(
        endpoint::server_name(&"https://app.internal".parse().unwrap(), &Settings::default()),
        "app.internal"
    );
}

#[test]
fn stoas_own_listener_is_never_picked() {
    let pools = fenced(&["127.0.0.1:8090".parse().unwrap()]);
    let pool = pools.replace(app(), &[backend("http://127.0.0.1:8090", 1)], &Settings::default());
    assert_eq!(pool.pick(&[]).err(), Some(NoPick::AllDown));
    assert_eq!(pools.counts(), (0, 1));
}

#[test]
fn retries_are_budgeted_by_app() {
    let (pools, app) = (pools(), app());
    let pool = pools.replace(app, &[backend(ONE, 1)], &Settings::default());
    let taken = |pool: &Arc<Pool>| (0..1_000).take_while(|_| pool.may_retry()).count();
    assert_eq!(taken(&pool), 30);
    let replaced = pools.replace(app, &[backend(TWO, 1)], &Settings::default());
    assert!(!replaced.may_retry(), "a change of backends is no new budget");
    (0..1_000).for_each(|_| pool.note_request());
    assert_eq!(taken(&pool), 200);
}

#[tokio::test]
async fn a_killed_backend_goes_down_and_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (pools, (stop, stopped)) = (pools(), watch::channel(false));
    let pool = pools.replace(app(), &[backend(&format!("http://{address}"), 1)], &quick());
    let running = tokio::spawn({
        let pools = Arc::clone(&pools);
        async move { pools.run(Arc::new(SystemResolver), stopped).await }
    });
    let is_fit = || drop(pool.pick(&[]));
    drop(listener);
    until("the backend is down", || {
        is_fit();
        pools.counts() == (0, 1)
    })
    .await;
    let _listener = TcpListener::bind(address).await.unwrap();
    until("the backend is up", || {
        is_fit();
        pools.counts() == (1, 0)
    })
    .await;
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn a_request_that_fails_brings_the_next_check_forward_and_no_more_than_once() {
    use std::sync::atomic::Ordering::Relaxed;
    let settings = Settings { health_interval_ms: 400_000, ..Settings::default() };
    let pool = pools().replace(app(), &[backend(ONE, 1)], &settings);
    let lease = pool.pick(&[]).unwrap();
    let member = &pool.members[0].endpoint;
    pool.checks.put(member, Duration::from_secs(400));
    lease.failed();
    let due = member.check_due.load(Relaxed);
    assert!((100_000..200_000).contains(&due), "a quarter of the interval: {due}");
    lease.failed();
    assert_eq!(member.check_due.load(Relaxed), due);
}

#[tokio::test]
async fn an_app_without_traffic_learns_of_a_dead_backend_by_the_second_check_soon_after_the_first() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let pools = pools();
    let pool = pools.replace(app(), &[backend(&format!("http://{closed}"), 1)], &quick());
    let member = &pool.members[0].endpoint;
    let next = check(Arc::clone(member), Arc::clone(&pools.checker), pools.uptime).await;
    assert!(next < Duration::from_millis(60), "{next:?}");
    let next = check(Arc::clone(member), Arc::clone(&pools.checker), pools.uptime).await;
    assert!(next > Duration::from_secs(50), "down and idle: {next:?}");
    assert_eq!(pools.counts(), (0, 1));
}

#[tokio::test]
async fn a_backend_that_has_just_answered_is_not_checked_unless_the_app_names_a_page() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (path, is_checked) in [(None, false), (Some("/health".to_owned()), true)] {
        let pools = pools();
        let settings = Settings { health_path: path, ..Settings::default() };
        let pool = pools.replace(app(), &[backend(&format!("http://{closed}"), 1)], &settings);
        let member = &pool.members[0].endpoint;
        member.note_success(1, pools.uptime.millis().max(1));
        check(Arc::clone(member), Arc::clone(&pools.checker), pools.uptime).await;
        assert_eq!(member.health.is_suspected(), is_checked);
    }
}
