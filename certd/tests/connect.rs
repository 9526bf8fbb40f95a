//! Records that are set for creators: the wish in the store, certd at work, real servers at the other end.

mod consent;
mod halfway;
mod kept;
mod reach;

use std::net::IpAddr;
use std::sync::Arc;

use certd::adapters::{Applied, Record, Zone};
use certd::dns::{Lookup, Resolver};
use certd::{Certd, Connect, Settings};
use model::domain::connection::{ConnectionStatus, Connector, Door, Step, Trouble};
use model::domain::{DomainStatus, Fate};
use model::seal::SealingKey;
use model::secret::Secret;
use store::{Access, Actor, Connection, ConnectionPatch, DomainRecord, Keep, StoreError, Wish};
use testkit::wait::until;
use testkit::{bind, digitalocean as ocean, knot, powerdns as pdns};

use crate::adapters::servers::{self, TEXT, ZONE};
use crate::edge::Edge;
use crate::rig::{BOUND, Installation, Running};
use reach::Fickle;

/// A provider that a creator has, and what it keeps.
enum Server {
    PowerDns(pdns::PowerDns),
    Bind(bind::Bind),
    Knot(knot::Knot),
    DigitalOcean(ocean::DigitalOcean),
}

impl Server {
    async fn powerdns() -> Self {
        let server = pdns::PowerDns::start().await.unwrap();
        server.add_zone(ZONE, TEXT).await.unwrap();
        Self::PowerDns(server)
    }

    async fn bind() -> Self {
        Self::Bind(bind::Bind::start(&[(ZONE, TEXT)]).await.unwrap())
    }

    async fn knot() -> Self {
        Self::Knot(knot::Knot::start(&[(ZONE, TEXT)]).await.unwrap())
    }

    async fn digitalocean() -> Self {
        Self::DigitalOcean(servers::digitalocean_api().await)
    }

    async fn records(&self) -> Vec<String> {
        match self {
            Self::PowerDns(server) => server.records(ZONE).await.unwrap(),
            Self::Bind(server) => server.records(ZONE).await.unwrap(),
            Self::Knot(server) => server.records(ZONE).await.unwrap(),
            Self::DigitalOcean(server) => server.records(),
        }
    }

    /// How a creator opens it.
    fn opening(&self) -> (Door, &'static str) {
        let updates = |address: std::net::SocketAddr| Door {
            server: Some(address.to_string()),
            key_name: Some(bind::KEY_NAME.to_owned()),
            ..Door::to(Connector::Rfc2136)
        };
        match self {
            Self::PowerDns(server) => {
                (Door { url: Some(server.url()), ..Door::to(Connector::PowerDns) }, pdns::API_KEY)
            }
            Self::Bind(server) => (updates(server.address()), bind::KEY_SECRET),
            Self::Knot(server) => (updates(server.address()), bind::KEY_SECRET),
            Self::DigitalOcean(_) => (Door::to(Connector::DigitalOcean), ocean::TOKEN),
        }
    }

    fn settings(&self) -> Settings {
        let digitalocean = match self {
            Self::DigitalOcean(server) => Some(server.url()),
            _ => None,
        };
        let networks = std::iter::once("127.0.0.0/8".parse().unwrap()).collect();
        Settings { connect: Connect { networks, digitalocean, ..Connect::default() }, ..Settings::default() }
    }
}

/// An installation with a creator's domain.
pub(crate) struct Story {
    pub(crate) installation: Installation,
    pub(crate) domain: DomainRecord,
}

impl Story {
    pub(crate) async fn of(host: &str) -> Self {
        testkit::tls::install_provider();
        let installation = Installation::new("apps.localhost", &SealingKey::generate()).await;
        let domain = installation.add_domain(host).await;
        Self { installation, domain }
    }

    /// The provider with its token, sealed as the API does.
    fn opened(&self, (door, token): (Door, &str)) -> Option<(Door, model::seal::Sealed)> {
        let context = model::domain::connection::credential_context(self.domain.id);
        Some((door, self.installation.sealing.seal(&context, token.as_bytes()).unwrap()))
    }

    pub(crate) async fn wish(
        &self,
        step: Step,
        opening: Option<(Door, &str)>,
    ) -> Result<Connection, StoreError> {
        let opening = opening.and_then(|opening| self.opened(opening));
        let wish = Wish { step, opening, keep: true };
        let actor = Actor::system("test");
        self.installation.store.wish_connection(&actor, Access::Platform, self.domain.id, wish).await
    }

