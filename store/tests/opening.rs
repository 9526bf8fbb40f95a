//! What cannot be opened is refused with one sentence that names it.

use std::sync::Arc;

use model::change::Revision;
use model::clock::SystemClock;
use store::{Store, StoreError};
use tempfile::tempdir;

use crate::bench::{Bench, NO_LINEAGE, options};
use crate::on_both_engines;

const ZONES: [&str; 2] = ["apps.test", "alt.test"];

async fn refused(url: &str) -> String {
    let error = Store::open(options(url, &ZONES), Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unopened { .. }), "{error:?}");
    error.to_string()
}

async fn a_store_is_created_once_and_then_found(bench: Bench) {
    assert!(bench.store.was_created());
    let tenant = bench.tenant("one").await;
    let again = bench.reopened(&ZONES).await;
    assert!(!again.was_created());
    assert_eq!(again.tenant(store::Access::Platform, tenant.id).await.unwrap(), tenant);
    let lineage =
        |store: Store| async move { store.changes(&NO_LINEAGE, Revision(0), 1).await.unwrap().lineage };
    assert_eq!(lineage(bench.store.clone()).await, lineage(again.clone()).await);
    assert_eq!(*again.watch().borrow(), bench.head().await);
}

async fn a_database_of_a_newer_program_is_left_alone(bench: Bench) {
    bench.execute("INSERT INTO stoa_schema (version) VALUES (99)").await;
    let error =
        Store::open(options(&bench.url, &ZONES), Arc::new(SystemClock)).await.unwrap_err().to_string();
    assert!(
        error.contains("it has schema 99, this program knows up to 16: run the newer program"),
        "{error}"
    );
}

async fn a_closed_store_answers_nothing(bench: Bench) {
    bench.store.close().await;
    let error = bench.store.head().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && error.is_retryable(), "{error:?}");
}

async fn a_damaged_row_is_named_not_guessed(bench: Bench) {
    let app = bench.app(bench.tenant("one").await.id, "shop").await;
    bench.execute("UPDATE apps SET backends = '[{]'").await;
    let error = bench.store.app(store::Access::Platform, app.id).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { what } if what.contains("backends")), "{error:?}");
}

async fn two_that_create_the_same_store_at_once_agree(bench: Bench) {
    bench.execute("DROP TABLE log; DROP TABLE stoa_schema").await;
    for table in [
        "feed",
        "audit",
        "contests",
        "notices",
        "domains",
        "connections",
        "consents",
        "sealing",
        "sealing_holders",
        "released_hosts",
        "certificate_names",
        "certificates",
        "apps",
        "orders",
        "challenges",
        "acme_accounts",
        "local_ca",
        "edge_keys",
        "keys",
        "idempotency",
        "usage_watermarks",
        "usage_sums",
        "edges",
        "tenants",
        "ticket_keys",
        "ca_budget",
        "ca_circuits",
        "texts",
    ] {
        bench.execute(format!("DROP TABLE {table}")).await;
    }
    let (one, two) = tokio::join!(bench.reopened(&ZONES), bench.reopened(&ZONES));
    assert!(one.was_created() != two.was_created());
}

on_both_engines! {
    a_store_is_created_once_and_then_found,
    a_database_of_a_newer_program_is_left_alone,
    a_closed_store_answers_nothing,
    a_damaged_row_is_named_not_guessed,
    two_that_create_the_same_store_at_once_agree,
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_as_it_is() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    let text = "these are notes, and no database at all\n".repeat(40);
    std::fs::write(&path, &text).unwrap();
    let error = refused(&format!("sqlite:{}", path.display())).await;
    assert!(error.contains("notes.txt") && error.contains("is no database or is damaged"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_damaged_database_is_named() {
    let bench = Bench::sqlite().await;
    bench.tenant("one").await;
    bench.store.close().await;
    bench.pool.close().await;
    let path = bench.url.strip_prefix("sqlite:").unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    bytes[100..4096].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
    let error = refused(&bench.url).await;
    assert!(error.contains("stoa.db") && error.contains("restore a backup"), "{error}");
}

#[tokio::test]
async fn a_path_that_cannot_be_is_named() {
    let dir = tempdir().unwrap();
    let error = refused(&format!("sqlite:{}/missing/stoa.db", dir.path().display())).await;
    assert!(error.contains("missing/stoa.db") && error.contains("folder"), "{error}");
    let error = refused(&format!("sqlite:{}", dir.path().display())).await;
    assert!(error.contains(&dir.path().display().to_string()), "{error}");
}

#[tokio::test]
async fn a_new_file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempdir().unwrap();
    let path = dir.path().join("a b?.db".replace('?', "#%"));
    let store = Store::open(options(&format!("sqlite:{}", path.display()), &ZONES), Arc::new(SystemClock))
        .await
        .unwrap();
    assert!(store.was_created());
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_named_without_its_password() {
    let error = refused("postgres://stoa:hunter2@127.0.0.1:1/stoa").await;
    assert!(error.contains("postgres://stoa:***@127.0.0.1:1/stoa"), "{error}");
    assert!(error.contains("check that the database is up") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_database_that_is_missing_is_named() {
    let Some(bench) = Bench::postgres().await else { return };
    let url = format!("{}_missing", bench.url);
    assert!(refused(&url).await.contains("create the database first"));
}

#[tokio::test]
async fn a_marketplace_without_a_zone_is_refused() {
    let dir = tempdir().unwrap();
    let url = format!("sqlite:{}/stoa.db", dir.path().display());
    let error = Store::open(options(&url, &[]), Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { field: "zones", .. }), "{error}");
}
