use std::sync::atomic::AtomicU32;

use proptest::prelude::*;

use super::*;

fn visitor(number: u64) -> VisitorKey {
    VisitorKey::V6(number)
}

fn gate_of(cap: u32) -> Arc<Gate> {
    let gate = Arc::<Gate>::default();
    gate.resize(cap);
    gate
}

fn place(gate: &Arc<Gate>, number: u64) -> Place {
    match gate.enter(visitor(number)) {
        Entrance::Open(place) => place,
        other => panic!("no place: {other:?}"),
    }
}

fn ticket(gate: &Arc<Gate>, number: u64) -> Ticket {
    match gate.enter(visitor(number)) {
        Entrance::Wait(ticket) => ticket,
        other => panic!("no ticket: {other:?}"),
    }
}

fn is_full(gate: &Arc<Gate>, number: u64) -> bool {
    matches!(gate.enter(visitor(number)), Entrance::Full)
}

fn has_nobody(gate: &Gate) -> bool {
    let queue = gate.lock();
    gate.word.load(Relaxed) == 0 && queue.waiting == 0 && queue.visitors.is_empty() && queue.turns.is_empty()
}

#[test]
fn over_the_cap_requests_wait_and_over_the_queue_they_are_refused() {
    let gate = gate_of(2);
    let held = [place(&gate, 1), place(&gate, 2)];
    let waiting = [ticket(&gate, 1), ticket(&gate, 2)];
    assert!(is_full(&gate, 1) && is_full(&gate, 3));
    drop((waiting, held));
    assert!(has_nobody(&gate));
}

#[tokio::test]
async fn a_place_goes_to_who_waits_and_to_nobody_who_comes_later() {
    let gate = gate_of(2);
    let [one, _two] = [place(&gate, 1), place(&gate, 1)];
    let (mut first, mut second) = (ticket(&gate, 1), ticket(&gate, 1));
    drop(one);
    let mut third = ticket(&gate, 2);
    let held = first.called().await.unwrap();
    assert!(second.call.try_recv().is_err() && third.call.try_recv().is_err());
    drop(held);
    assert!(second.called().await.is_some());
    assert!(third.called().await.is_some());
}

#[test]
fn who_leaves_the_queue_makes_room_in_it() {
    let gate = gate_of(1);
    let held = place(&gate, 1);
    let waits = ticket(&gate, 1);
    assert!(is_full(&gate, 1));
    drop(waits);
    let mut waits = ticket(&gate, 1);
    drop(held);
    assert!(waits.call.try_recv().is_ok());
    assert!(has_nobody(&gate));
}

#[test]
fn who_leaves_as_he_is_called_passes_the_place_on() {
    let gate = gate_of(2);
    let held = [place(&gate, 1), place(&gate, 1)];
    let (first, mut second) = (ticket(&gate, 1), ticket(&gate, 1));
    let [one, _other] = held;
    drop(one);
    drop(first);
    assert!(second.call.try_recv().is_ok());
}

#[test]
fn a_burst_of_one_visitor_keeps_no_other_out_of_the_queue() {
    let gate = gate_of(4);
    let mut held: Vec<_> = (0..4).map(|_| place(&gate, 1)).collect();
    let mut burst: Vec<_> = (0..4).map(|_| ticket(&gate, 1)).collect();
    let mut other = ticket(&gate, 2);
    assert!(burst[3].call.try_recv().is_err(), "the newest was pushed out");
    assert!(burst[3].call.is_terminated() && !burst[0].call.is_terminated());
    assert!(is_full(&gate, 1) && is_full(&gate, 2), "each has something in it");
    held.truncate(2);
    assert!(burst[0].call.try_recv().is_ok(), "who came first");
    assert!(other.call.try_recv().is_ok(), "then the other, before the rest of the burst");
    drop((burst, other, held));
    assert!(has_nobody(&gate));
}

