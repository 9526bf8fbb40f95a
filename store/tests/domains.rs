//! Domains: claims, checks, what edges see of them, and names that were given up.

use std::time::Duration;

use model::HostPattern;
use model::change::{Object, Revision};
use model::domain::{Claim, Contest, DomainStatus, Facts, Policy, Routing};
use model::id::{AppId, DomainId, TenantId};
use model::site::HostOrigin;
use store::{
    Access, AuditFilter, DomainRecord, HOLD, NewOrder, OrderState, Page, QUARANTINE, Shown, StoreError,
    UNPROVED_CLAIM, Urgency, Version,
};

use crate::bench::{Bench, DAY, HOUR, NO_LINEAGE, actor, host, live, proved};
use crate::{contests, on_both_engines};

async fn own_hosts(bench: &Bench, app: AppId) -> Vec<(String, HostOrigin)> {
    let batch = bench.store.changes(&NO_LINEAGE, Revision(0), 100).await.unwrap();
    let site = batch.changes.into_iter().find_map(|change| match change.object {
        Some(Object::Site(site)) if site.app == app => Some(site),
        _ => None,
    });
    let own = |name: &model::site::SiteHost| name.origin != HostOrigin::Zone;
    site.unwrap()
        .hosts
        .iter()
        .filter(|name| own(name))
        .map(|name| (name.host.to_string(), name.origin))
        .collect()
}

async fn a_domain_has_its_own_target_and_waits_for_its_first_check(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.domain(app.id, "www.example.com").await;
    let ulid = domain.id.to_string()["dom_".len()..].to_lowercase();
    assert_eq!(domain.target.cname.as_str(), format!("{ulid}.cname.apps.test"));
    assert_eq!(domain.target.proof.len(), "stoa-proof=".len() + 26);
    assert_eq!(domain.target.addresses.len(), 1);
    assert_eq!(domain.status, DomainStatus::NeedsDns);
    let due = bench.store.due_domains(bench.now(), 10).await.unwrap();
    assert_eq!(due, std::slice::from_ref(&domain));
    assert_eq!(bench.store.domain_by_host(&domain.host).await.unwrap(), Some(domain));
    assert!(own_hosts(&bench, app.id).await.is_empty());
}

async fn a_name_that_is_no_creators_own_is_refused(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    for name in ["apps.test", "x.alt.test", "example"] {
        let error = bench.store.add_domain(&actor(), Access::Platform, app.id, host(name)).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Invalid { field: "hostname", reason } if reason.contains(name)),
            "{error}"
        );
    }
    assert!(bench.store.add_domain(&actor(), Access::Platform, app.id, host("myapps.test")).await.is_ok());
}

async fn names_that_nobody_registers_or_that_look_like_ours_are_refused(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let refused = [
        ("co.uk", "public suffix"),
        ("github.io", "public suffix"),
        ("shop.onion", "never on the internet"),
        ("printer.local", "never on the internet"),
        ("4.3.2.1.in-addr.arpa", "never on the internet"),
        ("app5.test", "looks like `apps.test`"),
        ("login.a-pps.test", "looks like `apps.test`"),
        ("аpps.test", "looks like `apps.test`"),
        ("a1t.test", "looks like `alt.test`"),
    ];
    for (name, why) in refused {
        let error = bench.store.add_domain(&actor(), Access::Platform, app.id, host(name)).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Invalid { field: "hostname", reason } if reason.contains(why)),
            "{name}: {error}"
        );
        let standing = bench.store.standing_of(Access::Platform, &host(name).into()).await.unwrap().unwrap();
        assert_eq!(standing.policy, Policy::Refused, "{name}");
    }
    for name in ["example.co.uk", "shop.example.com", "apps.example"] {
        bench.domain(app.id, name).await;
    }
}

