//! Whatever was changed in whatever order: who follows from any revision ends where who reads all anew does.

use std::collections::{BTreeMap, BTreeSet};

use model::acme::{Challenge, ChallengeKind, Token};
use model::change::{Batch, Lineage, Object, ObjectId, Revision};
use model::id::TenantId;
use model::tenant::Slug;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{Access, App, AppPatch, AuditVerdict, DomainRecord, NewTenant, Page, Store};

use crate::bench::{Bench, DAY, HOUR, NO_LINEAGE, actor, host, live, new_app, proved};

#[derive(Debug, Clone, Copy)]
enum Step {
    NewTenant(u8),
    Tenant(u8, OfTenant),
    App(u8, OfApp),
    Domain(u8, OfDomain),
    Put(u8),
    Drop(u8),
    Days(u8),
    Expire,
    Purge,
}

#[derive(Debug, Clone, Copy)]
enum OfTenant {
    Suspend,
    Delete,
    App(u8),
}

#[derive(Debug, Clone, Copy)]
enum OfApp {
    Update,
    Delete,
    Domain(u8),
    Certificate(u8),
}

#[derive(Debug, Clone, Copy)]
enum OfDomain {
    Prove,
    Live,
    Delete,
}

fn any_step() -> impl Strategy<Value = Step> {
    let few = 0..4_u8;
    let of_tenant =
        prop_oneof![Just(OfTenant::Suspend), Just(OfTenant::Delete), few.clone().prop_map(OfTenant::App)];
    let of_app = prop_oneof![
        Just(OfApp::Update),
        Just(OfApp::Delete),
        few.clone().prop_map(OfApp::Domain),
        few.clone().prop_map(OfApp::Certificate),
    ];
    let of_domain = prop_oneof![Just(OfDomain::Prove), Just(OfDomain::Live), Just(OfDomain::Delete)];
    prop_oneof![
        1 => few.clone().prop_map(Step::NewTenant),
        3 => (few.clone(), of_tenant).prop_map(|(at, step)| Step::Tenant(at, step)),
        4 => (few.clone(), of_app).prop_map(|(at, step)| Step::App(at, step)),
        3 => (few.clone(), of_domain).prop_map(|(at, step)| Step::Domain(at, step)),
        1 => few.clone().prop_map(Step::Put),
        1 => few.prop_map(Step::Drop),
        1 => (1..60_u8).prop_map(Step::Days),
        1 => Just(Step::Expire),
        1 => Just(Step::Purge),
    ]
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    // A start that gives the random steps something to work on.
    let start = [
        Step::NewTenant(0),
        Step::NewTenant(1),
        Step::Tenant(0, OfTenant::App(0)),
        Step::Tenant(1, OfTenant::App(1)),
        Step::App(0, OfApp::Domain(0)),
    ];
    proptest::collection::vec(any_step(), 1..25).prop_map(move |rest| start.into_iter().chain(rest).collect())
}

/// What an edge holds.
#[derive(Debug, Clone, Default)]
struct Replica {
    lineage: Lineage,
    at: Revision,
    objects: BTreeMap<ObjectId, Object>,
    known: Option<BTreeSet<ObjectId>>,
}

impl Replica {
    fn take(&mut self, batch: Batch) {
        if batch.reset {
            self.known = Some(BTreeSet::new());
        }
        for change in batch.changes {
            if let Some(known) = &mut self.known {
                known.insert(change.id.clone());
            }
            match change.object {
                Some(object) => drop(self.objects.insert(change.id, object)),
                None => drop(self.objects.remove(&change.id)),
            }
        }
        if !batch.more
            && let Some(known) = self.known.take()
        {
            self.objects.retain(|id, _| known.contains(id));
        }
        (self.lineage, self.at) = (batch.lineage, batch.next);
    }

    async fn follow(&mut self, bench: &Bench) {
        loop {
            let batch = bench.store.changes(&self.lineage, self.at, 3).await.unwrap();
            let more = batch.more;
            self.take(batch);
            if !more {
                return;
            }
        }
    }
}

