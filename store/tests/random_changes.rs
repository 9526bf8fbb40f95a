//! Whatever was changed in whatever order: who follows from any revision ends where who reads all anew does.

use std::collections::{BTreeMap, BTreeSet};

use model::acme::{HttpChallenge, Token};
use model::change::{Batch, Lineage, Object, ObjectId, Revision};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{Access, AppPatch, AuditVerdict};

use crate::bench::{Bench, DAY, HOUR, NO_LINEAGE, actor, host, live, new_app, proved};

#[derive(Debug, Clone, Copy)]
enum Step {
    Tenant(u8),
    Suspend(u8),
    DeleteTenant(u8),
    App(u8, u8),
    Update(u8),
    DeleteApp(u8),
    Domain(u8, u8),
    Prove(u8),
    Live(u8),
    DeleteDomain(u8),
    Certificate(u8, u8),
    Challenge(u8),
    Drop(u8),
    Days(u8),
    Expire,
    Purge,
}

fn any_step() -> impl Strategy<Value = Step> {
    let few = 0..4_u8;
    prop_oneof![
        few.clone().prop_map(Step::Tenant),
        few.clone().prop_map(Step::Suspend),
        few.clone().prop_map(Step::DeleteTenant),
        (few.clone(), few.clone()).prop_map(|(tenant, app)| Step::App(tenant, app)),
        few.clone().prop_map(Step::Update),
        few.clone().prop_map(Step::DeleteApp),
        (few.clone(), few.clone()).prop_map(|(app, domain)| Step::Domain(app, domain)),
        few.clone().prop_map(Step::Prove),
        few.clone().prop_map(Step::Live),
        few.clone().prop_map(Step::DeleteDomain),
        (few.clone(), few.clone()).prop_map(|(app, name)| Step::Certificate(app, name)),
        few.clone().prop_map(Step::Challenge),
        few.clone().prop_map(Step::Drop),
        (1..60_u8).prop_map(Step::Days),
        Just(Step::Expire),
        Just(Step::Purge),
    ]
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    // A start that gives the random steps something to work on.
    let start = [Step::Tenant(0), Step::Tenant(1), Step::App(0, 0), Step::App(1, 1), Step::Domain(0, 0)];
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
        if !batch.more {
            if let Some(known) = self.known.take() {
                self.objects.retain(|id, _| known.contains(id));
            }
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
    let (store, by, all) = (&bench.store, &actor(), Access::Platform);
    let page = store::Page::default();
    let tenants = store.tenants(all, &page).await.unwrap().items;
    let mut apps = Vec::new();
    for tenant in &tenants {
        apps.extend(store.apps(all, tenant.id, &page).await.unwrap().items);
    }
    let tenant = |number: u8| tenants.get(usize::from(number)).map(|tenant| tenant.id);
    let app = |number: u8| apps.get(usize::from(number));
    let domain =
        async |number: u8| store.domain_by_host(&host(&format!("d{number}.example.com"))).await.unwrap();
    bench.tick();
    match step {
        Step::Tenant(number) => {
            let slug = model::tenant::Slug::parse(&format!("t{number}")).unwrap();
            store.create_tenant(by, store::NewTenant { name: "T".to_owned(), slug }).await.ok();
        }
        Step::Suspend(number) => {
            if let Some(id) = tenant(number) {
                store.suspend_tenant(by, id, "unpaid").await.unwrap();
            }
        }
        Step::DeleteTenant(number) => {
            if let Some(id) = tenant(number) {
                store.delete_tenant(by, all, id).await.unwrap();
            }
        }
        Step::App(number, name) => {
            if let Some(id) = tenant(number) {
                store.create_app(by, all, id, new_app(&format!("app{name}"))).await.ok();
            }
        }
        Step::Update(number) => {
            if let Some(app) = app(number) {
                let patch = AppPatch { backends: Some(vec![]), ..AppPatch::default() };
                store.update_app(by, (all, app.id), patch, None).await.unwrap();
            }
        }
        Step::DeleteApp(number) => {
            if let Some(app) = app(number) {
                store.delete_app(by, all, app.id).await.unwrap();
            }
        }
        Step::Domain(number, name) => {
            if let Some(app) = app(number) {
                store.add_domain(by, all, app.id, host(&format!("d{name}.example.com"))).await.ok();
            }
        }
        Step::Prove(number) => {
            if let Some(domain) = domain(number).await {
                bench.check(&domain, proved()).await;
            }
        }
        Step::Live(number) => {
            if let Some(domain) = domain(number).await {
                bench.check(&domain, live(bench.now().plus(DAY))).await;
            }
        }
        Step::DeleteDomain(number) => {
            if let Some(domain) = domain(number).await {
                store.delete_domain(by, all, domain.id).await.unwrap();
            }
        }
        Step::Certificate(number, name) => {
            if let Some(app) = app(number) {
                bench.certificate(app, &[&format!("d{name}.example.com")]).await;
            }
        }
        Step::Challenge(number) => {
            let challenge = HttpChallenge {
                token: token(number),
                host: host("d0.example.com"),
                key_authorization: bench.now().to_string(),
                expires_at: bench.now().plus(HOUR),
            };
            store.put_challenge(&challenge).await.unwrap();
        }
        Step::Drop(number) => store.drop_challenge(&token(number)).await.unwrap(),
        Step::Days(days) => bench.clock.advance(DAY * u32::from(days)),
        Step::Expire => drop(store.expire_certificates().await.unwrap()),
        Step::Purge => drop(store.purge_tombstones(bench.now().minus(DAY)).await.unwrap()),
    }
}

fn token(number: u8) -> Token {
    Token::parse(&format!("token{number}")).unwrap()
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
    carry_out(bench, Step::Challenge(9)).await;
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
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(&any_steps(), |steps| {
        runtime.block_on(async {
            match make().await {
                Some(bench) => holds(&bench, &steps).await,
                None => Ok(()),
            }
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