async fn a_wildcard_that_is_no_creators_own_is_refused(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let long = ["x".repeat(63), "y".repeat(63), "z".repeat(63), "example.com".to_owned()].join(".");
    let refused = [
        ("*.com", "`com` has one label only"),
        ("*.co.uk", "`co.uk` is a public suffix"),
        ("*.kawasaki.jp", "`kawasaki.jp` is a public suffix"),
        ("*.apps.test", "marketplace's own zone"),
        ("*.shop.apps.test", "marketplace's own zone"),
        ("*.app5.test", "looks like `apps.test`"),
        (&format!("*.{long}"), "too long for names below it"),
    ];
    for (name, why) in refused {
        let name: HostPattern = name.parse().unwrap();
        let error = bench.store.add_domain(&actor(), Access::Platform, app.id, &name).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Invalid { field: "hostname", reason } if reason.contains(why)),
            "{name}: {error}"
        );
    }
    bench.domain(app.id, &format!("*.{}", &long[64..])).await;
    let moved = bench.reopened(&["apps.market.test"]).await;
    let above: HostPattern = "*.market.test".parse().unwrap();
    let error = moved.add_domain(&actor(), Access::Platform, app.id, above).await.unwrap_err();
    assert!(error.to_string().contains("marketplace's own zone `apps.market.test`"), "{error}");
}

async fn a_wildcard_is_a_name_of_its_own(bench: Bench) {
    let [one, two] = [bench.tenant("one").await.id, bench.tenant("two").await.id];
    let (shop, other) = (bench.app(one, "shop").await, bench.app(two, "other").await);
    let all = bench.proved_domain(shop.id, "*.example.com").await;
    let below = bench.proved_domain(other.id, "blog.example.com").await;
    assert_eq!((all.facts.claim, below.facts.claim), (Claim::Proved, Claim::Proved));
    assert_eq!(own_hosts(&bench, shop.id).await[0].0, "*.example.com");
    let error = bench.store.add_domain(&actor(), Access::Tenant(one), shop.id, &all.host).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { code: "domain_taken", .. }), "{error}");
    assert_eq!(bench.domain(other.id, "*.example.com").await.facts.claim, Claim::Contested);

    let held = bench.certificate(&shop, &["*.example.com"]).await;
    let found = async |name: &str| {
        let name: HostPattern = name.parse().unwrap();
        bench.store.active_certificate_for(name).await.unwrap().map(|held| held.id)
    };
    assert_eq!(found("*.example.com").await, Some(held.id));
    assert_eq!((found("any.example.com").await, found("example.com").await), (Some(held.id), None));
    let foreign = bench.new_certificate(&other, &["*.example.com"]);
    let error = bench.store.insert_certificate(&actor(), foreign).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { field: "names", .. }), "{error}");

    let covered = async |domain: &DomainRecord| bench.store.is_below_anothers(domain).await.unwrap();
    let apex = bench.domain(shop.id, "example.com").await;
    assert!(covered(&below).await && !covered(&all).await && !covered(&apex).await);
    assert!(!covered(&bench.domain(shop.id, "own.example.com").await).await, "one's own takes nothing away");
    assert_eq!(bench.store.delegate_of(&apex).await.unwrap(), all.id);
    assert_eq!(bench.store.sibling_of(&below).await.unwrap(), None);

    bench.store.delete_domain(&actor(), Access::Platform, all.id).await.unwrap();
    assert!(!covered(&below).await);
    assert_eq!(found("*.example.com").await, None, "it goes with its domain");
    assert_eq!(own_hosts(&bench, shop.id).await, []);
    assert_eq!(own_hosts(&bench, other.id).await.len(), 1, "the name below it stays");
}

/// Two tenants ask for one name at the same moment; who of them got it. Who did not may have a claim, which is none
/// of a domain.
async fn race(bench: &Bench, name: &str, apps: [AppId; 2]) -> Vec<usize> {
    let (one, two) = (actor(), actor());
    let (first, second) = tokio::join!(
        bench.store.add_domain(&one, Access::Platform, apps[0], host(name)),
        bench.store.add_domain(&two, Access::Platform, apps[1], host(name)),
    );
    let lost = |error: &StoreError| {
        matches!(error, StoreError::Conflict { code: "domain_taken" | "domain_quarantined", .. })
    };
    for error in [&first, &second].into_iter().filter_map(|claimed| claimed.as_ref().err()) {
        assert!(lost(error), "{name}: {error}");
    }
    let has = |claimed: &Result<DomainRecord, StoreError>| {
        claimed.as_ref().is_ok_and(|domain| domain.facts.claim != Claim::Contested)
    };
    let winners =
        [&first, &second].into_iter().enumerate().filter(|(_, claimed)| has(claimed)).map(|(at, _)| at);
    let winners = winners.collect();
    for claimed in
        [first, second].into_iter().flatten().filter(|domain| domain.facts.claim == Claim::Contested)
    {
        bench.store.delete_domain(&actor(), Access::Platform, claimed.id).await.unwrap();
    }
    winners
}

