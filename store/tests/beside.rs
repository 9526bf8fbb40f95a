//! Orders and certificates for a domain and its `www` together.

use model::HostPattern;
use model::certificate::{CertificateSource, CertificateStatus};
use model::change::{ObjectId, Revision};
use model::domain::{Claim, Facts};
use model::id::CertificateId;
use store::{
    Access, App, DomainRecord, HOLD, NewCertificate, NewOrder, Order, OrderPatch, OrderState, SLACK, Shown,
    StoreError, Urgency,
};

use crate::bench::{Bench, HOUR, NO_LINEAGE, actor, host, proved, sealed};
use crate::contests::{settle, sight};
use crate::on_both_engines;

const APEX: &str = "example.com";
const WWW: &str = "www.example.com";

fn names(of: &[&str]) -> Vec<HostPattern> {
    of.iter().map(|name| name.parse().unwrap()).collect()
}

fn order_for(app: &App, domain: &DomainRecord, of: &[&str]) -> NewOrder {
    NewOrder {
        host: domain.host.clone(),
        names: names(of),
        tenant: Some(app.tenant),
        app: Some(app.id),
        domain: Some(domain.id),
        urgency: Urgency::Waiting,
    }
}

/// An app with both domains, proved.
async fn shop(bench: &Bench) -> (App, DomainRecord, DomainRecord) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let apex = bench.proved_domain(app.id, APEX).await;
    let www = bench.proved_domain(app.id, WWW).await;
    (app, apex, www)
}

async fn leased(bench: &Bench, order: &Order) -> Order {
    bench.store.lease_order(order.id, "me", HOUR).await.unwrap()
}

async fn status(bench: &Bench, certificate: CertificateId) -> CertificateStatus {
    bench.store.certificate(Access::Platform, certificate).await.unwrap().status
}

async fn an_order_for_two_names_is_the_only_one_of_either(bench: Bench) {
    let (app, apex, www) = shop(&bench).await;
    let both = bench.store.begin_order(order_for(&app, &apex, &[WWW, APEX])).await.unwrap().unwrap();
    assert_eq!((both.beside(), &both.names), (Some(&www.host), &names(&[APEX, WWW])));
    for (domain, of) in [(&apex, &[APEX][..]), (&www, &[WWW][..]), (&www, &[APEX, WWW][..])] {
        assert_eq!(bench.store.begin_order(order_for(&app, domain, of)).await.unwrap(), None);
    }
    for name in [&apex.host, &www.host] {
        assert_eq!(bench.store.latest_order(name).await.unwrap().as_ref(), Some(&both));
    }
}

async fn a_name_whose_own_order_is_under_way_is_on_the_others_too_unless_it_fails(bench: Bench) {
    let (app, apex, www) = shop(&bench).await;
    let own = bench.store.begin_order(order_for(&app, &www, &[WWW])).await.unwrap().unwrap();
    let both = bench.store.begin_order(order_for(&app, &apex, &[APEX, WWW])).await.unwrap().unwrap();
    assert_eq!(both.beside(), Some(&www.host));
    let held = leased(&bench, &both).await;
    let done = OrderPatch { state: Some(OrderState::Done), ..OrderPatch::default() };
    bench.store.update_order(held.id, held.fence, done).await.unwrap();
    let own = leased(&bench, &own).await;
    let failed = OrderPatch { attempts: Some(1), ..OrderPatch::default() };
    bench.store.update_order(own.id, own.fence, failed).await.unwrap();
    let alone = bench.store.begin_order(order_for(&app, &apex, &[APEX, WWW])).await.unwrap().unwrap();
    assert_eq!((alone.beside(), &alone.names), (None, &names(&[APEX])));
}

async fn of_two_processes_that_begin_from_either_name_one_does(bench: Bench) {
    let (app, apex, www) = shop(&bench).await;
    let other = bench.reopened(&["apps.test", "alt.test"]).await;
    let (one, two) = tokio::join!(
        bench.store.begin_order(order_for(&app, &apex, &[APEX, WWW])),
        other.begin_order(order_for(&app, &www, &[APEX, WWW])),
    );
    let begun: Vec<Order> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
    assert_eq!(begun.len(), 1, "{begun:?}");
}

