//! Two tenants want one name: who is served, who is told, and when it moves.

mod ends;

use std::time::Duration;

use model::change::{Object, Revision};
use model::domain::{Claim, Contest, DomainStatus, Facts, NoticeKind, Refusal, Routing};
use model::id::{AppId, TenantId};
use store::{
    Access, AuditFilter, Decision, DomainRecord, HOLD, MAX_CONTESTS_OF_NAME, MAX_TRIES, Page, QUARANTINE,
    Shown, Sight, StoreError, UNPROVED_CLAIM,
};

use crate::bench::{Bench, DAY, HOUR, NO_LINEAGE, actor, host, live};
use crate::on_both_engines;

pub(crate) const NAME: &str = "shop.example.com";
pub(crate) const PROVED: Option<Contest> = Some(Contest::Refused { cause: Refusal::Proved });

pub(crate) fn sight(bench: &Bench, proof: Shown, holders_proof: Option<&str>) -> Sight {
    Sight {
        facts: Facts { routing: Routing::Here, ..Facts::unknown() },
        proof,
        holders_proof: holders_proof.map(str::to_owned),
        next_check_at: bench.now().plus(HOUR),
    }
}

pub(crate) async fn settle(bench: &Bench, claim: &DomainRecord, sight: Sight) -> DomainRecord {
    bench.tick();
    let claim = now(bench, claim).await;
    bench.store.settle_contest(claim.id, claim.version, sight).await.unwrap()
}

pub(crate) async fn now(bench: &Bench, domain: &DomainRecord) -> DomainRecord {
    bench.store.domain(Access::Platform, domain.id).await.unwrap()
}

/// Who is served at a name, by what edges are told.
pub(crate) async fn served(bench: &Bench, name: &str) -> Vec<AppId> {
    let batch = bench.store.changes(&NO_LINEAGE, Revision(0), 1_000).await.unwrap();
    let sites = batch.changes.into_iter().filter_map(|change| match change.object {
        Some(Object::Site(site)) => Some(site),
        _ => None,
    });
    sites
        .filter(|site| site.hosts.iter().any(|served| served.host.to_string() == name))
        .map(|site| site.app)
        .collect()
}

async fn told(bench: &Bench, tenant: TenantId) -> Vec<NoticeKind> {
    let notices = bench.store.notices(Access::Tenant(tenant), &Page::default()).await.unwrap();
    notices.items.into_iter().map(|notice| notice.kind).collect()
}

pub(crate) async fn audited(bench: &Bench, tenant: TenantId, target: &DomainRecord) -> Vec<String> {
    let filter = AuditFilter { target: Some(target.id.to_string()), ..AuditFilter::default() };
    let events = bench.store.audit_events(Access::Tenant(tenant), &filter, &Page::default()).await.unwrap();
    events.items.into_iter().map(|event| event.action).collect()
}

/// A live domain of one tenant, and the claim of another one.
pub(crate) struct Scene {
    pub(crate) own: DomainRecord,
    pub(crate) claim: DomainRecord,
}

pub(crate) async fn scene(bench: &Bench) -> Scene {
    let (one, two) = (bench.tenant("one").await.id, bench.tenant("two").await.id);
    let (one, two) = (bench.app(one, "one").await, bench.app(two, "two").await);
    let own = bench.proved_domain(one.id, NAME).await;
    let own = bench.check(&own, live(bench.now().plus(DAY * 60))).await;
    let claim = bench.domain(two.id, NAME).await;
    Scene { own, claim }
}

