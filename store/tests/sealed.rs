//! Everything sealed comes under another key: whole, once, whatever happens meanwhile.

use std::collections::BTreeMap;

use model::certificate::Certificate;
use model::change::Revision;
use model::domain::connection::{Connector, Door, Step, credential_context};
use model::id::CertificateId;
use model::seal::{KeyRing, Sealed, SealingKey};
use model::ticket::TicketKey;
use sqlx::{AssertSqlSafe, Row as _};
use store::{
    Access, AccountRecord, CertificateRecord, LocalCa, NewOrder, OrderPatch, Page, Store, StoreError,
    Urgency, Wish,
};

use crate::bench::{Bench, HOUR, NO_LINEAGE, actor, host};
use crate::on_both_engines;

/// More than two pages of 500.
const CERTIFICATES: usize = 1_100;
const ACME: &str = "https://ca.test/dir";

struct Scene {
    bench: Bench,
    keys: KeyRing,
    old: SealingKey,
    new: SealingKey,
}

impl Scene {
    /// A store with something in every sealed column, all of it under the old key; the ring seals with the new one.
    async fn filled(bench: Bench) -> Self {
        let (old, new) = (SealingKey::generate(), SealingKey::generate());
        let keys = KeyRing::new([old.clone(), new.clone()]).unwrap();
        let store = &bench.store;
        let sealed = |context: &str| keys.seal(context, context.as_bytes()).unwrap();
        store
            .put_local_ca(&LocalCa { cert_pem: "pem".into(), key: sealed(LocalCa::KEY_CONTEXT) })
            .await
            .unwrap();
        let account = AccountRecord {
            directory: ACME.to_owned(),
            account_url: Some("https://ca.test/1".to_owned()),
            key: sealed(&AccountRecord::key_context(ACME)),
            next_key: None,
        };
        store.begin_acme_account(account).await.unwrap();
        store.request_key_change(&actor(), ACME).await.unwrap();
        store.begin_key_change(ACME, &sealed(&AccountRecord::key_context(ACME))).await.unwrap();
        store.put_ticket_key(&actor(), &TicketKey::generate(bench.now(), &keys).unwrap()).await.unwrap();
        let app = bench.app(bench.tenant("one").await.id, "shop").await;
        let order = NewOrder {
            host: host("shop.apps.test").into(),
            names: vec!["shop.apps.test".parse().unwrap()],
            tenant: Some(app.tenant),
            app: Some(app.id),
            domain: None,
            urgency: Urgency::Waiting,
        };
        let order = store.begin_order(order).await.unwrap().unwrap();
        let order = store.lease_order(order.id, "me", HOUR).await.unwrap();
        let key = Some(Some(sealed(&Certificate::key_context(order.certificate))));
        store.update_order(order.id, order.fence, OrderPatch { key, ..OrderPatch::default() }).await.unwrap();
        bench.certificate(&app, &["shop.example"]).await;
        let domain = bench.store.domain_by_host(&host("shop.example")).await.unwrap().unwrap().id;
        let opening = (Door::to(Connector::Cloudflare), sealed(&credential_context(domain)));
        let wish = Wish { step: Step::Preview, opening: Some(opening), keep: true };
        bench.store.wish_connection(&actor(), Access::Platform, domain, wish).await.unwrap();
        let scene = Self { bench, keys, old, new };
        scene.many_certificates().await;
        scene.keys.seal_with(&scene.new.fingerprint());
        scene
    }

    /// Copies of one row with ids of their own, each with its key sealed in its context.
    async fn many_certificates(&self) {
        self.bench.execute("DELETE FROM certificate_names").await;
        let mut rows = Vec::new();
        for _ in 0..CERTIFICATES {
            self.bench.tick();
            let id = CertificateId::generate(self.bench.now());
            rows.push(format!("SELECT '{id}' AS id, '{}' AS sealed", self.sealed_by(&self.old, id)));
        }
        let select = "SELECT fresh.id, tenant_id, app_id, source, issuer, serial, names, chain_pem, sealed, not_before,
            not_after, renew_at, status, created_at FROM certificates";
        let columns =
            "id, tenant_id, app_id, source, issuer, serial, names, chain_pem, key_sealed, not_before,
            not_after, renew_at, status, created_at";
        let first: String = self.bench.text("SELECT id FROM certificates").await;
        for chunk in rows.chunks(100) {
            let fresh = chunk.join(" UNION ALL ");
            let sql = format!(
                "INSERT INTO certificates ({columns}) {select} JOIN ({fresh}) AS fresh ON certificates.id = '{first}'"
            );
            self.bench.execute(sql).await;
        }
        self.bench.execute(format!("DELETE FROM certificates WHERE id = '{first}'")).await;
    }

