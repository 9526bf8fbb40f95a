//! Requests that happen once.

use std::time::Duration;

use model::id::KeyId;
use store::{Answer, Idempotency};

use crate::bench::{Bench, DAY};
use crate::on_both_engines;

fn answer() -> Answer {
    Answer {
        status: 201,
        headers: vec![("location".to_owned(), "/v1/apps/a_1".to_owned())],
        body: "{\"id\":\"a_1\"}".to_owned(),
    }
}

async fn a_request_happens_once_and_its_answer_is_given_again(bench: Bench) {
    let key = KeyId::generate(bench.now());
    let begin = async |text: &str| bench.store.begin_idempotent(key, "k1", text).await.unwrap();
    assert_eq!(begin("body").await, Idempotency::Started);
    assert_eq!(begin("body").await, Idempotency::Running);
    assert_eq!(begin("other").await, Idempotency::Mismatch);
    bench.store.finish_idempotent(key, "k1", &answer()).await.unwrap();
    assert_eq!(begin("body").await, Idempotency::Replay(answer()));
    assert_eq!(begin("other").await, Idempotency::Mismatch);
    bench.store.abandon_idempotent(key, "k1").await.unwrap();
    assert_eq!(begin("body").await, Idempotency::Replay(answer()), "what is done is not forgotten");
    let stranger = KeyId::generate(bench.now());
    assert_eq!(bench.store.begin_idempotent(stranger, "k1", "body").await.unwrap(), Idempotency::Started);
}

async fn of_many_at_once_one_is_carried_out(bench: Bench) {
    let key = KeyId::generate(bench.now());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = bench.store.clone();
            tokio::spawn(async move { store.begin_idempotent(key, "k1", "body").await.unwrap() })
        })
        .collect();
    let mut started = 0;
    for task in tasks {
        started += usize::from(task.await.unwrap() == Idempotency::Started);
    }
    assert_eq!(started, 1);
}

async fn an_answer_lives_a_day_and_a_dead_request_two_minutes(bench: Bench) {
    let key = KeyId::generate(bench.now());
    let begin = async |name: &str| bench.store.begin_idempotent(key, name, "body").await.unwrap();
    begin("done").await;
    bench.store.finish_idempotent(key, "done", &answer()).await.unwrap();
    begin("dead").await;
    begin("given up").await;
    bench.store.abandon_idempotent(key, "given up").await.unwrap();
    assert_eq!(begin("given up").await, Idempotency::Started);
    bench.clock.advance(Duration::from_secs(120));
    assert_eq!(begin("dead").await, Idempotency::Started);
    assert_eq!(begin("done").await, Idempotency::Replay(answer()));
    bench.clock.advance(DAY);
    assert_eq!(begin("done").await, Idempotency::Started);
    assert_eq!(bench.count("SELECT COUNT(*) FROM idempotency").await, 1);
}

on_both_engines! {
    a_request_happens_once_and_its_answer_is_given_again,
    of_many_at_once_one_is_carried_out,
    an_answer_lives_a_day_and_a_dead_request_two_minutes,
}
