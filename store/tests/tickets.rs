//! Keys of TLS session tickets: made in time, told to the edges, forgotten.

use std::time::Duration;

use model::change::{Object, ObjectId, Revision};
use model::seal::SealingKey;
use model::ticket::{ROTATION, TicketKey};

use crate::bench::{Bench, NO_LINEAGE, actor};
use crate::on_both_engines;

fn key(bench: &Bench) -> TicketKey {
    TicketKey::generate(bench.now(), SealingKey::generate()).unwrap()
}

/// What an edge that begins anew is told, oldest first.
async fn told(bench: &Bench) -> Vec<TicketKey> {
    let batch = bench.store.changes(&NO_LINEAGE, Revision(0), 100).await.unwrap();
    let key = |object| if let Object::TicketKey(key) = object { Some(key) } else { None };
    batch.changes.into_iter().filter_map(|change| change.object.and_then(key)).collect()
}

async fn a_key_is_due_every_eight_hours_and_made_once(bench: Bench) {
    assert!(bench.store.ticket_key_due().await.unwrap());
    let (first, other) = (key(&bench), key(&bench));
    assert!(bench.store.put_ticket_key(&actor(), &first).await.unwrap());
    assert!(!bench.store.put_ticket_key(&actor(), &other).await.unwrap(), "another node was quicker");
    bench.clock.advance(ROTATION - Duration::from_millis(1));
    assert!(!bench.store.ticket_key_due().await.unwrap());
    bench.clock.advance(Duration::from_millis(1));
    assert!(bench.store.ticket_key_due().await.unwrap());
    assert_eq!(told(&bench).await, [first]);
}

async fn the_last_three_are_kept_and_edges_hear_of_each_end(bench: Bench) {
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(key(&bench));
        assert!(bench.store.put_ticket_key(&actor(), made.last().unwrap()).await.unwrap());
        bench.clock.advance(ROTATION);
    }
    assert_eq!(told(&bench).await, made[2..]);
    let batch = bench.store.changes(&NO_LINEAGE, Revision(0), 100).await.unwrap();
    for gone in &made[..2] {
        let change = batch.changes.iter().find(|change| change.id == ObjectId::TicketKey(gone.id)).unwrap();
        assert_eq!(change.object, None);
    }
    assert_eq!(bench.count("SELECT COUNT(*) FROM ticket_keys").await, 3);
}

async fn a_clock_that_was_set_back_does_not_stop_rotation(bench: Bench) {
    let mut ahead = key(&bench);
    ahead.made_at = bench.now().plus(ROTATION * 1000);
    assert!(bench.store.put_ticket_key(&actor(), &ahead).await.unwrap());
    let next = key(&bench);
    assert!(bench.store.put_ticket_key(&actor(), &next).await.unwrap());
    assert_eq!(told(&bench).await, [ahead, next], "the newest is the one that was made last");
}

async fn the_secret_is_nowhere_but_sealed_in_its_row(bench: Bench) {
    let key = key(&bench);
    bench.store.put_ticket_key(&actor(), &key).await.unwrap();
    let sealed = key.key.to_string();
    assert_eq!(bench.text("SELECT key_sealed FROM ticket_keys").await, sealed);
    let audit = bench.text("SELECT details FROM audit WHERE action = 'ticket_key.rotate'").await;
    assert_eq!(audit, "{}");
}

on_both_engines! {
    a_key_is_due_every_eight_hours_and_made_once,
    the_last_three_are_kept_and_edges_hear_of_each_end,
    a_clock_that_was_set_back_does_not_stop_rotation,
    the_secret_is_nowhere_but_sealed_in_its_row,
}