async fn a_claim_of_anothers_domain_has_its_own_proof_and_harms_nobody(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    assert_eq!((claim.status, claim.facts.contest), (DomainStatus::ClaimedElsewhere, Some(Contest::Asked)));
    assert!(claim.target.proof != own.target.proof && claim.target.cname != own.target.cname);
    for proof in [Shown::Missing, Shown::Untold] {
        let claim = settle(&bench, &claim, sight(&bench, proof, None)).await;
        assert_eq!(claim.facts.contest, Some(Contest::Asked));
    }
    assert_eq!(now(&bench, &own).await, own, "the holder notices nothing");
    assert!(told(&bench, own.tenant).await.is_empty());
    assert_eq!(served(&bench, NAME).await, [own.app]);
    let list = bench.store.domains(Access::Platform, claim.app, &Page::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
    assert!(
        bench
            .store
            .due_domains(bench.now().plus(DAY), 10)
            .await
            .unwrap()
            .iter()
            .any(|due| due.id == claim.id)
    );
    bench.store.delete_domain(&actor(), Access::Tenant(claim.tenant), claim.id).await.unwrap();
    assert!(matches!(bench.store.domain(Access::Platform, claim.id).await, Err(StoreError::NotFound { .. })));
}

async fn a_proved_claim_waits_a_day_and_then_the_name_moves_in_one_change(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    let one = bench.store.app(Access::Platform, own.app).await.unwrap();
    let two = bench.store.app(Access::Platform, claim.app).await.unwrap();
    bench.proved_domain(own.app, "other.example.com").await;
    let both = bench.certificate(&one, &[NAME, "other.example.com"]).await;
    let only = bench.certificate(&one, &[NAME]).await;
    let claim = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    let until = bench.now().plus(HOLD);
    assert_eq!(claim.facts.contest, Some(Contest::Waiting { until }));
    let challenged = now(&bench, &own).await;
    assert_eq!(challenged.status, DomainStatus::AtRisk);
    assert_eq!(challenged.facts.contest, Some(Contest::Challenged { until }));
    assert_ne!(challenged.target.proof, own.target.proof, "an old record proves nothing about today");
    assert_eq!(challenged.timeline.last().unwrap().status, DomainStatus::AtRisk);
    assert_eq!(told(&bench, own.tenant).await, [NoticeKind::Challenged]);
    let prepared = bench.new_certificate(&two, &[NAME]);
    assert!(bench.store.prepare_contest(claim.id, &prepared).await.unwrap());

    bench.clock.advance(HOLD - Duration::from_millis(20));
    let waits = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!((waits.next_check_at, served(&bench, NAME).await), (until, vec![own.app]));
    bench.clock.advance(Duration::from_millis(20));
    let head = bench.head().await;
    let moved = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!((moved.id, moved.facts.claim, moved.facts.contest), (claim.id, Claim::Proved, None));
    assert_eq!(served(&bench, NAME).await, [claim.app]);
    let lost = now(&bench, &own).await;
    assert_eq!((lost.status, lost.facts.contest), (DomainStatus::ClaimedElsewhere, Some(Contest::Lost)));
    assert_eq!(lost.timeline.last().unwrap().status, DomainStatus::ClaimedElsewhere);
    assert_eq!(told(&bench, own.tenant).await, [NoticeKind::Challenged, NoticeKind::MovedAway]);
    assert_eq!(told(&bench, claim.tenant).await, [NoticeKind::ProofSeen, NoticeKind::MovedHere]);
    assert!(audited(&bench, own.tenant, &own).await.contains(&"domain.move_away".to_owned()));
    assert!(audited(&bench, claim.tenant, &claim).await.contains(&"domain.move_here".to_owned()));

    // The new tenant is served by the certificate that was waiting, the old one's answers for the name no more.
    let serving = bench.store.active_certificate_for(&host(NAME)).await.unwrap().unwrap();
    assert_eq!((serving.id, serving.tenant), (prepared.id, Some(claim.tenant)));
    assert!(bench.store.certificate(Access::Platform, only.id).await.is_err(), "the key is gone");
    let kept = bench.store.certificate(Access::Platform, both.id).await.unwrap();
    assert_eq!(kept.names, ["other.example.com".parse().unwrap()]);
    assert!(bench.store.certificate(Access::Tenant(claim.tenant), both.id).await.is_err());
    let told: Vec<String> = changes_since(&bench, head).await;
    let order =
        [format!("certificate {}", prepared.id), format!("site {}", claim.app), format!("site {}", own.app)];
    let places: Vec<_> = order.iter().map(|id| told.iter().position(|told| told == id).unwrap()).collect();
    assert!(places.is_sorted(), "the name is never served by nobody: {told:?}");
}

async fn changes_since(bench: &Bench, head: Revision) -> Vec<String> {
    let lineage = bench.store.changes(&NO_LINEAGE, Revision(0), 1).await.unwrap().lineage;
    let batch = bench.store.changes(&lineage, head, 100).await.unwrap();
    let name = |id: &model::change::ObjectId| match id {
        model::change::ObjectId::Site(id) => format!("site {id}"),
        model::change::ObjectId::Certificate(id) => format!("certificate {id}"),
        _ => String::new(),
    };
    batch.changes.iter().map(|change| name(&change.id)).collect()
}

async fn a_holder_that_proves_the_name_again_keeps_it(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, Some(&own.target.proof))).await;
    let challenged = now(&bench, &own).await;
    // The record that was there before the claim does not count.
    let still = settle(&bench, &claim, sight(&bench, Shown::Everywhere, Some(&own.target.proof))).await;
    assert!(matches!(still.facts.contest, Some(Contest::Waiting { .. })));
    assert!(bench.store.refute_contest(own.id, &own.target.proof).await.is_err());
    bench.tick();
    let kept = bench.store.refute_contest(own.id, &challenged.target.proof).await.unwrap();
    assert_eq!((kept.status, kept.facts.contest), (DomainStatus::Live, None));
    assert_eq!(now(&bench, &claim).await.facts.contest, PROVED);
    assert_eq!(told(&bench, own.tenant).await, [NoticeKind::Challenged, NoticeKind::ClaimEnded]);
    assert_eq!(told(&bench, claim.tenant).await, [NoticeKind::ProofSeen, NoticeKind::ClaimRefused]);
    bench.clock.advance(HOLD * 2);
    let late = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!((late.facts.contest, served(&bench, NAME).await), (PROVED, vec![own.app]));
}

