//! Client certificates of a domain: one change, one transaction, and the edges hear of it.

use model::change::{Object, ObjectId};
use model::client_ca::ClientCa;
use store::Access;

use crate::bench::{Bench, NO_LINEAGE, actor, proved};
use crate::on_both_engines;

fn ca() -> ClientCa {
    ClientCa::stored("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")
}

async fn an_authority_reaches_the_edges_with_its_site(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.domain(app.id, "shop.example.com").await;
    let domain = bench.check(&domain, proved()).await;
    let (head, audited) = (bench.head().await, bench.audited().await);
    let set = bench.store.set_client_ca(&actor(), Access::Platform, domain.id, Some(ca())).await.unwrap();
    assert_eq!(set.client_ca, Some(ca()));
    assert_eq!(bench.store.domain(Access::Platform, domain.id).await.unwrap().client_ca, Some(ca()));
    assert_eq!(bench.audited().await, audited + 1);
    let lineage = bench.store.changes(&NO_LINEAGE, head, 1).await.unwrap().lineage;
    let batch = bench.store.changes(&lineage, head, 10).await.unwrap();
    let [change] = batch.changes.as_slice() else { panic!("{batch:?}") };
    assert_eq!(change.id, ObjectId::Site(app.id));
    let Some(Object::Site(site)) = &change.object else { panic!("{change:?}") };
    let of = |name: &str| site.hosts.iter().find(|host| host.host.to_string() == name).unwrap();
    assert_eq!(of("shop.example.com").client_ca, Some(ca()));
    assert_eq!(of("shop.apps.test").client_ca, None);
    let head = bench.head().await;
    bench.store.set_client_ca(&actor(), Access::Platform, domain.id, Some(ca())).await.unwrap();
    assert_eq!(bench.head().await, head, "it is so already");
    bench.store.set_client_ca(&actor(), Access::Platform, domain.id, None).await.unwrap();
    assert_eq!(bench.store.domain(Access::Platform, domain.id).await.unwrap().client_ca, None);
}

async fn nobody_closes_a_domain_of_somebody_else(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    let domain = bench.domain(app.id, "shop.example.com").await;
    let other = bench.tenant("two").await.id;
    let refused = bench.store.set_client_ca(&actor(), Access::Tenant(other), domain.id, Some(ca())).await;
    assert!(matches!(refused, Err(store::StoreError::NotFound { .. })), "{refused:?}");
}

on_both_engines! {
    an_authority_reaches_the_edges_with_its_site,
    nobody_closes_a_domain_of_somebody_else,
}