    pub(crate) async fn now(&self) -> Connection {
        self.installation.store.connection(Access::Platform, self.domain.id).await.unwrap().unwrap()
    }

    /// The connection once certd has come to an end with it.
    pub(crate) async fn ended(&self) -> Connection {
        until("the end of the step", BOUND, async || {
            let now = self.now().await;
            anyhow::ensure!(now.status != ConnectionStatus::Working, "{now:?}");
            Ok(now)
        })
        .await
        .unwrap()
    }

    pub(crate) async fn asked(&self, step: Step, opening: Option<(Door, &str)>) -> Connection {
        self.wish(step, opening).await.unwrap();
        self.ended().await
    }

    /// With nobody who knows any name, unless a test needs one.
    pub(crate) async fn start(&self, settings: Settings) -> Running {
        self.start_with(settings, Fickle::default()).await
    }

    pub(crate) async fn start_with(&self, settings: Settings, lookup: impl Lookup) -> Running {
        let (store, sealing) = (self.installation.store.clone(), self.installation.sealing.clone());
        Running::new(Certd::start_with(settings, store, sealing, Arc::new(lookup)).await.unwrap())
    }
}

fn lines(connection: &Connection, fate: Fate) -> Vec<String> {
    let told = connection.findings.changes.iter().filter(|change| change.change == fate);
    told.map(|change| format!("{} {} {}", change.name, change.kind, change.value)).collect()
}