async fn an_order_that_goes_on_alone_leaves_the_other_name_free(bench: Bench) {
    let (app, apex, www) = shop(&bench).await;
    let both = bench.store.begin_order(order_for(&app, &apex, &[APEX, WWW])).await.unwrap().unwrap();
    let held = leased(&bench, &both).await;
    let patch = OrderPatch {
        order_url: Some(Some("https://ca.test/order/1".to_owned())),
        key: Some(Some(sealed())),
        ..OrderPatch::default()
    };
    let held = bench.store.update_order(held.id, held.fence, patch).await.unwrap();
    let alone = bench.store.part_order(&held).await.unwrap();
    assert_eq!((alone.beside(), &alone.names), (None, &names(&[APEX])));
    assert_eq!((&alone.order_url, &alone.key, alone.fence), (&None, &None, held.fence));
    assert!(bench.store.begin_order(order_for(&app, &www, &[WWW])).await.unwrap().is_some());
    assert_eq!(bench.store.latest_order(&apex.host).await.unwrap(), Some(alone));
    let late = Order { fence: held.fence - 1, ..held };
    assert!(matches!(bench.store.part_order(&late).await, Err(StoreError::Fenced { .. })));
}

async fn whoever_waited_for_a_turn_does_not_wait_again_because_of_the_other_name(bench: Bench) {
    let (app, apex, _) = shop(&bench).await;
    let both = bench.store.begin_order(order_for(&app, &apex, &[APEX, WWW])).await.unwrap().unwrap();
    let held = leased(&bench, &both).await;
    let held = bench.store.reserve_order(held.id, held.fence, "https://ca.test", &[]).await.unwrap();
    assert!(held.slot_at.is_some());
    let alone = bench.store.part_order(&held).await.unwrap();
    assert_eq!((alone.beside(), alone.slot_at), (None, held.slot_at));
    let sent = OrderPatch { is_sent: Some(true), ..OrderPatch::default() };
    let sent = bench.store.update_order(held.id, held.fence, sent).await.unwrap();
    let spent = bench.store.part_order(&sent).await.unwrap();
    assert_eq!((spent.slot_at, spent.placed_at), (None, None), "the authority may have taken it");
}

async fn a_domain_that_goes_ends_the_order_and_the_other_is_looked_at_at_once(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    for gone in [WWW, APEX] {
        let apex = bench.proved_domain(app.id, APEX).await;
        let www = bench.proved_domain(app.id, WWW).await;
        let (goes, stays) = if gone == WWW { (&www, &apex) } else { (&apex, &www) };
        let order = bench.store.begin_order(order_for(&app, &apex, &[APEX, WWW])).await.unwrap().unwrap();
        let held = leased(&bench, &order).await;
        bench.store.delete_domain(&actor(), Access::Platform, goes.id).await.unwrap();
        let ended = bench.store.order(order.id).await.unwrap();
        assert_eq!((ended.state, ended.key), (OrderState::Failed, None));
        let late = bench.store.update_order(held.id, held.fence, OrderPatch::default()).await;
        assert!(matches!(late, Err(StoreError::Fenced { .. })));
        let due = bench.store.due_domains(bench.now(), 9).await.unwrap();
        assert_eq!(due.iter().map(|due| due.id).collect::<Vec<_>>(), [stays.id]);
        bench.store.delete_domain(&actor(), Access::Platform, stays.id).await.unwrap();
    }
}

async fn one_certificate_takes_the_place_of_ours_for_each_of_its_names(bench: Bench) {
    let (app, ..) = shop(&bench).await;
    let apex = bench.certificate(&app, &[APEX]).await;
    let upload = NewCertificate { source: CertificateSource::Upload, ..bench.new_certificate(&app, &[WWW]) };
    let upload = bench.store.insert_certificate(&actor(), upload).await.unwrap();
    let apex_late = bench.new_certificate(&app, &[APEX]).id;
    let both = bench.certificate(&app, &[APEX, WWW]).await;
    assert_eq!(status(&bench, apex.id).await, CertificateStatus::Superseded);
    assert_eq!(status(&bench, upload.id).await, CertificateStatus::Active, "its owner chose it");
    for name in [APEX, WWW] {
        let serving = bench.store.active_certificate_for(&host(name)).await.unwrap();
        assert_eq!(serving.map(|serving| serving.id), Some(both.id));
    }
    let late = NewCertificate { id: apex_late, ..bench.new_certificate(&app, &[APEX]) };
    let late = bench.store.insert_certificate(&actor(), late).await.unwrap();
    assert_eq!(late.status, CertificateStatus::Superseded, "it was overtaken on its way");
    let alone = bench.certificate(&app, &[APEX]).await;
    assert_eq!(status(&bench, both.id).await, CertificateStatus::Active, "the other name is served with it");
    assert_eq!(status(&bench, alone.id).await, CertificateStatus::Active);
}

