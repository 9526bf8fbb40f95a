//! "Connect for me" at real servers (PowerDNS, BIND, Knot) and at two APIs in memory: the same stories at each.

mod proofs;
pub(crate) mod servers;
mod stories;

use certd::adapters::{Content, Fault, Record, RecordName, Zone};

fn name(text: &str) -> RecordName {
    RecordName::parse(text).unwrap()
}

fn alias(at: &str, target: &str) -> Record {
    Record::new(name(at), 60, Content::alias(target))
}

fn address(at: &str, address: [u8; 4]) -> Record {
    Record::new(name(at), 60, Content::A(address.into()))
}

fn text(at: &str, text: &str) -> Record {
    Record::new(name(at), 60, Content::Txt(text.to_owned()))
}

/// The same promises for each provider, each at a server of its own.
macro_rules! at_each {
    ($($provider:ident),*) => { $(
        mod $provider {
            use super::{servers, stories};

            #[tokio::test]
            async fn what_was_applied_is_undone_to_the_byte() {
                stories::applied_and_undone(&servers::$provider().await).await;
            }

            #[tokio::test]
            async fn what_must_stay_is_in_the_way_and_nothing_is_done() {
                stories::obstacles(&servers::$provider().await).await;
            }

            #[tokio::test]
            async fn a_zone_that_changed_since_the_preview_is_left_as_it_is() {
                stories::changed_since_preview(&servers::$provider().await).await;
            }

            #[tokio::test]
            async fn undo_leaves_what_others_have_changed_since() {
                stories::changed_since_apply(&servers::$provider().await).await;
            }

            #[tokio::test]
            async fn texts_of_many_stand_side_by_side_and_go_one_by_one() {
                stories::texts(&servers::$provider().await).await;
            }

            #[tokio::test]
            async fn a_wrong_credential_is_named_and_undo_says_what_remains() {
                stories::wrong_credential(&servers::$provider().await).await;
            }

            #[tokio::test]
            async fn a_zone_that_is_not_there_is_named() {
                stories::missing_zone(&servers::$provider().await).await;
            }
        }
    )* };
}

at_each!(powerdns, bind, knot, cloudflare, digitalocean);

#[tokio::test]
async fn a_name_made_up_from_a_wildcard_counts_as_absent() {
    for server in [servers::bind().await, servers::knot().await, servers::powerdns().await] {
        let before = server.records().await;
        let plan = server.zone.preview(&[alias("x.wild.example.com", "edge.test")]).await.unwrap();
        let lines: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["add x.wild.example.com CNAME edge.test"]);
        let applied = server.zone.apply(&plan).await.unwrap();
        server.zone.undo(&applied).await.unwrap();
        assert_eq!(server.records().await, before);
    }
}

#[tokio::test]
async fn an_alias_at_the_apex_of_cloudflare_stands_beside_mail() {
    let server = servers::cloudflare().await;
    let before = server.records().await;
    let plan = server.zone.preview(&[alias("example.com", "edge.test")]).await.unwrap();
    assert_eq!(plan.obstacles, []);
    let applied = server.zone.apply(&plan).await.unwrap();
    let after = server.records().await;
    assert!(
        after.iter().any(|line| line.contains("edge.test") && line.contains(r#""proxied":false"#)),
        "{after:?}"
    );
    assert_eq!(server.zone.undo(&applied).await.unwrap(), []);
    assert_eq!(server.records().await, before);
}

#[tokio::test]
async fn a_token_that_is_revoked_half_way_leaves_an_undo_that_works() {
    let api = servers::digitalocean_api().await;
    let zone = servers::at_digitalocean(&api, testkit::digitalocean::TOKEN);
    let before = api.records();
    let wanted = [alias("www.example.com", "edge.test"), address("example.com", [192, 0, 2, 80])];
    let plan = zone.preview(&wanted).await.unwrap();
    let reading = api.calls();
    zone.preview(&wanted).await.unwrap();
    let reading = api.calls() - reading;
    for steps in 0..6 {
        api.revoke_after(Some(reading + steps));
        let stopped = zone.apply(&plan).await.unwrap_err();
        assert!(matches!(stopped.error.fault, Fault::Credential { .. }), "{stopped}");
        assert_eq!(stopped.remains, plan.changes, "nobody can look: all of it may be there");
        let applied = plan.applied();
        zone.undo(&applied).await.unwrap_err();
        api.revoke_after(None);
        assert_eq!(zone.undo(&applied).await.unwrap(), []);
        assert_eq!(api.records(), before, "after {steps} steps");
    }
}

#[tokio::test]
async fn a_provider_that_asks_to_wait_is_quoted() {
    let (cloud, ocean) = (servers::cloudflare_api().await, servers::digitalocean_api().await);
    let at_cloud = servers::at_cloudflare(&cloud, testkit::cloudflare::TOKEN);
    let at_ocean = servers::at_digitalocean(&ocean, testkit::digitalocean::TOKEN);
    cloud.ask_to_wait(Some(120));
    ocean.ask_to_wait(Some(7));
    let zones: [(&dyn Zone, &str); 2] = [
        (&at_cloud, "Cloudflare asks to wait 120 s before the zone `example.com` is asked for again"),
        (&at_ocean, "DigitalOcean asks to wait 7 s before the zone `example.com` is asked for again"),
    ];
    for (zone, said) in zones {
        let error = zone.preview(&[alias("www.example.com", "edge.test")]).await.unwrap_err();
        assert_eq!(error.to_string(), said);
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let port = testkit::ports::Port::lease().unwrap();
    let address = port.address();
    for (zone, who) in servers::away(address) {
        let error = zone.preview(&[alias("www.example.com", "edge.test")]).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Away { .. }), "{error}");
        assert!(
            error.to_string().starts_with(&format!("{who} cannot be reached for the zone `example.com` (")),
            "{error}"
        );
    }
}