/// A live name, claimed by two others who prove it at the same moment: one of them waits; then the end of the wait
/// races with the holder's proof. Gives whether the name moved.
async fn contest(bench: &Bench, name: &str, apps: [AppId; 3], proves: bool) -> bool {
    let own = bench.proved_domain(apps[0], name).await;
    let own = bench.check(&own, live(bench.now().plus(DAY * 60))).await;
    let claims = [bench.domain(apps[1], name).await, bench.domain(apps[2], name).await];
    let proved = |claim: &DomainRecord, holders: Option<&str>| {
        bench.store.settle_contest(
            claim.id,
            claim.version,
            contests::sight(bench, Shown::Everywhere, holders),
        )
    };
    let (one, two) = tokio::join!(proved(&claims[0], None), proved(&claims[1], None));
    let is_waiting = |claim: &&DomainRecord| matches!(claim.facts.contest, Some(Contest::Waiting { .. }));
    let all = [one.unwrap(), two.unwrap()];
    let waiting: Vec<&DomainRecord> = all.iter().filter(is_waiting).collect();
    assert_eq!(waiting.len(), 1, "{name}: one at a time");
    let holder = bench.store.domain(Access::Platform, own.id).await.unwrap();
    bench.clock.advance(HOLD);
    let refute = async || match proves {
        true => bench.store.refute_contest(own.id, &holder.target.proof).await.is_ok(),
        // What is shown is the record of before.
        false => bench.store.refute_contest(own.id, &own.target.proof).await.is_ok(),
    };
    let shown = proves.then_some(holder.target.proof.as_str());
    let (moved, _) = tokio::join!(proved(waiting[0], shown), refute());
    let at = bench.store.domain_by_host(&host(name)).await.unwrap().unwrap();
    assert!(
        at.app == apps[0] || (at.id == waiting[0].id && moved.is_ok_and(|domain| domain.id == at.id)),
        "{name}"
    );
    let app = at.app;
    for claim in [claims[0].id, claims[1].id, own.id] {
        let _ = bench.store.delete_domain(&actor(), Access::Platform, claim).await;
    }
    bench.clock.advance(QUARANTINE);
    app != apps[0]
}

/// A hundred contests on each engine.
async fn contests_for_a_name_never_move_it_to_the_wrong_one(bench: Bench) {
    for batch in 0..2 {
        // A claim counts for a month: other tenants each time, or they would be refused.
        let mut apps = Vec::new();
        for role in ["own", "one", "two"] {
            let name = format!("{role}-{batch}");
            apps.push(bench.app(bench.tenant(&name).await.id, &name).await.id);
        }
        for number in 0..50 {
            let name = format!("contested-{batch}-{number}.example.com");
            let proves = number % 2 == 0;
            let moved = contest(&bench, &name, [apps[0], apps[1], apps[2]], proves).await;
            assert_eq!(moved, !proves, "{name}: who shows the name today keeps it, who does not loses it");
        }
    }
}

/// Five hundred races on each engine.
async fn a_thousand_races_for_a_name_have_one_rightful_winner_each(bench: Bench) {
    let mut apps = Vec::new();
    for name in ["own", "one", "two"] {
        apps.push(bench.app(bench.tenant(name).await.id, name).await.id);
    }
    let delete = async |name: String| {
        let domain = bench.store.domain_by_host(&host(&name)).await.unwrap().unwrap();
        bench.store.delete_domain(&actor(), Access::Platform, domain.id).await.unwrap();
        domain.app
    };
    for round in 0..2 {
        for number in 0..50 {
            // Of a name that nobody has, either is right.
            let name = format!("fresh-{round}-{number}.example.com");
            assert_eq!(race(&bench, &name, [apps[1], apps[2]]).await.len(), 1, "{name}");
            delete(name).await;
        }
        for number in 0..50 {
            bench.domain(apps[0], &format!("squatted-{round}-{number}.example.com")).await;
            let name = format!("given-up-{round}-{number}.example.com");
            bench.proved_domain(apps[0], &name).await;
            delete(name).await;
        }
        for number in 0..50 {
            // A claim that is fresh holds against both; a name that was given up goes to its last owner alone.
            let squatted = format!("squatted-{round}-{number}.example.com");
            assert!(race(&bench, &squatted, [apps[1], apps[2]]).await.is_empty(), "{squatted}");
            let given_up = format!("given-up-{round}-{number}.example.com");
            assert_eq!(race(&bench, &given_up, [apps[1], apps[0]]).await, [1], "{given_up}");
            delete(given_up).await;
        }
        bench.clock.advance(UNPROVED_CLAIM + HOUR);
        for number in 0..50 {
            let name = format!("squatted-{round}-{number}.example.com");
            assert_eq!(race(&bench, &name, [apps[1], apps[2]]).await.len(), 1, "{name}");
            assert_ne!(delete(name).await, apps[0]);
        }
        for number in 0..50 {
            let name = format!("kept-{round}-{number}.example.com");
            bench.proved_domain(apps[0], &name).await;
            delete(name).await;
        }
        bench.clock.advance(QUARANTINE);
        for number in 0..50 {
            let name = format!("kept-{round}-{number}.example.com");
            assert_eq!(race(&bench, &name, [apps[1], apps[2]]).await.len(), 1, "{name}");
            delete(name).await;
        }
    }
}

