//! How a backend comes back into traffic: slow start and breaker.

use super::*;

/// The share of `label` in what is picked now.
fn share(pool: &Arc<Pool>, label: &str) -> f64 {
    let picked = picked(pool, 4_000);
    f64::from(u32::try_from(picked.get(label).copied().unwrap_or(0)).unwrap()) / 4_000.0
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