async fn shown_set_and_taken_back(server: Server) {
    let story = Story::of("www.example.com").await;
    let certd = story.start(server.settings()).await;
    let before = server.records().await;
    let shown = story.asked(Step::Preview, Some(server.opening())).await;
    assert_eq!(shown.status, ConnectionStatus::Previewed, "{:?}", shown.findings);
    let alias = format!("www.example.com CNAME {}", story.domain.target.cname);
    assert_eq!(lines(&shown, Fate::Add), [alias]);
    let removed = lines(&shown, Fate::Remove);
    assert!(removed.contains(&"www.example.com A 192.0.2.7".to_owned()) && removed.len() == 3, "{removed:?}");
    let kept = lines(&shown, Fate::Keep);
    assert!(shown.findings.mail && kept.iter().any(|line| line.contains(" MX ")), "{kept:?}");
    assert!(kept.iter().any(|line| line.contains("spf1")), "{kept:?}");
    assert_eq!(server.records().await, before, "a preview changes nothing");

    // Without the key, which is kept until then.
    let set = story.asked(Step::Apply, None).await;
    assert_eq!(set.status, ConnectionStatus::Applied, "{:?}", set.findings);
    assert!(set.credential.is_some() && set.applied.is_some());
    let after = server.records().await;
    assert!(after.iter().any(|line| line.contains(story.domain.target.cname.as_str())), "{after:?}");
    for line in before.iter().filter(|line| line.contains("MX") || line.contains("spf1")) {
        assert!(after.contains(line), "`{line}` is gone");
    }

    let undone = story.asked(Step::Undo, None).await;
    assert_eq!(undone.status, ConnectionStatus::Undone, "{:?}", undone.findings);
    assert_eq!((undone.credential, undone.applied), (None, None));
    assert_eq!(server.records().await, before);
    let refused = story.wish(Step::Undo, Some(server.opening())).await;
    assert!(matches!(refused, Err(StoreError::Conflict { code: "nothing_to_undo", .. })));
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn records_at_powerdns_are_shown_set_and_taken_back_to_the_byte() {
    shown_set_and_taken_back(Server::powerdns().await).await;
}

#[tokio::test]
async fn records_at_bind_are_shown_set_and_taken_back_to_the_byte() {
    shown_set_and_taken_back(Server::bind().await).await;
}

#[tokio::test]
async fn records_at_knot_are_shown_set_and_taken_back_to_the_byte() {
    shown_set_and_taken_back(Server::knot().await).await;
}

#[tokio::test]
async fn records_at_digitalocean_are_shown_set_and_taken_back_to_the_byte() {
    shown_set_and_taken_back(Server::digitalocean().await).await;
}

#[tokio::test]
async fn one_wish_leads_to_a_live_domain() {
    let server = pdns::PowerDns::start().await.unwrap();
    server.add_zone(ZONE, TEXT).await.unwrap();
    let address = server.address();
    let story = Story::of("www.example.com").await;
    let edge = Edge::start(&story.installation.sealing).await.unwrap();
    edge.follow(&story.installation.store);
    let opened = Server::PowerDns(server);
    let settings = Settings { probe: Some(edge.https), ..opened.settings() };
    let here: IpAddr = [127, 0, 0, 1].into();
    let lookup = Resolver::new(&[address]).unwrap().with_places([(here, address)].into());
    let certd = story.start_with(settings, lookup).await;
    let set = story.asked(Step::Apply, Some(opened.opening())).await;
    assert_eq!(set.status, ConnectionStatus::Applied, "{:?}", set.findings);
    story.installation.until_status(&story.domain, DomainStatus::Live).await;
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn the_zones_own_name_gets_addresses_and_a_proof_beside_its_mail() {
    let server = Server::powerdns().await;
    let story = Story::of("example.com").await;
    let certd = story.start(server.settings()).await;
    let before = server.records().await;
    let set = story.asked(Step::Apply, Some(server.opening())).await;
    assert_eq!(set.status, ConnectionStatus::Applied, "{:?}", set.findings);
    let added = lines(&set, Fate::Add);
    assert_eq!(added.len(), 2, "{added:?}");
    assert!(added.contains(&"example.com A 127.0.0.1".to_owned()), "{added:?}");
    assert!(added.iter().any(|line| line.starts_with("_stoa.example.com TXT \"stoa-proof=")), "{added:?}");
    let undone = story.asked(Step::Undo, None).await;
    assert_eq!(undone.status, ConnectionStatus::Undone);
    assert_eq!(server.records().await, before);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn mail_of_the_name_itself_is_gone_round_with_addresses() {
    let server = Server::bind().await;
    let story = Story::of("shop.example.com").await;
    let certd = story.start(server.settings()).await;
    let set = story.asked(Step::Apply, Some(server.opening())).await;
    assert_eq!(set.status, ConnectionStatus::Applied, "{:?}", set.findings);
    assert!(lines(&set, Fate::Add).contains(&"shop.example.com A 127.0.0.1".to_owned()));
    assert!(lines(&set, Fate::Keep).iter().any(|line| line.starts_with("shop.example.com MX")));
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn records_that_others_have_changed_since_are_named_and_none_is_taken_back() {
    let server = Server::powerdns().await;
    let story = Story::of("example.com").await;
    let certd = story.start(server.settings()).await;
    story.asked(Step::Apply, Some(server.opening())).await;
    let Server::PowerDns(api) = &server else { panic!("no PowerDNS") };
    let theirs = serde_json::json!({
        "name": "example.com.", "type": "A", "ttl": 300, "changetype": "REPLACE",
        "records": [{ "content": "192.0.2.99", "disabled": false }],
    });
    api.patch(ZONE, theirs).await.unwrap();
    let before = server.records().await;
    let refused = story.asked(Step::Undo, None).await;
    assert_eq!(
        (refused.status, refused.findings.trouble),
        (ConnectionStatus::Applied, Some(Trouble::Others))
    );
    let told = refused.findings.details.join(" ");
    assert!(told.contains("example.com") && told.contains("192.0.2.99"), "{told}");
    assert_eq!(server.records().await, before, "all or nothing");
    assert!(refused.applied.is_some() && refused.credential.is_some(), "it can be asked for again");
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_zone_that_changed_since_the_preview_is_left_as_it_is() {
    let server = Server::powerdns().await;
    let story = Story::of("www.example.com").await;
    let certd = story.start(server.settings()).await;
    story.asked(Step::Preview, Some(server.opening())).await;
    let Server::PowerDns(api) = &server else { panic!("no PowerDNS") };
    let gone = serde_json::json!({ "name": "www.example.com.", "type": "AAAA", "changetype": "DELETE" });
    api.patch(ZONE, gone).await.unwrap();
    let before = server.records().await;
    let refused = story.asked(Step::Apply, None).await;
    assert_eq!(
        (refused.status, refused.findings.trouble),
        (ConnectionStatus::Failed, Some(Trouble::Changed))
    );
    assert_eq!(refused.applied, None);
    assert_eq!(server.records().await, before);
    certd.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_revoked_half_way_leaves_nothing_that_is_not_told() {
    let server = Server::digitalocean().await;
    let Server::DigitalOcean(api) = &server else { panic!("no DigitalOcean") };
    let before = server.records().await;
    let story = Story::of("www.example.com").await;
    let certd = story.start(server.settings()).await;
    story.asked(Step::Apply, Some(server.opening())).await;
    let calls = api.calls();
    story.asked(Step::Undo, None).await;
    certd.stop().await.unwrap();
    let mut half_way = 0;
    // The last calls are those that change something.
    for steps in [0, calls - 5, calls - 4, calls - 3, calls - 2, calls - 1] {
        let story = Story::of("www.example.com").await;
        let certd = story.start(server.settings()).await;
        api.revoke_after(Some(steps));
        let ended = story.asked(Step::Apply, Some(server.opening())).await;
        api.revoke_after(None);
        if ended.status == ConnectionStatus::Applied {
            story.asked(Step::Undo, None).await;
        } else {
            assert_eq!(ended.findings.trouble, Some(Trouble::Key), "{:?}", ended.findings);
            assert_eq!(ended.credential, None, "a key that opens nothing is not kept");
            let told = ended.findings.details.join(" ");
            assert!(told.contains("DigitalOcean refuses the API token"), "{told}");
        }
        if ended.status == ConnectionStatus::Incomplete {
            half_way += 1;
            assert!(ended.findings.details.iter().any(|line| line.starts_with("not taken back: ")));
            let undone = story.asked(Step::Undo, Some(server.opening())).await;
            assert_eq!(undone.status, ConnectionStatus::Undone, "{:?}", undone.findings);
        }
        assert_eq!(server.records().await, before, "after {steps} calls");
        certd.stop().await.unwrap();
    }
    assert!(half_way > 0, "the token was never revoked between two changes");
}

/// What a process left behind that was killed after so many of its changes.
async fn killed_after(story: &Story, zone: &dyn Zone, changes: usize) {
    let wanted = [Record::new(
        certd::adapters::RecordName::from(&story.domain.host),
        60,
        certd::adapters::Content::alias(story.domain.target.cname.as_str()),
    )];
    let plan = zone.preview(&wanted).await.unwrap();
    let held = story
        .installation
        .store
        .lease_connection(story.domain.id, "killed", std::time::Duration::from_millis(1))
        .await
        .unwrap();
    let applied: Applied = plan.applied();
    let patch = ConnectionPatch {
        applied: Some(Some(serde_json::to_string(&applied).unwrap())),
        keep: Keep::AsItIs,
        ..ConnectionPatch::default()
    };
    story.installation.store.update_connection(story.domain.id, held.fence, patch).await.unwrap();
    zone.exchange(&plan.changes[..changes.min(plan.changes.len())]).await.unwrap();
}

#[tokio::test]
async fn who_goes_on_after_a_crash_sets_the_rest_and_can_still_take_all_of_it_back() {
    for changes in [0, 1, usize::MAX] {
        let api = servers::digitalocean_api().await;
        let zone = servers::at_digitalocean(&api, ocean::TOKEN);
        let server = Server::DigitalOcean(api);
        let before = server.records().await;
        let story = Story::of("www.example.com").await;
        story.wish(Step::Apply, Some(server.opening())).await.unwrap();
        killed_after(&story, &zone, changes).await;
        let certd = story.start(server.settings()).await;
        let ended = story.ended().await;
        assert_eq!(ended.status, ConnectionStatus::Applied, "{changes} {:?}", ended.findings);
        let set = server.records().await;
        assert!(set.iter().any(|line| line.contains(story.domain.target.cname.as_str())), "{set:?}");
        assert_eq!(story.asked(Step::Undo, None).await.status, ConnectionStatus::Undone);
        assert_eq!(server.records().await, before, "{changes}");
        certd.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_plainly_and_kept_nowhere() {
    let server = Server::bind().await;
    let story = Story::of("www.example.com").await;
    let certd = story.start(server.settings()).await;
    let (door, _) = server.opening();
    let wrong = Secret::new("bm90IHRoZSBzZWNyZXQgb2YgdGhlIGtleSBhdCBhbGw=".to_owned());
    let ended = story.asked(Step::Preview, Some((door, wrong.reveal()))).await;
    assert_eq!((ended.status, ended.findings.trouble), (ConnectionStatus::Failed, Some(Trouble::Key)));
    assert_eq!(ended.credential, None);
    assert!(!format!("{ended:?}").contains(wrong.reveal()));
    certd.stop().await.unwrap();
}