async fn names_that_part_leave_no_certificate_behind(bench: Bench) {
    let (app, ..) = shop(&bench).await;
    for [first, second] in [[WWW, APEX], [APEX, WWW]] {
        let both = bench.certificate(&app, &[APEX, WWW]).await;
        bench.certificate(&app, &[first]).await;
        assert_eq!(status(&bench, both.id).await, CertificateStatus::Active, "{second} is served with it");
        let serving = bench.store.active_certificate_for(&host(second)).await.unwrap();
        assert_eq!(serving.map(|serving| serving.id), Some(both.id));
        let alone = bench.certificate(&app, &[second]).await;
        assert_eq!(status(&bench, both.id).await, CertificateStatus::Superseded);
        let told = bench.store.changes(&NO_LINEAGE, Revision(0), 99).await.unwrap().changes;
        let edges = |id| told.iter().find(|change| change.id == ObjectId::Certificate(id)).cloned().unwrap();
        assert_eq!((edges(both.id).object, edges(alone.id).object.is_some()), (None, true));
        let due = bench.store.certificates_due(both.not_after, 9).await.unwrap();
        assert!(due.iter().all(|due| due.id != both.id), "it is not renewed");
    }
}

async fn the_name_that_is_left_on_a_shared_certificate_is_renewed_undisturbed(bench: Bench) {
    let (app, apex, www) = shop(&bench).await;
    let both = bench.certificate(&app, &[APEX, WWW]).await;
    bench.tick();
    let order = bench.store.begin_order_after(order_for(&app, &apex, &[APEX]), Some(both.id)).await;
    let order = order.unwrap().unwrap();
    bench.tick();
    bench.certificate(&app, &[WWW]).await;
    assert!(bench.store.begin_order(order_for(&app, &www, &[WWW])).await.unwrap().is_some());
    let held = leased(&bench, &order).await;
    let renewed = NewCertificate { id: order.certificate, ..bench.new_certificate(&app, &[APEX]) };
    let renewed = bench.store.insert_certificate(&actor(), renewed).await.unwrap();
    assert_eq!(renewed.status, CertificateStatus::Active);
    let done = OrderPatch { state: Some(OrderState::Done), ..OrderPatch::default() };
    bench.store.update_order(held.id, held.fence, done).await.unwrap();
    assert_eq!(status(&bench, both.id).await, CertificateStatus::Superseded);
}

async fn what_was_overtaken_for_each_of_its_names_is_not_served(bench: Bench) {
    let (app, ..) = shop(&bench).await;
    let late = bench.new_certificate(&app, &[APEX, WWW]);
    let apex = bench.certificate(&app, &[APEX]).await;
    let upload = NewCertificate { source: CertificateSource::Upload, ..bench.new_certificate(&app, &[WWW]) };
    let upload = bench.store.insert_certificate(&actor(), upload).await.unwrap();
    let late = bench.store.insert_certificate(&actor(), late).await.unwrap();
    assert_eq!(late.status, CertificateStatus::Superseded);
    for (name, id) in [(APEX, apex.id), (WWW, upload.id)] {
        let serving = bench.store.active_certificate_for(&host(name)).await.unwrap();
        assert_eq!(serving.map(|serving| serving.id), Some(id));
    }
}

async fn an_upload_for_both_names_stays_its_owners_choice(bench: Bench) {
    let (app, ..) = shop(&bench).await;
    let ours = bench.certificate(&app, &[APEX]).await;
    let upload = bench.new_certificate(&app, &[APEX, WWW]);
    let upload = NewCertificate { source: CertificateSource::Upload, ..upload };
    let upload = bench.store.insert_certificate(&actor(), upload).await.unwrap();
    assert_eq!(status(&bench, ours.id).await, CertificateStatus::Superseded);
    for name in [APEX, WWW] {
        bench.certificate(&app, &[name]).await;
    }
    assert_eq!(status(&bench, upload.id).await, CertificateStatus::Active);
}

async fn a_domain_that_goes_takes_the_last_use_of_a_shared_certificate(bench: Bench) {
    let (app, _, www) = shop(&bench).await;
    let both = bench.certificate(&app, &[APEX, WWW]).await;
    let alone = bench.certificate(&app, &[APEX]).await;
    bench.store.delete_domain(&actor(), Access::Platform, www.id).await.unwrap();
    assert_eq!(status(&bench, both.id).await, CertificateStatus::Superseded);
    assert_eq!(status(&bench, alone.id).await, CertificateStatus::Active);
}

