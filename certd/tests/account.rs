//! Our account with an authority.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use model::Clock as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::authority::{Scene, standing};

/// Hears what is said on this thread that somebody should look into.
#[derive(Debug, Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

/// What one of them says.
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut said = Said(String::new());
        event.record(&mut said);
        self.0.lock().unwrap().push(said.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn an_account_that_the_authority_does_not_know_is_made_again_and_that_is_said() {
    let warnings = Warnings::default();
    let _heard = tracing::subscriber::set_default(warnings.clone());
    let (clock, options) = standing();
    let scene = Scene::with(options, |acme| acme).await;
    scene.until_done(&scene.order("one.example.com").await).await;
    let (store, directory) = (&scene.installation.store, &scene.ca.directory_url);
    let account = store.acme_account(directory).await.unwrap().unwrap();
    let known = account.account_url.unwrap();
    let lost = format!("{known}9");
    store.set_account_url(directory, &account.key, Some(&lost)).await.unwrap();

    let order = scene.order("two.example.com").await;
    let failed = scene.until(&order, "the order to fail", |order| order.attempts > 0).await;
    clock.advance(failed.next_at.since(clock.now()));
    scene.until_done(&order).await;
    let again = store.acme_account(directory).await.unwrap().unwrap();
    assert_eq!(again.account_url, Some(known), "the same key");
    let said = warnings.0.lock().unwrap().clone();
    let about = |said: &&String| said.contains("does not know our account: its key is registered again");
    let about: Vec<&String> = said.iter().filter(about).collect();
    assert!(about.len() == 1 && about[0].contains(directory) && about[0].contains(&lost), "{said:?}");
    scene.certd.stop().await.unwrap();
}
