//! Texts in zones of ours.

use model::Timestamp;
use store::ZoneText;

use crate::bench::{Bench, DAY, HOUR};
use crate::on_both_engines;

fn text(place: &str, expires_at: Timestamp) -> ZoneText {
    let (place, text) = (format!("_acme-challenge.{place}.example.com"), "digest".to_owned());
    ZoneText { place, text, expires_at }
}

async fn what_nobody_takes_away_in_its_time_is_given_to_one_who_does(bench: Bench) {
    let end = bench.now().plus(HOUR);
    let (first, second, gone) = (text("a", end), text("b", end.plus(HOUR)), text("c", end));
    for text in [&first, &second, &gone] {
        bench.store.keep_text(text).await.unwrap();
    }
    bench.store.drop_text(&gone.place, &gone.text).await.unwrap();
    let taken = async || bench.store.take_left_texts(9, HOUR).await.unwrap();
    assert!(taken().await.is_empty(), "authorities may look at them");
    bench.clock.advance(HOUR);
    let other = bench.reopened(&["apps.test", "alt.test"]).await;
    let (one, two) = tokio::join!(taken(), other.take_left_texts(9, HOUR));
    let all: Vec<ZoneText> = one.into_iter().chain(two.unwrap()).collect();
    assert_eq!(all, std::slice::from_ref(&first));
    assert!(taken().await.is_empty(), "it is in somebody's hands");
    bench.clock.advance(HOUR);
    assert_eq!(taken().await.len(), 2, "it was not taken away");
    // The order goes on: its text is needed again.
    bench.store.keep_text(&text("a", bench.now().plus(DAY))).await.unwrap();
    bench.clock.advance(HOUR * 2);
    assert_eq!(taken().await, std::slice::from_ref(&second));
    assert!(!second.is_given_up(bench.now()));
    bench.clock.advance(DAY * 7);
    assert!(second.is_given_up(bench.now()));
}

on_both_engines! {
    what_nobody_takes_away_in_its_time_is_given_to_one_who_does,
}
