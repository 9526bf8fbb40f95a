//! What is shared about authorities: their limits, their failures, their advice, and who goes first.

use std::time::Duration;

use model::change::{Object, Revision};
use store::{
    Access, App, Bucket, CertificateRecord, Draw, Hastened, Limit, NewCertificate, NewOrder, Order,
    OrderPatch, OrderState, StoreError, Urgency,
};

use crate::bench::{Bench, DAY, HOUR, NO_LINEAGE, actor, host};
use crate::on_both_engines;

const CA: &str = "https://ca.test/dir";
const MINUTE: Duration = Duration::from_secs(60);

async fn leased(bench: &Bench, name: &str, urgency: Urgency) -> Order {
    let names = vec![name.parse().unwrap()];
    let new = NewOrder { host: host(name).into(), names, tenant: None, app: None, domain: None, urgency };
    let order = bench.store.begin_order(new).await.unwrap().unwrap();
    bench.store.lease_order(order.id, "me", DAY).await.unwrap()
}

/// Two at once, then one a minute.
fn draws() -> [Draw; 1] {
    let limit = Limit { burst: 2, period: MINUTE * 2, spare: 0 };
    [Draw { bucket: Bucket::Orders, subject: String::new(), limit }]
}

async fn reserve(bench: &Bench, order: &Order, authority: &str) -> Order {
    bench.store.reserve_order(order.id, order.fence, authority, &draws()).await.unwrap()
}

async fn orders_beyond_a_limit_are_given_their_turns(bench: Bench) {
    let mut turns = Vec::new();
    for number in 0..5 {
        let order = leased(&bench, &format!("a{number}.example.com"), Urgency::Waiting).await;
        let reserved = reserve(&bench, &order, CA).await;
        assert_eq!(reserve(&bench, &order, CA).await, reserved, "a turn is drawn once");
        turns.push(reserved.slot_at.unwrap().since(bench.now()).as_secs());
    }
    assert_eq!(turns, [0, 0, 60, 120, 180]);
    let lines = bench.store.ca_budget(CA).await.unwrap();
    assert_eq!((lines[0].full_at, lines[0].limit), (bench.now().plus(MINUTE * 5), draws()[0].limit));
    let standing = bench.store.standings().await.unwrap().remove(CA).unwrap();
    assert_eq!((standing.waiting, &standing.lines), (3, &lines));
    assert_eq!(standing.last_turn_at, Some(bench.now().plus(MINUTE * 3)));
    assert!(bench.store.ca_budget("https://other.test").await.unwrap().is_empty());
    let free_at = bench.store.budget_free_at(CA, &draws()).await.unwrap();
    assert_eq!(free_at, bench.now().plus(MINUTE * 4));
    bench.clock.advance(MINUTE * 5);
    assert!(bench.store.ca_budget(CA).await.unwrap().is_empty(), "it is full again");
    bench.store.purge_budget().await.unwrap();
    assert_eq!(bench.count("SELECT COUNT(*) FROM ca_budget").await, 0);
}

async fn a_name_that_waits_for_its_own_limit_takes_one_from_the_accounts_and_no_more(bench: Bench) {
    let [account] = draws();
    let limit = Limit { burst: 1, period: DAY * 7, spare: 0 };
    let own = Draw { bucket: Bucket::ExactSet, subject: "again.example.com".to_owned(), limit };
    let both = [account, own];
    for number in 0..2 {
        let order = leased(&bench, &format!("again{number}.example.com"), Urgency::Waiting).await;
        bench.store.reserve_order(order.id, order.fence, CA, &both).await.unwrap();
    }
    let other = leased(&bench, "other.example.com", Urgency::Waiting).await;
    assert_eq!(reserve(&bench, &other, CA).await.slot_at, Some(bench.now().plus(MINUTE)));
}