async fn at_the_last_moment_the_holders_proof_counts_before_the_move(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    let challenged = now(&bench, &own).await;
    bench.clock.advance(HOLD * 2);
    let both = sight(&bench, Shown::Everywhere, Some(&challenged.target.proof));
    assert_eq!(settle(&bench, &claim, both).await.facts.contest, PROVED);
    assert_eq!(served(&bench, NAME).await, [own.app]);
}

async fn a_holder_may_release_the_name_and_an_operator_may_decide_either_way(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    let decide =
        async |access, id, decision| bench.store.decide_contest(&actor(), access, id, decision).await;
    let (holder, claimant) = (Access::Tenant(own.tenant), Access::Tenant(claim.tenant));
    let none = decide(holder, own.id, Decision::Release).await;
    assert!(matches!(none, Err(StoreError::Conflict { code: "not_contested", .. })), "{none:?}");
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert!(matches!(decide(holder, own.id, Decision::Keep).await, Err(StoreError::Invalid { .. })));
    assert!(matches!(decide(claimant, own.id, Decision::Release).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(decide(claimant, claim.id, Decision::Release).await, Err(StoreError::Conflict { .. })));
    let kept = decide(Access::Platform, own.id, Decision::Keep).await.unwrap();
    assert_eq!(kept.status, DomainStatus::Live);
    let cause = Refusal::Decided;
    assert_eq!(now(&bench, &claim).await.facts.contest, Some(Contest::Refused { cause }));
    let claim = bench.domain(claim.app, NAME).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    decide(holder, own.id, Decision::Release).await.unwrap();
    assert_eq!(served(&bench, NAME).await, [own.app], "not without the proof at that moment");
    let moved = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!((moved.facts.claim, served(&bench, NAME).await), (Claim::Proved, vec![claim.app]));
}

async fn a_name_that_its_holder_gives_up_goes_to_who_proved_it(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    bench.store.delete_domain(&actor(), Access::Platform, own.id).await.unwrap();
    assert!(served(&bench, NAME).await.is_empty());
    let moved = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!((moved.facts.claim, served(&bench, NAME).await), (Claim::Proved, vec![claim.app]));
}

async fn a_claim_of_a_name_that_was_given_up_waits_a_day_too(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    bench.store.delete_domain(&actor(), Access::Platform, own.id).await.unwrap();
    let waits = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert!(matches!(waits.facts.contest, Some(Contest::Waiting { .. })));
    assert_eq!(told(&bench, own.tenant).await, [NoticeKind::Challenged]);
    let back = bench.domain(own.app, NAME).await;
    assert!(matches!(back.facts.claim, Claim::Unproved));
    bench.store.delete_domain(&actor(), Access::Platform, back.id).await.unwrap();
    bench.clock.advance(QUARANTINE);
    let free = settle(&bench, &claim, sight(&bench, Shown::Missing, None)).await;
    assert_eq!(
        (free.facts.claim, free.status),
        (Claim::Unproved, DomainStatus::NeedsDns),
        "a claim like any other"
    );
    assert_eq!(bench.store.domain_by_host(&host(NAME)).await.unwrap().unwrap().id, claim.id);
    assert!(audited(&bench, claim.tenant, &claim).await.contains(&"domain.add".to_owned()));
}

async fn a_name_that_nobody_ever_proved_goes_to_the_first_proof(bench: Bench) {
    let (one, two) = (bench.tenant("one").await.id, bench.tenant("two").await.id);
    let (one, two) = (bench.app(one, "one").await, bench.app(two, "two").await);
    let squatted = bench.domain(one.id, NAME).await;
    let claim = bench.domain(two.id, NAME).await;
    let moved = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!((moved.facts.claim, served(&bench, NAME).await), (Claim::Proved, vec![two.id]));
    assert_eq!(now(&bench, &squatted).await.facts.contest, Some(Contest::Lost));
    let late =
        bench.store.record_domain_check(squatted.id, squatted.version, live(bench.now()), bench.now()).await;
    assert!(matches!(late, Err(StoreError::NotFound { .. })), "a look that was under way: {late:?}");
}

async fn claims_are_bounded_by_name_and_by_tenant(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    let claim_of =
        async |app: AppId| bench.store.add_domain(&actor(), Access::Platform, app, host(NAME)).await;
    let again = claim_of(claim.app).await;
    assert!(matches!(again, Err(StoreError::Conflict { code: "domain_taken", .. })), "{again:?}");
    bench.store.delete_domain(&actor(), Access::Platform, claim.id).await.unwrap();
    for _ in 1..MAX_TRIES {
        let claim = claim_of(claim.app).await.unwrap();
        bench.store.delete_domain(&actor(), Access::Platform, claim.id).await.unwrap();
    }
    assert!(matches!(claim_of(claim.app).await, Err(StoreError::TooMany { limit: MAX_TRIES, .. })));
    for number in 0..MAX_CONTESTS_OF_NAME {
        let name = format!("more-{number}");
        let app = bench.app(bench.tenant(&name).await.id, &name).await;
        claim_of(app.id).await.unwrap();
    }
    let late = bench.app(bench.tenant("late").await.id, "late").await;
    assert!(matches!(claim_of(late.id).await, Err(StoreError::TooMany { limit: MAX_CONTESTS_OF_NAME, .. })));
    bench.clock.advance(UNPROVED_CLAIM);
    claim_of(late.id).await.unwrap();
    assert!(matches!(claim_of(claim.app).await, Err(StoreError::TooMany { limit: MAX_TRIES, .. })));
    bench.clock.advance(DAY * 30);
    claim_of(claim.app).await.unwrap();
    assert_eq!(served(&bench, NAME).await, [own.app]);
}

async fn whoever_shows_no_proof_for_an_hour_makes_room_and_whoever_showed_one_stays(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    let mut claims = vec![claim];
    for number in 1..MAX_CONTESTS_OF_NAME {
        let name = format!("more-{number}");
        let app = bench.app(bench.tenant(&name).await.id, &name).await;
        claims.push(bench.domain(app.id, NAME).await);
    }
    // The first waits for its end, the second shows its proof as well, and the third did once, a while ago.
    for claim in &claims[..3] {
        settle(&bench, claim, sight(&bench, Shown::Everywhere, None)).await;
    }
    bench.clock.advance(HOUR);
    settle(&bench, &claims[1], sight(&bench, Shown::Everywhere, None)).await;
    let mut gone = Vec::new();
    for number in 0..4 {
        let name = format!("late-{number}");
        let app = bench.app(bench.tenant(&name).await.id, &name).await;
        match bench.store.add_domain(&actor(), Access::Platform, app.id, host(NAME)).await {
            Ok(_) => gone.push(number),
            Err(error) => assert!(matches!(error, StoreError::TooMany { limit: MAX_CONTESTS_OF_NAME, .. })),
        }
    }
    assert_eq!(gone, [0, 1, 2], "as many as had shown nothing for an hour");
    for (number, claim) in claims.iter().enumerate() {
        let found = bench.store.domain(Access::Platform, claim.id).await;
        assert_eq!(found.is_ok(), number < 2, "{number}");
    }
    assert!(
        audited(&bench, claims[4].tenant, &claims[4]).await.contains(&"domain.contest.displace".to_owned())
    );
    assert_eq!(served(&bench, NAME).await, [own.app]);
}

async fn what_goes_with_its_app_or_tenant_leaves_no_claim_behind(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    bench.store.delete_app(&actor(), Access::Platform, claim.app, None).await.unwrap();
    assert_eq!(now(&bench, &own).await.status, DomainStatus::Live);
    bench.store.delete_tenant(&actor(), Access::Platform, claim.tenant, None).await.unwrap();
    bench.store.delete_tenant(&actor(), Access::Platform, own.tenant, None).await.unwrap();
    assert_eq!(bench.count("SELECT COUNT(*) FROM contests").await, 0);
    assert_eq!(bench.count("SELECT COUNT(*) FROM notices").await, 0);
}

async fn a_notice_is_taken_away_by_whom_it_tells_only(bench: Bench) {
    let Scene { own, claim } = scene(&bench).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    let notice =
        bench.store.notices(Access::Tenant(own.tenant), &Page::default()).await.unwrap().items.remove(0);
    let delete = async |access| bench.store.delete_notice(&actor(), access, notice.id).await;
    assert!(matches!(delete(Access::Tenant(claim.tenant)).await, Err(StoreError::NotFound { .. })));
    delete(Access::Tenant(own.tenant)).await.unwrap();
    assert!(told(&bench, own.tenant).await.is_empty());
}

on_both_engines! {
    a_claim_of_a_name_that_was_given_up_waits_a_day_too,
    a_claim_of_anothers_domain_has_its_own_proof_and_harms_nobody,
    a_holder_may_release_the_name_and_an_operator_may_decide_either_way,
    a_holder_that_proves_the_name_again_keeps_it,
    a_name_that_its_holder_gives_up_goes_to_who_proved_it,
    a_name_that_nobody_ever_proved_goes_to_the_first_proof,
    a_notice_is_taken_away_by_whom_it_tells_only,
    a_proved_claim_waits_a_day_and_then_the_name_moves_in_one_change,
    at_the_last_moment_the_holders_proof_counts_before_the_move,
    claims_are_bounded_by_name_and_by_tenant,
    what_goes_with_its_app_or_tenant_leaves_no_claim_behind,
    whoever_shows_no_proof_for_an_hour_makes_room_and_whoever_showed_one_stays,
}
