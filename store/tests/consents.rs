//! Links to providers: good once, for a while, for one domain and the key that asked.

use model::id::DomainId;
use store::{Access, Actor, CONSENT_LIFE, Return};

use crate::bench::{Bench, actor};
use crate::on_both_engines;

async fn domain(bench: &Bench, name: &str) -> DomainId {
    let app = bench.app(bench.tenant(name).await.id, name).await;
    bench.domain(app.id, &format!("{name}.example.com")).await.id
}

async fn begun(bench: &Bench, by: &Actor, id: DomainId) -> String {
    bench.store.begin_consent(by, Access::Platform, id).await.unwrap().0
}

async fn a_state_is_good_once_and_for_its_own_domain(bench: Bench) {
    let (one, two) = (domain(&bench, "one").await, domain(&bench, "two").await);
    let (first, second) = (begun(&bench, &actor(), one).await, begun(&bench, &actor(), two).await);
    assert_ne!(first, second);
    let ended = async |state: &str| bench.store.end_consent(state, Return::Done).await.unwrap();
    assert_eq!(ended("made-up").await, None);
    assert_eq!(ended(&first).await, Some(one));
    assert_eq!(ended(&first).await, None, "replayed");
    assert_eq!(ended(&second).await, Some(two));
    let stored = bench.count("SELECT COUNT(*) FROM consents").await;
    assert_eq!(stored, 0);
}

async fn whoever_comes_back_has_the_domain_looked_at_and_nothing_else(bench: Bench) {
    let id = domain(&bench, "one").await;
    let before = bench.store.domain(Access::Platform, id).await.unwrap();
    let later = bench.check(&before, before.facts.clone()).await;
    assert!(later.next_check_at > bench.now());
    let state = begun(&bench, &actor(), id).await;
    bench.store.end_consent(&state, Return::Refused).await.unwrap();
    let after = bench.store.domain(Access::Platform, id).await.unwrap();
    assert_eq!(after.next_check_at, bench.now());
    assert_eq!(after.facts, later.facts, "what comes back proves nothing");
}

async fn a_state_ends_with_its_time_its_domain_and_its_key(bench: Bench) {
    let id = domain(&bench, "one").await;
    let late = begun(&bench, &actor(), id).await;
    bench.clock.advance(CONSENT_LIFE);
    assert_eq!(bench.store.end_consent(&late, Return::Done).await.unwrap(), None);
    let gone = Actor::with_key(model::id::KeyId::generate(bench.now()));
    let orphan = begun(&bench, &gone, id).await;
    assert_eq!(bench.store.end_consent(&orphan, Return::Done).await.unwrap(), None);
    let state = begun(&bench, &actor(), id).await;
    bench.store.delete_domain(&actor(), Access::Platform, id).await.unwrap();
    assert_eq!(bench.store.end_consent(&state, Return::Done).await.unwrap(), None);
}

async fn a_domain_has_few_open_links_and_its_states_are_in_no_table(bench: Bench) {
    let id = domain(&bench, "one").await;
    let mut last = String::new();
    for _ in 0..20 {
        bench.tick();
        last = begun(&bench, &actor(), id).await;
    }
    assert_eq!(bench.count("SELECT COUNT(*) FROM consents").await, 8);
    assert_ne!(bench.text("SELECT state_hash FROM consents ORDER BY expires_at DESC LIMIT 1").await, last);
    assert_eq!(bench.store.end_consent(&last, Return::Done).await.unwrap(), Some(id));
    let stranger = Access::Tenant(bench.tenant("stranger").await.id);
    assert!(bench.store.begin_consent(&actor(), stranger, id).await.is_err());
}

on_both_engines!(
    a_state_is_good_once_and_for_its_own_domain,
    whoever_comes_back_has_the_domain_looked_at_and_nothing_else,
    a_state_ends_with_its_time_its_domain_and_its_key,
    a_domain_has_few_open_links_and_its_states_are_in_no_table,
);