async fn many_at_once_draw_no_more_than_there_is(bench: Bench) {
    let mut orders = Vec::new();
    for number in 0..12 {
        orders.push(leased(&bench, &format!("a{number}.example.com"), Urgency::Waiting).await);
    }
    let tasks: Vec<_> = orders
        .into_iter()
        .map(|order| {
            let store = bench.store.clone();
            tokio::spawn(async move { store.reserve_order(order.id, order.fence, CA, &draws()).await })
        })
        .collect();
    let mut turns = Vec::new();
    for task in tasks {
        turns.push(task.await.unwrap().unwrap().slot_at.unwrap().since(bench.now()).as_secs() / 60);
    }
    turns.sort_unstable();
    assert_eq!(turns, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
}

async fn what_was_sent_and_never_answered_is_spent_too(bench: Bench) {
    let order = leased(&bench, "a.example.com", Urgency::Waiting).await;
    let first = reserve(&bench, &order, CA).await;
    let sent = async |is_sent| {
        let patch = OrderPatch { is_sent: Some(is_sent), ..OrderPatch::default() };
        bench.store.update_order(order.id, order.fence, patch).await.unwrap()
    };
    let full_at = async || bench.store.ca_budget(CA).await.unwrap()[0].full_at;
    sent(true).await;
    assert_eq!(sent(false).await.turn(), first.slot_at, "the authority said no");
    assert_eq!(reserve(&bench, &order, CA).await.slot_at, first.slot_at);
    assert_eq!(full_at().await, bench.now().plus(MINUTE));
    assert_eq!(sent(true).await.turn(), None);
    let again = reserve(&bench, &order, CA).await;
    assert_eq!((again.turn(), again.placed_at), (again.slot_at, None));
    assert_eq!(full_at().await, bench.now().plus(MINUTE * 2), "a second one was drawn");
    let patch =
        OrderPatch { order_url: Some(Some("https://ca.test/order/1".to_owned())), ..OrderPatch::default() };
    sent(true).await;
    let placed = bench.store.update_order(order.id, order.fence, patch).await.unwrap();
    assert_eq!((placed.slot_at, placed.placed_at), (None, Some(bench.now())));
}

async fn a_turn_is_spent_with_the_orders_address_and_given_back_when_it_goes_elsewhere(bench: Bench) {
    let one = leased(&bench, "a.example.com", Urgency::Waiting).await;
    let one = reserve(&bench, &one, CA).await;
    let patch = OrderPatch { order_url: Some(Some("https://ca.test/1".to_owned())), ..OrderPatch::default() };
    let one = bench.store.update_order(one.id, one.fence, patch).await.unwrap();
    assert_eq!((one.slot_at, one.authority.as_deref()), (None, Some(CA)));
    let two = leased(&bench, "b.example.com", Urgency::Waiting).await;
    let two = reserve(&bench, &two, CA).await;
    let three = leased(&bench, "c.example.com", Urgency::Waiting).await;
    let three = reserve(&bench, &three, CA).await;
    let free_at = async || bench.store.budget_free_at(CA, &draws()).await.unwrap().since(bench.now());
    assert_eq!(free_at().await, MINUTE * 2);
    for _ in 0..2 {
        let left = bench.store.leave_authority(three.id, three.fence, &draws()).await.unwrap();
        assert_eq!((left.slot_at, left.authority), (None, None));
        assert_eq!(free_at().await, MINUTE, "given back once");
    }
    bench.store.leave_authority(two.id, two.fence, &draws()).await.unwrap();
    assert_eq!(free_at().await, MINUTE, "what may have been sent is not given back");
    let other = "https://other.test/dir";
    let gone = bench.store.reserve_order(one.id, one.fence, other, &draws()).await.unwrap();
    assert_eq!((gone.order_url, gone.authority.as_deref()), (None, Some(other)), "another's address");
    let late = bench.store.reserve_order(two.id, two.fence - 1, CA, &draws()).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })));
}

async fn an_emergency_goes_first_and_nobody_waits_for_ever(bench: Bench) {
    let mut expected = Vec::new();
    for (name, urgency) in [
        ("old-renewal.test", Urgency::Renewal),
        ("waiting.test", Urgency::Waiting),
        ("overdue.test", Urgency::Overdue),
        ("emergency.test", Urgency::Emergency),
    ] {
        if name == "waiting.test" {
            bench.clock.advance(HOUR * 8);
        }
        let order = leased(&bench, name, urgency).await;
        let release = OrderPatch { next_at: Some(bench.now()), ..OrderPatch::default() };
        bench.store.update_order(order.id, order.fence, release).await.unwrap();
        expected.push(name);
    }
    let found = bench.store.due_orders(bench.now(), 10).await.unwrap();
    let found: Vec<String> = found.iter().map(|order| order.host.to_string()).collect();
    assert_eq!(found, ["old-renewal.test", "emergency.test", "waiting.test", "overdue.test"]);
}

