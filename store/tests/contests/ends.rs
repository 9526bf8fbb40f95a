//! How claims of a name end that another tenant has: what waits for what, and for how long.

use std::time::Duration;

use model::domain::connection::{ConnectionStatus, Connector, Door, Step};
use model::domain::{Claim, Contest, DomainStatus, Facts, Refusal, Routing};
use store::{
    Access, AuditFilter, ConnectionPatch, Decision, DomainRecord, HOLD, NewOrder, OrderState, Page, Return,
    SLACK, Shown, Sight, Urgency, Wish,
};

use super::{NAME, PROVED, Scene, audited, now, scene, served, settle, sight};
use crate::bench::{Bench, DAY, HOUR, actor, host, sealed};
use crate::on_both_engines;

const MINUTE: Duration = Duration::from_secs(60);

async fn a_proof_that_stays_away_ends_the_wait_and_one_answer_does_not(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    let look = async |shown| settle(&bench, &claim, sight(&bench, shown, None)).await.facts.contest;
    for wait in 0..3 {
        look(Shown::Everywhere).await;
        let waits = now(&bench, &claim).await.facts.contest;
        bench.clock.advance(HOUR);
        for shown in [Shown::Missing, Shown::Untold, Shown::Missing, Shown::Everywhere, Shown::Missing] {
            bench.clock.advance(MINUTE * 4);
            assert_eq!(look(shown).await, waits, "one server was late once");
        }
        bench.clock.advance(MINUTE * 10);
        let cause = Refusal::Lapsed;
        let wanted = if wait < 2 { Contest::Asked } else { Contest::Refused { cause } };
        assert_eq!(look(Shown::Missing).await, Some(wanted));
        assert_eq!(
            (now(&bench, &own).await.status, served(&bench, NAME).await),
            (DomainStatus::Live, vec![own.app])
        );
    }
}

async fn a_wait_that_nobody_can_tell_the_end_of_is_looked_at_in_peace_and_lapses(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    bench.clock.advance(HOLD);
    let untold = sight(&bench, Shown::Untold, None);
    let silent = settle(&bench, &claim, untold.clone()).await;
    assert!(matches!(silent.facts.contest, Some(Contest::Waiting { .. })), "silence moves nothing");
    assert_eq!(
        silent.next_check_at, untold.next_check_at,
        "its end is past: that is no reason to look at once"
    );
    bench.clock.advance(DAY);
    let lapsed = settle(&bench, &claim, sight(&bench, Shown::Untold, None)).await;
    assert_eq!(lapsed.facts.contest, Some(Contest::Asked));
    assert_eq!(now(&bench, &own).await.status, DomainStatus::Live);
}

async fn a_claimant_that_is_suspended_at_the_end_gets_nothing_and_the_holders_proof_counts_all_the_same(
    bench: Bench,
) {
    let Scene { own, claim } = scene(&bench).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    bench.store.suspend_tenant(&actor(), claim.tenant, "unpaid").await.unwrap();
    bench.clock.advance(HOLD);
    let lapsed = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!(lapsed.facts.contest, Some(Contest::Asked));
    bench.store.resume_tenant(&actor(), claim.tenant).await.unwrap();
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    bench.store.suspend_tenant(&actor(), claim.tenant, "unpaid").await.unwrap();
    let challenged = now(&bench, &own).await;
    let both = sight(&bench, Shown::Everywhere, Some(&challenged.target.proof));
    assert_eq!(settle(&bench, &claim, both).await.facts.contest, PROVED);
    assert_eq!(served(&bench, NAME).await, [own.app]);
}

async fn a_claim_whose_look_fails_is_put_off_unless_somebody_wrote_since(bench: Bench) {
    let Scene { claim, .. } = scene(&bench).await;
    let later = bench.now().plus(MINUTE);
    bench.store.put_domain_check_off(&claim, later).await.unwrap();
    assert_eq!(now(&bench, &claim).await.next_check_at, later);
    let read = settle(&bench, &claim, sight(&bench, Shown::Missing, None)).await;
    bench.store.put_domain_check_off(&claim, later).await.unwrap();
    assert_eq!(now(&bench, &claim).await.next_check_at, read.next_check_at);
}

async fn a_name_waits_for_its_certificate_for_an_hour_at_most(bench: Bench) {
    for is_prepared in [true, false] {
        let name = if is_prepared { "early" } else { "late" };
        let other = format!("{name}-other");
        let (one, two) = (bench.tenant(name).await.id, bench.tenant(&other).await.id);
        let (one, two) = (bench.app(one, name).await, bench.app(two, &other).await);
        let shop = format!("{name}.example.com");
        let held = bench.certificate(&one, &[&shop]).await;
        let own = bench.store.domain_by_host(&host(&shop)).await.unwrap().unwrap();
        let claim = bench.domain(two.id, &shop).await;
        settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
        bench.store.decide_contest(&actor(), Access::Platform, own.id, Decision::Release).await.unwrap();
        let waits = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
        assert!(
            matches!(waits.facts.contest, Some(Contest::Waiting { .. })),
            "its padlock is still to be made"
        );
        let serving = bench.store.active_certificate_for(&own.host).await.unwrap().unwrap();
        assert_eq!((serving.id, served(&bench, &shop).await), (held.id, vec![one.id]));
        if is_prepared {
            let new = bench.new_certificate(&two, &[&shop]);
            assert!(bench.store.prepare_contest(claim.id, &new).await.unwrap());
        } else {
            bench.clock.advance(SLACK);
        }
        let moved = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
        assert_eq!((moved.facts.claim, served(&bench, &shop).await), (Claim::Proved, vec![two.id]));
        let serving = bench.store.active_certificate_for(&own.host).await.unwrap();
        assert_eq!(serving.and_then(|serving| serving.tenant), is_prepared.then_some(two.tenant));
    }
}

