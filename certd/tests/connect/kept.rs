//! How long a credential is kept, and where it can never be seen.

use model::domain::connection::{ConnectionStatus, Step};
use store::{Access, Actor, AuditFilter, Page, Wish};
use testkit::powerdns::API_KEY;

use super::{Server, Story};

#[tokio::test]
async fn a_key_that_is_not_to_be_kept_is_gone_when_the_records_are_set() {
    let server = Server::powerdns().await;
    let story = Story::of("www.example.com").await;
    let certd = story.start(server.settings()).await;
    let before = server.records().await;
    let wish = Wish { step: Step::Apply, opening: story.opened(server.opening()), keep: false };
    let (store, id) = (&story.installation.store, story.domain.id);
    store.wish_connection(&Actor::system("test"), Access::Platform, id, wish).await.unwrap();
    let set = story.ended().await;
    assert_eq!((set.status, set.credential), (ConnectionStatus::Applied, None), "{:?}", set.findings);
    assert!(story.wish(Step::Undo, None).await.is_err(), "it must be given again");
    assert_eq!(story.asked(Step::Undo, Some(server.opening())).await.status, ConnectionStatus::Undone);
    assert_eq!(server.records().await, before);

    let page = Page { limit: 100, cursor: None };
    let events = store.audit_events(Access::Platform, &AuditFilter::default(), &page).await.unwrap();
    let told = format!("{:?}", events.items);
    assert!(told.contains("domain.connect") && !told.contains(API_KEY), "{told}");
    certd.stop().await.unwrap();
}
