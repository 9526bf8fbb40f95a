//! Backends given by name.

use super::*;

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
