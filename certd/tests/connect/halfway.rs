//! What is told and kept when nobody knows how far a change has come.

use std::time::Duration;

use certd::adapters::{Applied, Zone as _};
use model::domain::connection::{ConnectionStatus, Step, Trouble, credential_context};
use model::seal::SealingKey;
use store::{Access, Actor, ConnectionPatch, Wish};
use testkit::digitalocean as ocean;
use testkit::wait::until;

use super::{Server, Story, killed_after};
use crate::adapters::servers;
use crate::rig::BOUND;

/// Leaves one attempt only.
async fn tried_before(story: &Story) {
    let store = &story.installation.store;
    let ttl = Duration::from_secs(60);
    let held = store.lease_connection(story.domain.id, "before", ttl).await.unwrap();
    let patch =
        ConnectionPatch { attempts: Some(3), next_at: Some(store.now()), ..ConnectionPatch::default() };
    store.update_connection(story.domain.id, held.fence, patch).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_revoked_after_a_crash_half_way_is_not_told_as_nothing_changed() {
    let api = servers::digitalocean_api().await;
    let zone = servers::at_digitalocean(&api, ocean::TOKEN);
    let server = Server::DigitalOcean(api);
    let Server::DigitalOcean(api) = &server else { panic!("no DigitalOcean") };
    let before = server.records().await;
    let story = Story::of("www.example.com").await;
    story.wish(Step::Apply, Some(server.opening())).await.unwrap();
    killed_after(&story, &zone, 1).await;
    api.revoke_after(Some(0));
    let certd = story.start(server.settings()).await;
    let ended = story.ended().await;
    let told = (ended.status, ended.findings.trouble);
    assert_eq!(told, (ConnectionStatus::Incomplete, Some(Trouble::Key)), "{:?}", ended.findings);
    assert!(ended.applied.is_some());
    // Taking it back does not begin: what is left is left.
    let undone = story.asked(Step::Undo, Some(server.opening())).await;
    assert_eq!(undone.status, ConnectionStatus::Incomplete, "{:?}", undone.findings);
    api.revoke_after(None);
    let undone = story.asked(Step::Undo, Some(server.opening())).await;
    assert_eq!(undone.status, ConnectionStatus::Undone, "{:?}", undone.findings);
    assert_eq!(server.records().await, before);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_change_that_lands_after_an_error_is_still_taken_back() {
    let api = servers::digitalocean_api().await;
    let zone = servers::at_digitalocean(&api, ocean::TOKEN);
    let server = Server::DigitalOcean(api);
    let Server::DigitalOcean(api) = &server else { panic!("no DigitalOcean") };
    let before = server.records().await;
    let story = Story::of("www.example.com").await;
    api.lose_changes(true);
    let certd = story.start(server.settings()).await;
    story.wish(Step::Apply, Some(server.opening())).await.unwrap();
    let waiting = until("the first attempt's end", BOUND, async || {
        let now = story.now().await;
        anyhow::ensure!(now.attempts == 1, "{now:?}");
        Ok(now)
    });
    let waiting = waiting.await.unwrap();
    api.lose_changes(false);
    let applied: Applied = serde_json::from_str(&waiting.applied.unwrap()).unwrap();
    zone.exchange(&applied.changes).await.unwrap();
    let ended = story.ended().await;
    assert_eq!(ended.status, ConnectionStatus::Applied, "{:?}", ended.findings);
    assert_eq!(story.asked(Step::Undo, None).await.status, ConnectionStatus::Undone);
    assert_eq!(server.records().await, before);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn what_takes_the_records_back_outlives_the_last_error() {
    let server = Server::digitalocean().await;
    let Server::DigitalOcean(api) = &server else { panic!("no DigitalOcean") };
    let before = server.records().await;
    let story = Story::of("www.example.com").await;
    api.lose_changes(true);
    story.wish(Step::Apply, Some(server.opening())).await.unwrap();
    tried_before(&story).await;
    let certd = story.start(server.settings()).await;
    let ended = story.ended().await;
    let told = (ended.status, ended.findings.trouble);
    assert_eq!(told, (ConnectionStatus::Incomplete, Some(Trouble::Away)), "{:?}", ended.findings);
    assert!(ended.applied.is_some() && ended.credential.is_some());
    api.lose_changes(false);
    assert_eq!(story.asked(Step::Undo, None).await.status, ConnectionStatus::Undone);
    assert_eq!(server.records().await, before);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_record_that_its_owner_took_away_is_not_filled_with_the_old_one() {
    let server = Server::powerdns().await;
    let story = Story::of("www.example.com").await;
    let certd = story.start(server.settings()).await;
    let set = story.asked(Step::Apply, Some(server.opening())).await;
    assert_eq!(set.status, ConnectionStatus::Applied, "{:?}", set.findings);
    let Server::PowerDns(api) = &server else { panic!("no PowerDNS") };
    let gone = serde_json::json!({ "name": "www.example.com.", "type": "CNAME", "changetype": "DELETE" });
    api.patch(servers::ZONE, gone).await.unwrap();
    let before = server.records().await;
    let refused = story.asked(Step::Undo, None).await;
    let told = (refused.status, refused.findings.trouble);
    assert_eq!(told, (ConnectionStatus::Applied, Some(Trouble::Others)), "{:?}", refused.findings);
    assert!(refused.findings.details[0].ends_with("it has nothing"), "{:?}", refused.findings);
    assert_eq!(server.records().await, before);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_key_of_ours_that_is_missing_costs_no_creator_the_credential() {
    let server = Server::digitalocean().await;
    let story = Story::of("www.example.com").await;
    let (door, token) = server.opening();
    let other = SealingKey::generate();
    let sealed = other.seal(&credential_context(story.domain.id), token.as_bytes()).unwrap();
    let wish = Wish { step: Step::Apply, opening: Some((door, sealed.clone())), keep: true };
    let store = &story.installation.store;
    store.wish_connection(&Actor::system("test"), Access::Platform, story.domain.id, wish).await.unwrap();
    tried_before(&story).await;
    let certd = story.start(server.settings()).await;
    let ended = story.ended().await;
    assert_eq!((ended.status, ended.findings.trouble), (ConnectionStatus::Failed, Some(Trouble::Away)));
    assert_eq!(ended.credential, Some(sealed));
    let told = ended.findings.details.join(" ");
    let ours = [other.fingerprint(), story.installation.sealing.fingerprint()];
    assert!(ours.iter().all(|key| !told.contains(key)), "{told}");
    certd.stop().await.unwrap();
}