/// Carries a step out; what cannot be done now changes nothing.
async fn carry_out(bench: &Bench, step: Step) {
    let store = &bench.store;
    bench.tick();
    match step {
        Step::NewTenant(number) => {
            let slug = Slug::parse(&format!("t{number}")).unwrap();
            store.create_tenant(&actor(), NewTenant { name: "T".to_owned(), slug }).await.ok();
        }
        Step::Tenant(number, step) => {
            let tenants = store.tenants(Access::Platform, &Page::default()).await.unwrap().items;
            if let Some(tenant) = tenants.get(usize::from(number)) {
                change_tenant(store, tenant.id, step).await;
            }
        }
        Step::App(number, step) => {
            if let Some(app) = apps(store).await.get(usize::from(number)) {
                change_app(bench, app, step).await;
            }
        }
        Step::Domain(number, step) => {
            let host = host(&format!("d{number}.example.com"));
            if let Some(domain) = store.domain_by_host(&host).await.unwrap() {
                change_domain(bench, &domain, step).await;
            }
        }
        Step::Put(number) => store.put_challenge(&challenge(bench, number)).await.unwrap(),
        Step::Drop(number) => store.drop_challenge(&challenge(bench, number).token).await.unwrap(),
        Step::Days(days) => bench.clock.advance(DAY * u32::from(days)),
        Step::Expire => drop(store.expire_certificates().await.unwrap()),
        Step::Purge => drop(store.purge_tombstones(bench.now().minus(DAY)).await.unwrap()),
    }
}

async fn apps(store: &Store) -> Vec<App> {
    let mut apps = Vec::new();
    for tenant in store.tenants(Access::Platform, &Page::default()).await.unwrap().items {
        apps.extend(store.apps(Access::Platform, tenant.id, &Page::default()).await.unwrap().items);
    }
    apps
}

async fn change_tenant(store: &Store, id: TenantId, step: OfTenant) {
    let (by, all) = (&actor(), Access::Platform);
    match step {
        OfTenant::Suspend => drop(store.suspend_tenant(by, id, "unpaid").await.unwrap()),
        OfTenant::Delete => store.delete_tenant(by, all, id, None).await.unwrap(),
        OfTenant::App(name) => drop(store.create_app(by, all, id, new_app(&format!("app{name}"))).await),
    }
}

async fn change_app(bench: &Bench, app: &App, step: OfApp) {
    let (store, by, all) = (&bench.store, &actor(), Access::Platform);
    match step {
        OfApp::Update => {
            let patch = AppPatch { backends: Some(vec![]), ..AppPatch::default() };
            store.update_app(by, (all, app.id), patch, None).await.unwrap();
        }
        OfApp::Delete => store.delete_app(by, all, app.id, None).await.unwrap(),
        OfApp::Domain(name) => {
            drop(store.add_domain(by, all, app.id, host(&format!("d{name}.example.com"))).await);
        }
        OfApp::Certificate(name) => {
            let new = bench.new_certificate(app, &[&format!("d{name}.example.com")]);
            drop(store.insert_certificate(by, new).await);
        }
    }
}

async fn change_domain(bench: &Bench, domain: &DomainRecord, step: OfDomain) {
    match step {
        OfDomain::Prove => drop(bench.check(domain, proved()).await),
        OfDomain::Live => drop(bench.check(domain, live(bench.now().plus(DAY))).await),
        OfDomain::Delete => {
            bench.store.delete_domain(&actor(), Access::Platform, domain.id).await.unwrap();
        }
    }
}

fn challenge(bench: &Bench, number: u8) -> Challenge {
    Challenge {
        kind: ChallengeKind::Http01,
        token: Token::parse(&format!("token{number}")).unwrap(),
        host: host("d0.example.com"),
        key_authorization: bench.now().to_string(),
        expires_at: bench.now().plus(HOUR),
    }
}

async fn holds(bench: &Bench, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut replicas = vec![Replica::default()];
    for step in steps {
        carry_out(bench, *step).await;
        let mut latest = replicas[replicas.len() - 1].clone();
        latest.follow(bench).await;
        replicas.push(latest);
    }
    // What ends by the clock alone is told by the next sweep; edges drop it by themselves until then.
    bench.store.expire_certificates().await.unwrap();
    carry_out(bench, Step::Put(9)).await;
    let mut anew = Replica { lineage: NO_LINEAGE, ..Replica::default() };
    anew.follow(bench).await;
    for mut replica in replicas {
        let from = replica.at;
        replica.follow(bench).await;
        prop_assert_eq!(&replica.objects, &anew.objects, "from revision {}", from);
    }
    let verdict = bench.store.verify_audit().await.unwrap();
    prop_assert!(matches!(verdict, AuditVerdict::Intact { .. }), "{:?}", verdict);
    Ok(())
}

fn run(cases: u32, make: impl AsyncFn() -> Option<Bench>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // One bench to the end: its server serves all cases.
    let Some(_first) = runtime.block_on(make()) else { return };
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&any_steps(), |steps| {
        runtime.block_on(async {
            let bench = make().await.ok_or_else(|| TestCaseError::fail("the server is gone"))?;
            holds(&bench, &steps).await
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn on_sqlite_following_from_any_revision_ends_where_reading_anew_does() {
    run(20, async || Some(Bench::sqlite().await));
}

#[test]
fn on_postgres_following_from_any_revision_ends_where_reading_anew_does() {
    run(8, Bench::postgres);
}