async fn a_host_is_given_once(bench: Bench) {
    let tenant = bench.tenant("one").await.id;
    let (one, two) = (bench.app(tenant, "one").await, bench.app(tenant, "two").await);
    bench.domain(one.id, "www.example.com").await;
    let error = bench.store.add_domain(&actor(), Access::Platform, two.id, host("www.example.com")).await;
    assert!(matches!(error, Err(StoreError::Conflict { code: "domain_taken", .. })));
}

async fn an_app_has_a_hundred_domains_at_most(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    for number in 0..100 {
        bench.domain(app.id, &format!("d{number}.example.com")).await;
    }
    let error = bench.store.add_domain(&actor(), Access::Platform, app.id, host("more.example.com")).await;
    assert!(matches!(error, Err(StoreError::TooMany { limit: 100, .. })));
    let page = bench.store.domains(Access::Platform, app.id, &Page::first(200)).await.unwrap();
    assert_eq!((page.items.len(), page.next), (100, None));
}

async fn a_domain_is_served_from_its_proof_on_and_stays_live_once_it_was(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.proved_domain(app.id, "www.example.com").await;
    let origin = |live| HostOrigin::Domain { id: domain.id, live };
    assert_eq!(own_hosts(&bench, app.id).await, [("www.example.com".to_owned(), origin(false))]);
    let domain = bench.check(&domain, live(bench.now().plus(DAY))).await;
    assert_eq!(domain.status, DomainStatus::Live);
    assert_eq!(own_hosts(&bench, app.id).await, [("www.example.com".to_owned(), origin(true))]);
    let away =
        Facts { routing: Routing::Absent, away_since: Some(bench.now()), ..live(bench.now().plus(DAY)) };
    let domain = bench.check(&domain, away).await;
    assert_eq!(domain.status, DomainStatus::AtRisk);
    assert_eq!(own_hosts(&bench, app.id).await, [("www.example.com".to_owned(), origin(true))]);
    let statuses: Vec<_> = domain.timeline.iter().map(|entry| entry.status).collect();
    let expected = [DomainStatus::NeedsDns, DomainStatus::Issuing, DomainStatus::Live, DomainStatus::AtRisk];
    assert_eq!(statuses, expected);
    assert_eq!(bench.store.domain(Access::Platform, domain.id).await.unwrap(), domain);
}

async fn a_check_without_news_costs_neither_audit_nor_revision(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.proved_domain(app.id, "www.example.com").await;
    let (head, audited) = (bench.head().await, bench.audited().await);
    let next = bench.now().plus(HOUR * 6);
    let facts = Facts { checked_at: Some(bench.now()), ..proved() };
    let checked =
        bench.store.record_domain_check(domain.id, domain.version, facts.clone(), next).await.unwrap();
    assert_eq!((checked.facts, checked.next_check_at), (facts, next));
    assert_eq!(checked.version, Version(domain.version.0 + 1));
    assert_eq!((bench.head().await, bench.audited().await), (head, audited));
}

async fn of_two_checks_the_later_one_is_stale(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.domain(app.id, "www.example.com").await;
    bench.check(&domain, Facts::unknown()).await;
    for facts in [Facts::unknown(), proved()] {
        let late = bench.store.record_domain_check(domain.id, domain.version, facts, bench.now()).await;
        assert!(matches!(late, Err(StoreError::Stale { current: Version(2), .. })), "{late:?}");
    }
}