async fn an_authority_that_fails_is_left_alone_and_tried_by_one(bench: Bench) {
    for failures in 1..=5 {
        let circuit = bench.store.note_authority_failure(CA, "it does not answer").await.unwrap();
        assert_eq!((circuit.failures, circuit.is_open()), (failures, failures == 5));
        bench.clock.advance(Duration::from_secs(1));
    }
    let [circuit] = bench.store.circuits().await.unwrap().try_into().unwrap();
    assert_eq!(bench.now().since(circuit.since), Duration::from_secs(5));
    assert!(!bench.store.may_try_authority(&circuit).await.unwrap());
    bench.clock.advance(MINUTE);
    let (one, two) =
        tokio::join!(bench.store.may_try_authority(&circuit), bench.store.may_try_authority(&circuit));
    assert_eq!(usize::from(one.unwrap()) + usize::from(two.unwrap()), 1);
    bench.store.note_authority_works(CA).await.unwrap();
    assert!(bench.store.circuits().await.unwrap().is_empty());
}

async fn what_an_authority_says_is_used_up_is_not_drawn_from_before_its_time(bench: Bench) {
    let [account] = draws();
    let limit = Limit { burst: 1, period: Duration::ZERO, spare: 0 };
    let said = Draw { bucket: Bucket::Stopped, subject: "account".to_owned(), limit };
    let until = bench.now().plus(HOUR);
    let both = [account.clone(), said.clone()];
    bench.store.stop_budget(CA, &both, until).await.unwrap();
    for draw in &both {
        let free_at = bench.store.budget_free_at(CA, std::slice::from_ref(draw)).await.unwrap();
        assert_eq!(free_at, until, "{draw:?}");
    }
    bench.store.stop_budget(CA, &both, bench.now().plus(MINUTE)).await.unwrap();
    assert_eq!(bench.store.budget_free_at(CA, &both).await.unwrap(), until, "never sooner");
    bench.clock.advance(HOUR);
    let mut turns = Vec::new();
    for number in 0..3 {
        let order = leased(&bench, &format!("a{number}.example.com"), Urgency::Waiting).await;
        turns.push(reserve(&bench, &order, CA).await.slot_at.unwrap().since(bench.now()));
    }
    assert_eq!(turns, [Duration::ZERO, MINUTE, MINUTE * 2], "then at the pace of the refill");
}

async fn made_by(bench: &Bench, app: &App, name: &str, authority: &str) -> CertificateRecord {
    bench.proved_domain(app.id, name).await;
    let authority = Some(authority.to_owned());
    let new = NewCertificate { authority, ..bench.new_certificate(app, &[name]) };
    bench.store.insert_certificate(&actor(), new).await.unwrap()
}

/// As after a roll-back, and in a store that was rebuilt.
async fn a_certificate_that_came_by_no_order_has_its_authority_asked_too(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let held = made_by(&bench, &app, "www.example.com", CA).await;
    let unknown = bench.certificate(&app, &["old.example.com"]).await;
    let asked = bench.store.certificates_to_ask(bench.now(), 9).await.unwrap();
    assert_eq!(asked, [(held.clone(), CA.to_owned())], "{unknown:?} is nobody's to be asked about");
    let told = bench.store.changes(&NO_LINEAGE, Revision(0), 99).await.unwrap();
    let told = told.changes.into_iter().find_map(|change| match change.object {
        Some(Object::Certificate(told)) if told.id == held.id => Some(told),
        _ => None,
    });
    assert_eq!(told.unwrap().authority.as_deref(), Some(CA), "edges keep it for a store that is lost");
}

