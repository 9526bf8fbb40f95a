//! What a domain's CAA records make of the ways in which it could be proved.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use model::Host;
use model::clock::SystemClock;
use model::seal::SealingKey;
use model::secret::Secret;
use store::{NewOrder, Options, Store, Urgency};

use super::*;
use crate::adapters::Account;
use crate::dns::{Kind, Lookup, Value};
use crate::{Acme, DnsZone, Settings};

/// Records by name and kind.
#[derive(Debug)]
struct Records(HashMap<(String, Kind), Vec<Value>>);

#[async_trait]
impl Lookup for Records {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        Ok(self.0.get(&(name.to_owned(), kind)).cloned().unwrap_or_default())
    }
}

fn caa(tag: &str, value: &str) -> Value {
    Value::Permission { critical: false, tag: tag.to_owned(), value: value.to_owned() }
}

/// How `names` are proved to the one authority, `ours.test`; none: it may not certify them.
async fn proved_by(names: &[&str], records: Vec<Value>) -> Option<ChallengeKind> {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("stoa.db").display());
    let zones = vec![Host::parse("apps.example.com").unwrap()];
    let options = Options { url, zones, edge_addresses: Vec::new() };
    let store = Store::open(options, Arc::new(SystemClock)).await.unwrap();
    let zone = Host::parse("apps.example.com").unwrap();
    let account = Account::Cloudflare { url: None, token: Secret::new("t".to_owned()) };
    let settings = Settings {
        acme: Some(Acme::at("https://ca.test/dir")),
        caa_identities: vec!["ours.test".to_owned()],
        dns: Some(DnsZone { zone, account, name_servers: Vec::new() }),
        ..Settings::default()
    };
    let lookup = Records([(("apps.example.com".to_owned(), Kind::Caa), records)].into());
    let sealing = SealingKey::generate().into();
    let work = Work::new(settings, store.clone(), sealing, Arc::new(lookup)).await.unwrap();
    let new = NewOrder {
        host: "apps.example.com".parse().unwrap(),
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        tenant: None,
        app: None,
        domain: None,
        urgency: Urgency::Waiting,
    };
    let order = store.begin_order(new).await.unwrap().unwrap();
    match work.candidates(&order, &work.places(&order).await.unwrap()).await {
        Ok(candidates) => candidates.first().map(|candidate| candidate.kind),
        Err(AcmeError::Forbidden { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_name_of_our_zone_is_proved_by_a_text_unless_only_the_other_way_is_allowed() {
    testkit::tls::install_provider();
    let exact = ["apps.example.com"];
    let dns = Some(ChallengeKind::Dns01);
    assert_eq!(proved_by(&exact, Vec::new()).await, dns);
    for methods in ["", "; validationmethods=dns-01", "; validationmethods=http-01,dns-01"] {
        assert_eq!(proved_by(&exact, vec![caa("issue", &format!("ours.test{methods}"))]).await, dns);
    }
    let http = caa("issue", "ours.test; validationmethods=http-01");
    assert_eq!(proved_by(&exact, vec![http]).await, Some(ChallengeKind::Http01));
    let alpn = caa("issue", "ours.test; validationmethods=tls-alpn-01");
    assert_eq!(proved_by(&exact, vec![alpn]).await, None);
    assert_eq!(proved_by(&exact, vec![caa("issue", "other.test")]).await, None);
}

#[tokio::test]
async fn a_wildcard_goes_by_its_own_tag() {
    testkit::tls::install_provider();
    let both = ["*.apps.example.com", "apps.example.com"];
    let dns = Some(ChallengeKind::Dns01);
    let records = |wild: &str| vec![caa("issue", "ours.test"), caa("issuewild", wild)];
    assert_eq!(proved_by(&both, records("ours.test")).await, dns);
    assert_eq!(proved_by(&both, records("other.test")).await, None);
    assert_eq!(proved_by(&["apps.example.com"], records("other.test")).await, dns);
}