async fn the_domains_of_some_tenants_can_be_passed_over(bench: Bench) {
    let tenants =
        [bench.tenant("one").await.id, bench.tenant("two").await.id, bench.tenant("three").await.id];
    let mut domains = Vec::new();
    for (at, tenant) in tenants.into_iter().enumerate() {
        let app = bench.app(tenant, &format!("shop-{at}")).await;
        domains.push(bench.domain(app.id, &format!("shop-{at}.example.com")).await.id);
    }
    let due = async |besides: &[TenantId]| -> Vec<DomainId> {
        let due = bench.store.due_domains_besides(besides, bench.now(), 10).await.unwrap();
        due.iter().map(|domain| domain.id).collect()
    };
    assert_eq!(due(&[]).await, domains);
    assert_eq!(due(&tenants[..1]).await, domains[1..]);
    assert_eq!(due(&[tenants[0], tenants[2]]).await, domains[1..2]);
}

async fn domains_are_checked_in_the_order_in_which_they_wait(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let (one, two) =
        (bench.domain(app.id, "one.example.com").await, bench.domain(app.id, "two.example.com").await);
    let due = async || -> Vec<_> {
        bench.store.due_domains(bench.now(), 10).await.unwrap().iter().map(|domain| domain.id).collect()
    };
    assert_eq!(due().await, [one.id, two.id]);
    bench.check(&one, Facts::unknown()).await;
    assert_eq!(due().await, [two.id]);
    bench.tick();
    let asked = bench.store.request_domain_check(&actor(), Access::Platform, one.id).await.unwrap();
    assert_eq!((asked.next_check_at, due().await), (bench.now(), vec![two.id, one.id]));
}

async fn a_check_that_is_put_off_waits_unless_somebody_asks(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let read = bench.domain(app.id, "one.example.com").await;
    let later = bench.now().plus(Duration::from_secs(2));
    bench.store.put_domain_check_off(&read, later).await.unwrap();
    assert!(bench.store.due_domains(bench.now(), 10).await.unwrap().is_empty());
    assert_eq!(bench.store.due_domains(later, 10).await.unwrap()[0].version, read.version);
    bench.tick();
    bench.store.request_domain_check(&actor(), Access::Platform, read.id).await.unwrap();
    bench.store.put_domain_check_off(&read, later).await.unwrap();
    assert_eq!(bench.store.due_domains(bench.now(), 10).await.unwrap().len(), 1, "somebody asked since");
}

async fn a_proved_name_is_kept_for_its_owner_and_an_unproved_one_is_not(bench: Bench) {
    let (own, other) = (bench.tenant("own").await.id, bench.tenant("other").await.id);
    let (own, other) = (bench.app(own, "own").await, bench.app(other, "other").await);
    let claim =
        async |app, name: &str| bench.store.add_domain(&actor(), Access::Platform, app, host(name)).await;
    let delete = async |id| bench.store.delete_domain(&actor(), Access::Platform, id).await.unwrap();

    delete(bench.domain(own.id, "squatted.example.com").await.id).await;
    assert!(claim(other.id, "squatted.example.com").await.is_ok());

    delete(bench.proved_domain(own.id, "www.example.com").await.id).await;
    let error = claim(other.id, "www.example.com").await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { code: "domain_quarantined", .. }), "{error}");
    delete(claim(own.id, "www.example.com").await.unwrap().id).await;

    delete(bench.proved_domain(own.id, "late.example.com").await.id).await;
    bench.clock.advance(QUARANTINE - Duration::from_millis(1));
    assert!(claim(other.id, "late.example.com").await.is_err());
    bench.tick();
    assert!(claim(other.id, "late.example.com").await.is_ok());
}

async fn a_suspended_tenants_domains_say_so_and_are_as_before_afterwards(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.proved_domain(app.id, "www.example.com").await;
    let domain = bench.check(&domain, live(bench.now().plus(DAY))).await;
    let status = async || bench.store.domain(Access::Platform, domain.id).await.unwrap().status;
    bench.store.suspend_tenant(&actor(), app.tenant, "unpaid").await.unwrap();
    assert_eq!(status().await, DomainStatus::Suspended);
    let checked = bench.store.domain(Access::Platform, domain.id).await.unwrap();
    let checked = bench.check(&checked, live(bench.now().plus(DAY))).await;
    assert_eq!((checked.status, checked.facts.policy), (DomainStatus::Suspended, Policy::Suspended));
    bench.store.resume_tenant(&actor(), app.tenant).await.unwrap();
    assert_eq!(status().await, DomainStatus::Live);
}