async fn a_store_of_before_learns_from_its_orders_who_made_what(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let mut held = Vec::new();
    for name in ["made.example.com", "back.example.com", "unknown.example.com"] {
        let order = leased(&bench, name, Urgency::Waiting).await;
        let id = reserve(&bench, &order, CA).await.certificate;
        bench.proved_domain(app.id, name).await;
        let new = NewCertificate { id, ..bench.new_certificate(&app, &[name]) };
        held.push(bench.store.insert_certificate(&actor(), new).await.unwrap());
    }
    // The second was rolled back to; the third's order is forgotten.
    let new = bench.new_certificate(&app, &["back.example.com"]);
    let again = NewCertificate { chain_pem: held[1].chain_pem.clone(), ..new };
    held[1] = bench.store.insert_certificate(&actor(), again).await.unwrap();
    bench.execute("DELETE FROM orders WHERE host = 'unknown.example.com'").await;
    let step = include_str!("../src/schema/0015_made_by.sql");
    // On one connection: another one may not know yet that the column is gone.
    bench.execute(format!("ALTER TABLE certificates DROP COLUMN authority; {step}")).await;
    let asked = bench.store.certificates_to_ask(bench.now(), 9).await.unwrap();
    let mut asked: Vec<_> = asked.iter().map(|(held, made_by)| (held.id, made_by.as_str())).collect();
    asked.sort();
    assert_eq!(asked, [(held[0].id, CA), (held[1].id, CA)]);
}

async fn each_question_is_given_to_one_asker(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    for number in 0..5 {
        let name = format!("www{number}.example.com");
        made_by(&bench, &app, &name, CA).await;
    }
    let (one, two) =
        tokio::join!(bench.store.take_questions(3, MINUTE), bench.store.take_questions(3, MINUTE));
    // On Postgres the later one of two may be left with what the earlier one did not want.
    let rest = bench.store.take_questions(5, MINUTE).await.unwrap();
    let mut taken: Vec<_> = one.unwrap().into_iter().chain(two.unwrap()).chain(rest).collect();
    assert!(taken.iter().all(|(_, authority)| authority == CA));
    taken.sort_by_key(|(held, _)| held.id);
    assert_eq!(taken.len(), 5);
    taken.dedup_by_key(|(held, _)| held.id);
    assert_eq!(taken.len(), 5, "each once");
    assert!(bench.store.take_questions(3, MINUTE).await.unwrap().is_empty());
    let (held, _) = taken.remove(0);
    bench.advise(&held, None, held.not_after, HOUR).await;
    bench.clock.advance(MINUTE);
    let again = bench.store.take_questions(10, MINUTE).await.unwrap();
    assert_eq!(again.len(), 4, "those whose asker is gone");
}

async fn questions_are_hastened_but_for_those_that_were_asked_lately(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let mut held = Vec::new();
    for (name, authority) in [("old", CA), ("late", CA), ("soon", CA), ("other", "https://other.test/dir")] {
        let name = format!("{name}.example.com");
        held.push(made_by(&bench, &app, &name, authority).await);
    }
    // The first and the last were asked about two hours ago, the second five minutes ago; the third is next.
    for (held, ask_in) in held.iter().zip([HOUR * 4, MINUTE * 355, MINUTE * 3, HOUR * 4]) {
        bench.advise(held, None, held.not_after, ask_in).await;
    }
    let sooner = Hastened { most: 10, after: MINUTE * 20, instead_of: HOUR * 6 };
    assert_eq!(bench.store.hasten_questions(CA, Hastened { most: 0, ..sooner }).await.unwrap(), 0);
    assert_eq!(bench.store.hasten_questions(CA, sooner).await.unwrap(), 2);
    assert_eq!(bench.store.hasten_questions(CA, sooner).await.unwrap(), 0, "once is enough");
    let asked = async |minutes: u32| {
        let found = bench.store.certificates_to_ask(bench.now().plus(MINUTE * minutes), 10).await.unwrap();
        let place = |id| held.iter().position(|held| held.id == id).unwrap();
        found.iter().map(|(found, _)| place(found.id)).collect::<Vec<_>>()
    };
    assert_eq!(asked(0).await, [0]);
    assert_eq!(asked(14).await, [0, 2]);
    assert_eq!(asked(15).await, [0, 2, 1]);
    assert_eq!(asked(240).await, [0, 2, 1, 3], "another authority's stays where it was");
}