    fn sealed_by(&self, key: &SealingKey, id: CertificateId) -> Sealed {
        key.seal(&Certificate::key_context(id), id.to_string().as_bytes()).unwrap()
    }

    async fn counts(&self) -> BTreeMap<String, u64> {
        self.bench.store.sealed_counts().await.unwrap()
    }

    async fn under(&self, key: &SealingKey) -> u64 {
        self.counts().await.remove(&key.fingerprint()).unwrap_or(0)
    }

    async fn certificates(&self) -> Vec<CertificateRecord> {
        let (mut all, mut page) = (Vec::new(), Page::first(Page::MAX_LIMIT));
        loop {
            let found =
                self.bench.store.certificates(Access::Platform, &Default::default(), &page).await.unwrap();
            all.extend(found.items);
            let Some(next) = found.next else { return all };
            page = Page { cursor: Some(next), limit: Page::MAX_LIMIT };
        }
    }

    async fn put_back(&self, id: CertificateId, sealed: &Sealed) {
        self.bench
            .execute(format!("UPDATE certificates SET key_sealed = '{sealed}' WHERE id = '{id}'"))
            .await;
    }

    async fn reseal(&self) -> store::Resealed {
        self.bench.store.reseal(&self.keys, &self.old.fingerprint(), |_| {}).await.unwrap()
    }
}

async fn every_secret_opens_with_the_new_key_alone_and_edges_are_told_nothing(bench: Bench) {
    let scene = Scene::filled(bench).await;
    let (revision, audited) = (scene.bench.head().await, scene.bench.audited().await);
    let all = scene.under(&scene.old).await;
    assert_eq!(
        all,
        CERTIFICATES as u64 + 6,
        "certificates, authority, account twice, tickets, order, connection"
    );
    let outcome = scene.reseal().await;
    assert_eq!((outcome.resealed, outcome.damaged), (all, 0));
    assert_eq!(scene.counts().await, BTreeMap::from([(scene.new.fingerprint(), all)]));
    assert_eq!((scene.bench.head().await, scene.bench.audited().await), (revision, audited));

    let store = &scene.bench.store;
    for held in scene.certificates().await {
        let context = Certificate::key_context(held.id);
        assert_eq!(scene.new.open(&context, &held.key).unwrap().as_slice(), held.id.to_string().as_bytes());
        assert!(scene.new.open("certificate-key/another", &held.key).is_err(), "the context is still bound");
    }
    let account = store.acme_account(ACME).await.unwrap().unwrap();
    for key in [account.key, account.next_key.unwrap()] {
        assert!(scene.new.open(&AccountRecord::key_context(ACME), &key).is_ok());
    }
    let domain = store.domain_by_host(&host("shop.example")).await.unwrap().unwrap().id;
    let credential = store.connection(Access::Platform, domain).await.unwrap().unwrap().credential.unwrap();
    assert!(scene.new.open(&credential_context(domain), &credential).is_ok());
    assert!(scene.new.open(LocalCa::KEY_CONTEXT, &store.local_ca().await.unwrap().unwrap().key).is_ok());
    let batch = store.changes(&NO_LINEAGE, Revision(0), 100).await.unwrap();
    let opens = |mut object: model::change::Object| {
        object.secret().map(|(context, sealed)| scene.new.open(&context, sealed).is_ok())
    };
    let secrets: Vec<bool> = batch.changes.into_iter().filter_map(|it| opens(it.object?)).collect();
    assert!(!secrets.is_empty() && secrets.iter().all(|opens| *opens), "{secrets:?}");
}

async fn broken_off_in_the_middle_it_goes_on_where_it_was(bench: Bench) {
    let scene = Scene::filled(bench).await;
    let all = scene.under(&scene.old).await;
    // The process is gone after its first whole page of certificates.
    let (far, mut reached) = tokio::sync::oneshot::channel();
    let (store, keys, old) = (scene.bench.store.clone(), scene.keys.clone(), scene.old.fingerprint());
    let mut far = Some(far);
    let task = tokio::spawn(async move {
        let cut = |done| {
            if done > 500 {
                far.take().map(|far| far.send(()));
            }
        };
        store.reseal(&keys, &old, cut).await
    });
    (&mut reached).await.unwrap();
    task.abort();
    let _cut = task.await;
    let (left, done) = (scene.under(&scene.old).await, scene.under(&scene.new).await);
    assert_eq!(left + done, all, "no value is lost");
    assert!(done >= 500);
    let again = scene.bench.reopened(&["apps.test", "alt.test"]).await;
    let outcome = again.reseal(&scene.keys, &scene.old.fingerprint(), |_| {}).await.unwrap();
    assert_eq!((outcome.resealed, scene.under(&scene.old).await), (left, 0));
}