#[test]
fn a_higher_cap_lets_in_who_waits_and_a_lower_one_sends_nobody_away() {
    let gate = gate_of(2);
    let held = [place(&gate, 1), place(&gate, 1)];
    let mut waits = [ticket(&gate, 1), ticket(&gate, 2)];
    gate.resize(3);
    assert!(waits[0].call.try_recv().is_ok(), "and its place is free again, so that");
    assert!(waits[1].call.try_recv().is_ok(), "the next has it too");
    gate.resize(1);
    drop(held);
    let _one = place(&gate, 1);
    assert!(!matches!(gate.enter(visitor(1)), Entrance::Open(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_together_never_exceed_the_cap_and_lose_no_place() {
    const CAP: u32 = 5;
    let (gate, inside) = (gate_of(CAP), Arc::new(AtomicU32::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8_u64 {
        let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
        tasks.spawn(async move {
            for round in 0..500_u64 {
                let place = match gate.enter(visitor(number % 3)) {
                    Entrance::Open(place) => Some(place),
                    Entrance::Full => None,
                    // Some leave the queue at once.
                    Entrance::Wait(_) if (round + number) % 7 == 0 => None,
                    Entrance::Wait(mut ticket) => ticket.called().await,
                };
                let Some(place) = place else { continue };
                assert!(inside.fetch_add(1, Relaxed) < CAP);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Relaxed);
                drop(place);
            }
        });
    }
    tokio::time::timeout(std::time::Duration::from_secs(60), tasks.join_all()).await.unwrap();
    assert!(has_nobody(&gate));
}

proptest! {
    #[test]
    fn visitors_are_let_in_by_turns_and_the_requests_of_each_in_order(
        arrivals in prop::collection::vec(0_u64..6, 1..60),
    ) {
        let gate = gate_of(60);
        let held: Vec<_> = (0..60).map(|_| place(&gate, 99)).collect();
        let mut waits: Vec<_> = arrivals.iter().map(|number| Some(ticket(&gate, *number))).collect();
        let mut order: Vec<usize> = Vec::new();
        for free in held {
            drop(free);
            let called = waits.iter_mut().position(|ticket| {
                ticket.as_mut().is_some_and(|ticket| ticket.call.try_recv().is_ok_and(|place| {
                    // It is inside from now on.
                    std::mem::forget(place);
                    true
                }))
            });
            if let Some(index) = called {
                waits[index] = None;
                order.push(index);
            }
        }
        prop_assert_eq!(order.len(), arrivals.len());
        let mut served = [0_usize; 6];
        let mut last = [None; 6];
        for index in order {
            let number = usize::try_from(arrivals[index]).unwrap();
            prop_assert!(last[number] < Some(index), "in order");
            (last[number], served[number]) = (Some(index), served[number] + 1);
            let is_waiting = |other: usize| {
                arrivals.iter().filter(|arrival| **arrival == u64::try_from(other).unwrap()).count() > served[other]
            };
            let behind = (0..6).filter(|other| is_waiting(*other)).map(|other| served[other]).min();
            prop_assert!(behind.is_none_or(|behind| served[number] <= behind + 1), "by turns: {:?}", served);
        }
    }

    #[test]
    fn whatever_comes_and_goes_the_cap_holds_and_no_place_is_lost(
        cap in 1_u32..5,
        steps in prop::collection::vec((0_u8..4, 0_u64..4, any::<prop::sample::Index>()), 0..200),
    ) {
        let gate = gate_of(cap);
        let (mut inside, mut waiting) = (Vec::new(), Vec::new());
        for (step, number, index) in steps {
            match step {
                0 | 1 => match gate.enter(visitor(number)) {
                    Entrance::Open(place) => inside.push(place),
                    Entrance::Wait(ticket) => waiting.push(ticket),
                    Entrance::Full => {}
                },
                2 if !inside.is_empty() => drop(inside.swap_remove(index.index(inside.len()))),
                3 if !waiting.is_empty() => drop(waiting.swap_remove(index.index(waiting.len()))),
                _ => {}
            }
            waiting.retain_mut(|ticket: &mut Ticket| match ticket.call.try_recv() {
                Ok(place) => {
                    inside.push(place);
                    false
                }
                Err(error) => error == oneshot::error::TryRecvError::Empty,
            });
            prop_assert!(inside.len() <= usize::try_from(cap).unwrap());
            prop_assert!(waiting.is_empty() || inside.len() == usize::try_from(cap).unwrap(), "a place is lost");
            prop_assert!(waiting.len() <= usize::try_from(cap).unwrap());
        }
        drop((inside, waiting));
        prop_assert!(has_nobody(&gate));
    }
}