async fn a_removed_domain_ends_its_order(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.proved_domain(app.id, "www.example.com").await;
    let new = NewOrder {
        host: domain.host.clone(),
        names: vec!["www.example.com".parse().unwrap()],
        tenant: Some(app.tenant),
        app: Some(app.id),
        domain: Some(domain.id),
        urgency: Urgency::Waiting,
    };
    let order = bench.store.begin_order(new).await.unwrap().unwrap();
    let order = bench.store.lease_order(order.id, "me", HOUR).await.unwrap();
    bench.store.delete_domain(&actor(), Access::Platform, domain.id).await.unwrap();
    let late = bench.store.update_order(order.id, order.fence, Default::default()).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })));
    assert_eq!(bench.store.order(order.id).await.unwrap().state, OrderState::Failed);
    assert!(own_hosts(&bench, app.id).await.is_empty());
}

async fn a_claim_that_was_never_proved_gives_way_to_another_tenant_after_a_week(bench: Bench) {
    let (own, other) = (bench.tenant("own").await.id, bench.tenant("other").await.id);
    let (own, other) = (bench.app(own, "own").await, bench.app(other, "other").await);
    let claim =
        async |app, name: &str| bench.store.add_domain(&actor(), Access::Platform, app, host(name)).await;
    let squatted = bench.domain(own.id, "squatted.example.com").await;
    bench.proved_domain(own.id, "proved.example.com").await;
    bench.clock.advance(UNPROVED_CLAIM);
    let taken = |error: &StoreError| matches!(error, StoreError::Conflict { code: "domain_taken", .. });
    let contested = |claim: DomainRecord| claim.facts.claim == Claim::Contested;
    assert!(claim(own.id, "squatted.example.com").await.is_err_and(|error| taken(&error)), "its own");
    assert!(claim(other.id, "proved.example.com").await.is_ok_and(contested), "proved");
    bench.clock.advance(HOUR);
    let claimed = claim(other.id, "squatted.example.com").await.unwrap();
    assert_eq!(claimed.tenant, other.tenant);
    let gone = bench.store.domain(Access::Platform, squatted.id).await;
    assert!(matches!(gone, Err(StoreError::NotFound { .. })));
    let filter = AuditFilter { target: Some(squatted.id.to_string()), ..AuditFilter::default() };
    let access = Access::Tenant(own.tenant);
    let events = bench.store.audit_events(access, &filter, &Page::default()).await.unwrap().items;
    assert_eq!(events[0].action, "domain.displace", "its owner can see why");
    assert!(claim(own.id, "squatted.example.com").await.is_ok_and(contested), "a fresh claim");
    assert!(claim(other.id, "proved.example.com").await.is_err_and(|error| taken(&error)), "claimed already");
}

on_both_engines! {
    a_claim_that_was_never_proved_gives_way_to_another_tenant_after_a_week,
    a_domain_has_its_own_target_and_waits_for_its_first_check,
    a_name_that_is_no_creators_own_is_refused,
    a_wildcard_that_is_no_creators_own_is_refused,
    a_wildcard_is_a_name_of_its_own,
    a_host_is_given_once,
    contests_for_a_name_never_move_it_to_the_wrong_one,
    a_thousand_races_for_a_name_have_one_rightful_winner_each,
    names_that_nobody_registers_or_that_look_like_ours_are_refused,
    an_app_has_a_hundred_domains_at_most,
    a_domain_is_served_from_its_proof_on_and_stays_live_once_it_was,
    a_check_without_news_costs_neither_audit_nor_revision,
    of_two_checks_the_later_one_is_stale,
    the_domains_of_some_tenants_can_be_passed_over,
    domains_are_checked_in_the_order_in_which_they_wait,
    a_check_that_is_put_off_waits_unless_somebody_asks,
    a_proved_name_is_kept_for_its_owner_and_an_unproved_one_is_not,
    a_removed_domain_ends_its_order,
    a_suspended_tenants_domains_say_so_and_are_as_before_afterwards,
}
