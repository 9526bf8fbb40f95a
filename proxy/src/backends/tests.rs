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

/// The share of `label` in what is picked now.
fn share(pool: &Arc<Pool>, label: &str) -> f64 {
    let picked = picked(pool, 4_000);
    f64::from(u32::try_from(picked.get(label).copied().unwrap_or(0)).unwrap()) / 4_000.0
}

fn advance(millis: u64) -> impl Future<Output = ()> {
    tokio::time::advance(Duration::from_millis(millis))
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_added_to_a_running_pool_begins_slowly() {
    let (pools, app) = (pools(), app());
    pools.replace(app, &[backend(ONE, 1)], &Settings::default());
    let pool = pools.replace(app, &[backend(ONE, 1), backend(TWO, 1)], &Settings::default());
    let begin = share(&pool, TWO);
    assert!((0.02..0.08).contains(&begin), "a tenth of its half: {begin}");
    advance(5_000).await;
    let half = share(&pool, TWO);
    assert!((0.2..0.3).contains(&half), "half of its half: {half}");
    advance(5_000).await;
    let whole = share(&pool, TWO);
    assert!((0.45..0.55).contains(&whole), "{whole}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_up_again_begins_slowly_and_so_does_one_that_was_drained() {
    let (pools, app) = (pools(), app());
    let pool = pools.replace(app, &[backend(ONE, 1), backend(TWO, 1)], &Settings::default());
    take_down(&pool, TWO);
    advance(20_000).await;
    pool.members[1].endpoint.note_check(Ok(()), pool.uptime.millis());
    assert!((0.02..0.08).contains(&share(&pool, TWO)));
    pools.replace(app, &[backend(ONE, 1), backend(TWO, 0)], &Settings::default());
    advance(20_000).await;
    let pool = pools.replace(app, &[backend(ONE, 1), backend(TWO, 1)], &Settings::default());
    assert!((0.02..0.08).contains(&share(&pool, TWO)));
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_slowly_where_all_are_new_or_the_app_wants_none_of_it() {
    let (pools, app) = (pools(), app());
    let pool = pools.replace(app, &[backend(ONE, 1), backend(TWO, 3)], &Settings::default());
    assert!((0.7..0.8).contains(&share(&pool, TWO)), "a new app");
    let pool = pools.replace(app, &[backend(THREE, 1), backend(FOUR, 3)], &Settings::default());
    assert!((0.7..0.8).contains(&share(&pool, FOUR)), "all replaced at once");
    let off = Settings { slow_start_ms: 0, ..Settings::default() };
    let pool = pools.replace(app, &[backend(THREE, 1), backend(ONE, 1)], &off);
    assert!((0.45..0.55).contains(&share(&pool, ONE)));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_lets_one_request_try_and_a_good_answer_closes_it() {
    let (pools, app) = (pools(), app());
    let off = Settings { slow_start_ms: 0, ..Settings::default() };
    let pool = pools.replace(app, &[backend(ONE, 1), backend(TWO, 1)], &off);
    advance(1).await;
    fail(&pool, ONE, 3);
    assert_eq!(share(&pool, ONE), 0.0);
    advance(2_000).await;
    let held: Vec<_> = (0..100).map(|_| pool.pick(&[]).unwrap()).collect();
    let at_one = || held.iter().filter(|lease| lease.label() == ONE);
    assert_eq!(at_one().count(), 1, "one trial, while the other works on 99");
    at_one().for_each(Lease::failed);
    advance(3_999).await;
    assert_eq!(share(&pool, ONE), 0.0, "twice as long");
    advance(1).await;
    let trial = pool.pick(&[1]).unwrap();
    assert_eq!(trial.label(), ONE);
    trial.succeeded();
    assert_eq!(pool.pick(&[1]).unwrap().label(), ONE, "the trial itself may go on");
    drop((held, trial));
    assert!((0.45..0.55).contains(&share(&pool, ONE)));
    assert_eq!(pools.tally().turns(), [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_whose_breaker_has_closed_begins_slowly() {
    let pool = pool_of(&[ONE, TWO]);
    advance(1).await;
    fail(&pool, ONE, 3);
    advance(2_000).await;
    pool.pick(&[1]).unwrap().succeeded();
    assert!((0.02..0.08).contains(&share(&pool, ONE)));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_who_leaves_a_trial_leaves_room_for_another() {
    let pool = pool_of(&[ONE, TWO]);
    advance(1).await;
    fail(&pool, ONE, 3);
    advance(2_000).await;
    let trial = pool.pick(&[1]).unwrap();
    assert_eq!(pool.pick(&[]).unwrap().label(), TWO);
    drop(trial);
    assert_eq!(pool.pick(&[1]).unwrap().label(), ONE);
    assert_eq!(pool.members[0].endpoint.health.fitness(pool.uptime.millis()), Fitness::OnTrial);
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
async fn a_name_is_resolved_off_the_requests_way() {
    let (pools, (_stop, stopped)) = (pools(), watch::channel(false));
    let pool = pools.replace(app(), &[backend("http://localhost:3000", 1)], &quick());
    assert_eq!(pool.pick(&[]).err(), Some(NoPick::AllDown), "no request waits for a resolver");
    let run = pools.run(Arc::new(SystemResolver), stopped);
    tokio::select! {
        () = run => {}
        () = until("the name is resolved", || pool.pick(&[]).is_ok()) => {}
    }
    let address = pool.pick(&[]).unwrap().peer(Need::Exchange)._address.to_string();
    assert!(address == "127.0.0.1:3000" || address == "[::1]:3000", "{address}");
}

#[tokio::test]
async fn a_name_that_points_to_stoa_itself_leads_nowhere() {
    let fence = Arc::new(Fence::new(vec!["0.0.0.0:8090".parse().unwrap()]));
    let pools = fenced(&["0.0.0.0:8090".parse().unwrap()]);
    let pool = pools.replace(app(), &[backend("http://localhost:8090", 1)], &quick());
    let endpoint = &pool.members[0].endpoint;
    resolve(Arc::clone(endpoint), fence, Arc::new(SystemResolver)).await;
    assert_eq!(endpoint.address(), None);
}

#[tokio::test]
async fn the_last_good_answer_stays_when_a_name_does_not_resolve() {
    let pool = pool_of(&["http://nowhere.invalid:80"]);
    let endpoint = &pool.members[0].endpoint;
    let good: SocketAddr = "192.0.2.1:80".parse().unwrap();
    endpoint.set_addresses(vec![good]);
    resolve(Arc::clone(endpoint), Arc::new(Fence::new(Vec::new())), Arc::new(SystemResolver)).await;
    assert_eq!(endpoint.address(), Some(good));
}

#[test]
fn a_name_with_two_addresses_moves_on_when_one_fails() {
    let pool = pool_of(&["http://app.internal:80"]);
    let endpoint = &pool.members[0].endpoint;
    let [one, two]: [SocketAddr; 2] = ["192.0.2.1:80", "192.0.2.2:80"].map(|text| text.parse().unwrap());
    endpoint.set_addresses(vec![one, two]);
    assert_eq!(endpoint.address(), Some(one));
    endpoint.note_failure(1, 1);
    assert_eq!(endpoint.address(), Some(two));
    endpoint.set_addresses(vec![two, one]);
    assert_eq!(endpoint.address(), Some(two), "another order of the same answer changes nothing");
}

/// A name server whose answer can be changed, and which counts questions.
#[derive(Default)]
struct Book {
    answer: std::sync::Mutex<Option<(&'static str, u64)>>,
    questions: std::sync::atomic::AtomicUsize,
}

impl Book {
    fn write(&self, answer: Option<(&'static str, u64)>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn questions(&self) -> usize {
        self.questions.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl Resolver for Book {
    async fn resolve(&self, _: &model::Host) -> Result<Resolved, ResolveError> {
        self.questions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (address, seconds) =
            self.answer.lock().unwrap().ok_or(ResolveError("no such name".to_owned()))?;
        Ok(Resolved { addresses: vec![address.parse().unwrap()], holds: Duration::from_secs(seconds) })
    }
}

fn address(pool: &Arc<Pool>) -> Option<String> {
    pool.members[0].endpoint.address().map(|address| address.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_name_is_asked_for_again_when_its_answer_is_over_and_by_no_request() {
    let (book, pools, (_stop, stopped)) = (Arc::<Book>::default(), pools(), watch::channel(false));
    let settings = Settings { health_interval_ms: 600_000, ..Settings::default() };
    let pool = pools.replace(app(), &[backend("http://app.internal:80", 1)], &settings);
    book.write(Some(("192.0.2.1", 60)));
    let running = Arc::clone(&pools);
    let resolver = Arc::<Book>::clone(&book);
    tokio::spawn(async move { running.run(resolver, stopped).await });
    until("the first answer", || address(&pool).as_deref() == Some("192.0.2.1:80")).await;
    book.write(Some(("192.0.2.2", 0)));
    for _ in 0..1_000 {
        drop(pool.pick(&[]));
    }
    advance(59_000).await;
    assert_eq!((book.questions(), address(&pool).as_deref()), (1, Some("192.0.2.1:80")));
    advance(7_100).await;
    until("the second answer", || address(&pool).as_deref() == Some("192.0.2.2:80")).await;
    let before = book.questions();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!((17..=20).contains(&(book.questions() - before)), "a time to live of 0 counts as a second");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_vanishes_leaves_its_last_addresses_and_a_long_answer_is_doubted() {
    let book = Arc::<Book>::default();
    let pool = pool_of(&["http://app.internal:80"]);
    let ask = async || {
        let fence = Arc::new(Fence::new(Vec::new()));
        resolve(Arc::clone(&pool.members[0].endpoint), fence, Arc::<Book>::clone(&book)).await.as_secs()
    };
    book.write(Some(("192.0.2.1", 86_400)));
    assert!((300..=330).contains(&ask().await));
    book.write(None);
    assert!((5..6).contains(&ask().await));
    assert_eq!(address(&pool).as_deref(), Some("192.0.2.1:80"));
}