async fn a_name_whose_visitors_go_elsewhere_waits_for_no_certificate(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    let one = bench.store.app(Access::Platform, own.app).await.unwrap();
    bench.certificate(&one, &[NAME]).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    bench.clock.advance(HOLD);
    let facts = Facts { routing: Routing::Absent, ..Facts::unknown() };
    let elsewhere = Sight { facts, ..sight(&bench, Shown::Everywhere, None) };
    assert_eq!(settle(&bench, &claim, elsewhere).await.facts.claim, Claim::Proved);
}

async fn an_order_of_the_last_holder_makes_way_once_the_wait_is_over(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    let beside = bench.proved_domain(own.app, "www.shop.example.com").await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    let order = |domain: &DomainRecord, names: &[&str]| NewOrder {
        urgency: Urgency::Waiting,
        host: domain.host.clone(),
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        tenant: Some(domain.tenant),
        app: Some(domain.app),
        domain: Some(domain.id),
    };
    let begin = async |order| bench.store.begin_order(order).await.unwrap();
    for (number, holders) in
        [order(&own, &[NAME]), order(&beside, &["www.shop.example.com", NAME])].into_iter().enumerate()
    {
        begin(holders).await.unwrap();
        assert!(begin(order(&claim, &[NAME])).await.is_none());
        if number == 0 {
            assert!(!bench.store.make_way(claim.id).await.unwrap(), "not before its time");
            bench.clock.advance(HOLD);
        }
        assert!(bench.store.make_way(claim.id).await.unwrap());
        let begun = begin(order(&claim, &[NAME])).await.unwrap();
        assert!(!bench.store.make_way(claim.id).await.unwrap(), "its own order stays");
        assert_eq!(bench.store.order(begun.id).await.unwrap().state, OrderState::Open);
        bench.execute("UPDATE orders SET state = 'failed'").await;
        bench.tick();
    }
    let told = audited(&bench, own.tenant, &own).await;
    assert_eq!(told.iter().filter(|action| *action == "domain.order_end").count(), 2);
}

async fn a_holders_links_and_records_are_not_dropped_in_silence(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    let link = bench.store.begin_consent(&actor(), Access::Platform, own.id).await.unwrap().0;
    let door = Door::to(Connector::Cloudflare);
    let wish = Wish { step: Step::Apply, opening: Some((door, sealed())), keep: true };
    bench.store.wish_connection(&actor(), Access::Platform, own.id, wish).await.unwrap();
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    bench.clock.advance(HOLD);
    let waits = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert!(matches!(waits.facts.contest, Some(Contest::Waiting { .. })), "records are being set");
    let held = bench.store.lease_connection(own.id, "one", MINUTE).await.unwrap();
    let set = ConnectionPatch {
        status: Some(ConnectionStatus::Applied),
        applied: Some(Some("{}".to_owned())),
        ..ConnectionPatch::default()
    };
    bench.store.update_connection(own.id, held.fence, set).await.unwrap();
    let moved = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!(moved.facts.claim, Claim::Proved);
    assert_eq!(bench.count("SELECT COUNT(*) FROM consents").await, 0);
    assert_eq!(bench.store.end_consent(&link, Return::Done).await.unwrap(), None);
    let filter = AuditFilter { target: Some(own.id.to_string()), ..AuditFilter::default() };
    let told = bench.store.audit_events(Access::Tenant(own.tenant), &filter, &Page::default()).await.unwrap();
    let moved = told.items.iter().find(|event| event.action == "domain.move_away").unwrap();
    assert_eq!(moved.details["records_stay_at"], "cloudflare");
}

async fn a_link_of_a_name_that_has_moved_leads_nowhere(bench: Bench) {
    let Scene { own, .. } = scene(&bench).await;
    let link = bench.store.begin_consent(&actor(), Access::Platform, own.id).await.unwrap().0;
    bench.execute("UPDATE domains SET id = 'dom_01JD0000000000000000000000'").await;
    assert_eq!(bench.store.end_consent(&link, Return::Done).await.unwrap(), None);
}

async fn a_name_that_was_kept_for_a_tenant_that_is_gone_is_no_stumbling_block(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    bench.store.delete_tenant(&actor(), Access::Platform, own.tenant, None).await.unwrap();
    let kept = bench.count("SELECT COUNT(*) FROM released_hosts WHERE host = 'shop.example.com'").await;
    assert_eq!(kept, 1, "nobody gets it without a proof");
    let waits = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert!(matches!(waits.facts.contest, Some(Contest::Waiting { .. })));
    bench.clock.advance(HOLD);
    let moved = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!((moved.facts.claim, served(&bench, NAME).await), (Claim::Proved, vec![claim.app]));
}

on_both_engines! {
    a_claim_whose_look_fails_is_put_off_unless_somebody_wrote_since,
    a_claimant_that_is_suspended_at_the_end_gets_nothing_and_the_holders_proof_counts_all_the_same,
    a_holders_links_and_records_are_not_dropped_in_silence,
    a_link_of_a_name_that_has_moved_leads_nowhere,
    a_name_that_was_kept_for_a_tenant_that_is_gone_is_no_stumbling_block,
    a_name_waits_for_its_certificate_for_an_hour_at_most,
    a_name_whose_visitors_go_elsewhere_waits_for_no_certificate,
    a_proof_that_stays_away_ends_the_wait_and_one_answer_does_not,
    a_wait_that_nobody_can_tell_the_end_of_is_looked_at_in_peace_and_lapses,
    an_order_of_the_last_holder_makes_way_once_the_wait_is_over,
}