/// A process that has not heard yet may write with the old key while everything else is sealed anew.
async fn what_is_written_meanwhile_with_the_old_key_is_caught_and_what_is_newer_is_not_taken_back(
    bench: Bench,
) {
    let scene = Scene::filled(bench).await;
    let ids: Vec<CertificateId> = scene.certificates().await.iter().map(|held| held.id).collect();
    let (first, last) = (ids[0], ids[ids.len() - 1]);
    let (late, newer) = (scene.sealed_by(&scene.old, first), scene.sealed_by(&scene.new, last));
    let (pool, mut done) = (scene.bench.pool.clone(), false);
    let (sender, mut writes) = tokio::sync::mpsc::unbounded_channel();
    let writer = tokio::spawn(async move {
        while let Some(sql) = writes.recv().await {
            let sql: String = sql;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        }
    });
    let meddle = |sealed| {
        if sealed > 500 && !std::mem::replace(&mut done, true) {
            for (id, key) in [(first, &late), (last, &newer)] {
                let sql = format!("UPDATE certificates SET key_sealed = '{key}' WHERE id = '{id}'");
                sender.send(sql).unwrap();
            }
        }
    };
    scene.bench.store.reseal(&scene.keys, &scene.old.fingerprint(), meddle).await.unwrap();
    drop(sender);
    writer.await.unwrap();
    // The last word may have come after the last look: then the next call finds it.
    scene.reseal().await;
    assert_eq!(scene.under(&scene.old).await, 0);
    let store = &scene.bench.store;
    let held = |id| async move { store.certificate(Access::Platform, id).await.unwrap().key };
    assert!(scene.new.open(&Certificate::key_context(first), &held(first).await).is_ok());
    assert_eq!(held(last).await, newer, "what was newer stays");
}

async fn what_does_not_open_is_named_and_left_and_stops_nothing_else(bench: Bench) {
    let scene = Scene::filled(bench).await;
    let ids: Vec<CertificateId> = scene.certificates().await.iter().map(|held| held.id).collect();
    // The sealed key of one row in another: the context does not fit.
    let foreign = scene.sealed_by(&scene.old, ids[1]);
    scene.put_back(ids[0], &foreign).await;
    let outcome = scene.reseal().await;
    assert_eq!((outcome.damaged, scene.under(&scene.old).await), (1, 1));
    assert_eq!(outcome.places, [format!("certificates.key_sealed {}", ids[0])]);
    let held = scene.bench.store.certificate(Access::Platform, ids[0]).await.unwrap();
    assert_eq!(held.key, foreign);
}

async fn the_key_that_seals_is_not_replaced_by_itself(bench: Bench) {
    let keys = KeyRing::from(SealingKey::generate());
    for old in [keys.seals(), SealingKey::generate().fingerprint()] {
        let error = bench.store.reseal(&keys, &old, |_| {}).await.unwrap_err();
        assert!(matches!(&error, StoreError::Invalid { reason, .. } if reason.contains(&old)), "{error:?}");
    }
}

async fn processes_that_are_silent_count_as_gone(bench: Bench) {
    let store: &Store = &bench.store;
    store.note_holder("a/1", &["k1".to_owned()], "k1").await.unwrap();
    bench.clock.advance(store::HOLDER_LIFE / 2);
    store.note_holder("b/2", &["k1".to_owned(), "k2".to_owned()], "k2").await.unwrap();
    let names = |holders: Vec<store::Holder>| holders.into_iter().map(|it| it.process).collect::<Vec<_>>();
    assert_eq!(names(store.holders().await.unwrap()), ["a/1", "b/2"]);
    bench.clock.advance(store::HOLDER_LIFE / 2);
    assert_eq!(names(store.holders().await.unwrap()), ["b/2"]);
    store.drop_holder("b/2").await.unwrap();
    assert_eq!(store.holders().await.unwrap(), []);
}

/// Whoever adds a sealed column must add it to the list too, or its values would stay under the old key.
#[tokio::test]
async fn every_sealed_column_is_on_the_list() {
    let bench = Bench::sqlite().await;
    let rows = sqlx::query(
        "SELECT tables.name || '.' || columns.name AS place FROM sqlite_master AS tables,
         pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table' AND columns.name LIKE '%sealed%'",
    )
    .fetch_all(&bench.pool)
    .await
    .unwrap();
    let mut found: Vec<String> = rows.iter().map(|row| row.get("place")).collect();
    let mut listed = Store::sealed_columns();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
}

on_both_engines!(
    every_secret_opens_with_the_new_key_alone_and_edges_are_told_nothing,
    broken_off_in_the_middle_it_goes_on_where_it_was,
    what_is_written_meanwhile_with_the_old_key_is_caught_and_what_is_newer_is_not_taken_back,
    what_does_not_open_is_named_and_left_and_stops_nothing_else,
    the_key_that_seals_is_not_replaced_by_itself,
    processes_that_are_silent_count_as_gone,
);