async fn turns_are_dealt_out_evenly_but_for_those_that_come_soon(bench: Bench) {
    let (many, one) = (bench.tenant("many").await.id, bench.tenant("one").await.id);
    let limit = Limit { burst: 3, period: MINUTE * 3, spare: 1 };
    let account = Draw { bucket: Bucket::Orders, subject: String::new(), limit };
    let wait = async |name: &str, tenant, draws: &[Draw]| {
        let names = vec![name.parse().unwrap()];
        let (host, urgency) = (host(name), Urgency::Waiting);
        let new =
            NewOrder { host: host.into(), names, tenant: Some(tenant), app: None, domain: None, urgency };
        let order = bench.store.begin_order(new).await.unwrap().unwrap();
        let order = bench.store.lease_order(order.id, "me", DAY).await.unwrap();
        let order = bench.store.reserve_order(order.id, order.fence, CA, draws).await.unwrap();
        let patch = OrderPatch { next_at: order.slot_at, ..OrderPatch::default() };
        bench.store.update_order(order.id, order.fence, patch).await.unwrap()
    };
    let own = Limit { burst: 1, period: DAY, spare: 0 };
    let own = Draw { bucket: Bucket::ExactSet, subject: "own.example.com".to_owned(), limit: own };
    bench.store.draw_budget(CA, std::slice::from_ref(&own)).await.unwrap();
    let mut orders = Vec::new();
    for number in 0..6 {
        orders.push(wait(&format!("a{number}.example.com"), many, std::slice::from_ref(&account)).await);
    }
    assert_eq!(bench.store.deal_turns(CA).await.unwrap(), 0, "nobody else waits");
    let tied = wait("own.example.com", one, &[account.clone(), own]).await;
    orders.push(wait("b.example.com", one, std::slice::from_ref(&account)).await);
    let minutes = async || {
        let mut minutes = Vec::new();
        for order in &orders {
            let order = bench.store.order(order.id).await.unwrap();
            assert_eq!(order.slot_at, Some(order.next_at));
            minutes.push(order.next_at.since(bench.now()).as_secs() / 60);
        }
        minutes
    };
    assert_eq!(minutes().await, [0, 0, 1, 2, 3, 4, 6]);
    // The one that comes in a minute stays; the turn of a name that waits for its own limit is nobody else's.
    assert_eq!(bench.store.deal_turns(CA).await.unwrap(), 3);
    assert_eq!(minutes().await, [0, 0, 1, 2, 4, 6, 3]);
    assert_eq!(bench.store.order(tied.id).await.unwrap().slot_at, tied.slot_at);
    assert_eq!(bench.store.deal_turns(CA).await.unwrap(), 0);
}

async fn advice_moves_the_renewal_and_the_look_at_the_domain(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.proved_domain(app.id, "www.example.com").await;
    let order = leased(&bench, "www.example.com", Urgency::Waiting).await;
    let held = bench.certificate(&app, &["www.example.com"]).await;
    let (start, end) = (bench.now().minus(HOUR), bench.now().plus(HOUR));
    bench.advise(&held, Some((start, end)), bench.now(), HOUR * 6).await;
    let told = bench.store.certificate(Access::Platform, held.id).await.unwrap();
    assert_eq!(told.renewal_window, Some((start, end)));
    let looked = bench.store.domain(Access::Platform, domain.id).await.unwrap();
    assert!(looked.next_check_at <= bench.now());
    let done = OrderPatch { state: Some(OrderState::Done), ..OrderPatch::default() };
    bench.store.update_order(order.id, order.fence, done).await.unwrap();
    let due = bench.store.certificates_due(bench.now(), 10).await.unwrap();
    assert_eq!(due.iter().map(|due| due.id).collect::<Vec<_>>(), [held.id]);
}

on_both_engines! {
    orders_beyond_a_limit_are_given_their_turns,
    a_name_that_waits_for_its_own_limit_takes_one_from_the_accounts_and_no_more,
    many_at_once_draw_no_more_than_there_is,
    what_was_sent_and_never_answered_is_spent_too,
    a_turn_is_spent_with_the_orders_address_and_given_back_when_it_goes_elsewhere,
    an_emergency_goes_first_and_nobody_waits_for_ever,
    an_authority_that_fails_is_left_alone_and_tried_by_one,
    what_an_authority_says_is_used_up_is_not_drawn_from_before_its_time,
    a_certificate_that_came_by_no_order_has_its_authority_asked_too,
    a_store_of_before_learns_from_its_orders_who_made_what,
    each_question_is_given_to_one_asker,
    questions_are_hastened_but_for_those_that_were_asked_lately,
    turns_are_dealt_out_evenly_but_for_those_that_come_soon,
    advice_moves_the_renewal_and_the_look_at_the_domain,
}