async fn a_domain_that_goes_leaves_the_certificate_that_it_shared(bench: Bench) {
    let (app, _, www) = shop(&bench).await;
    let both = bench.certificate(&app, &[APEX, WWW]).await;
    bench.store.delete_domain(&actor(), Access::Platform, www.id).await.unwrap();
    let left = bench.store.certificate(Access::Platform, both.id).await.unwrap();
    assert_eq!((left.names, left.status), (names(&[APEX]), CertificateStatus::Active));
    assert_eq!(bench.store.active_certificate_for(&host(WWW)).await.unwrap(), None);
}

async fn a_name_that_moves_to_another_account_leaves_order_and_certificate(bench: Bench) {
    let (app, apex, www) = shop(&bench).await;
    let both = bench.certificate(&app, &[APEX, WWW]).await;
    let other = bench.app(bench.tenant("two").await.id, "other").await;
    let claim = bench.domain(other.id, WWW).await;
    settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    // Nobody made the claimant's certificate in its time, for which the name would wait.
    bench.clock.advance(HOLD + SLACK);
    let order = bench.store.begin_order(order_for(&app, &apex, &[APEX, WWW])).await.unwrap().unwrap();
    let apex = bench.check(&apex, proved()).await;
    assert!(apex.next_check_at > bench.now());
    let moved = settle(&bench, &claim, sight(&bench, Shown::Everywhere, None)).await;
    assert_eq!(moved.facts.claim, Claim::Proved);
    assert_eq!(bench.store.order(order.id).await.unwrap().state, OrderState::Failed);
    let left = bench.store.certificate(Access::Platform, both.id).await.unwrap();
    assert_eq!(left.names, names(&[APEX]));
    assert_eq!(bench.store.active_certificate_for(&www.host).await.unwrap(), None);
    let due = bench.store.due_domains(bench.now(), 9).await.unwrap();
    assert!(due.iter().any(|due| due.id == apex.id), "it has an order of its own at once");
}

async fn no_certificate_names_two_accounts(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let other = bench.app(bench.tenant("two").await.id, "other").await;
    let apex = bench.proved_domain(app.id, APEX).await;
    let www = bench.proved_domain(other.id, WWW).await;
    for domain in [&apex, &www] {
        assert_eq!(bench.store.companion_of(domain).await.unwrap(), None);
    }
    let kept = bench.store.insert_certificate(&actor(), bench.new_certificate(&app, &[APEX, WWW])).await;
    assert!(matches!(kept, Err(StoreError::NotFound { .. })), "{kept:?}");
}

async fn a_companion_is_the_same_apps_www_or_domain(bench: Bench) {
    let (app, apex, www) = shop(&bench).await;
    let deep = bench.proved_domain(app.id, "www.shop.example.com").await;
    let companion =
        async |domain: &DomainRecord| bench.store.companion_of(domain).await.unwrap().map(|other| other.id);
    assert_eq!(companion(&apex).await, Some(www.id));
    assert_eq!(companion(&www).await, Some(apex.id));
    assert_eq!(companion(&deep).await, None, "only of what was registered");
    bench.check(&www, Facts::unknown()).await;
    assert_eq!(companion(&apex).await, Some(www.id), "whether it points here is another matter");
}

on_both_engines! {
    an_order_for_two_names_is_the_only_one_of_either,
    a_name_whose_own_order_is_under_way_is_on_the_others_too_unless_it_fails,
    of_two_processes_that_begin_from_either_name_one_does,
    an_order_that_goes_on_alone_leaves_the_other_name_free,
    whoever_waited_for_a_turn_does_not_wait_again_because_of_the_other_name,
    a_domain_that_goes_ends_the_order_and_the_other_is_looked_at_at_once,
    one_certificate_takes_the_place_of_ours_for_each_of_its_names,
    names_that_part_leave_no_certificate_behind,
    the_name_that_is_left_on_a_shared_certificate_is_renewed_undisturbed,
    what_was_overtaken_for_each_of_its_names_is_not_served,
    an_upload_for_both_names_stays_its_owners_choice,
    a_domain_that_goes_takes_the_last_use_of_a_shared_certificate,
    a_domain_that_goes_leaves_the_certificate_that_it_shared,
    a_name_that_moves_to_another_account_leaves_order_and_certificate,
    no_certificate_names_two_accounts,
    a_companion_is_the_same_apps_www_or_domain,
}
