//! dns-01: texts in a zone of ours.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use certd::adapters::{Account, Algorithm, Proof, ProofError, Proofs, open};
use certd::dns::Resolver;
use model::clock::{Clock as _, SystemClock};
use model::id::DomainId;
use model::secret::Secret;
use model::{Host, Timestamp};
use testkit::bind::{Bind, KEY_NAME, KEY_SECRET};

const ZONE: &str = "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\n";
/// As the zone, with aliases for the proof of two names: one to the right place, one to another's.
const CREATOR: &str = "$TTL 60\n@ SOA ns1 hostmaster 1 3600 600 86400 30\n@ NS ns1\nns1 A 127.0.0.1\n\
    _acme-challenge.shop CNAME 00000000040000000000000000.acme.example.com.\n\
    _acme-challenge.other CNAME 00000000040000000000000001.acme.example.com.\n";

fn proofs(at: SocketAddr, name_servers: &[SocketAddr], wait: Duration) -> Proofs {
    let account = Account::Rfc2136 {
        server: at.to_string(),
        key_name: KEY_NAME.to_owned(),
        algorithm: Algorithm::HmacSha256,
        secret: Secret::new(KEY_SECRET.to_owned()),
    };
    let zone = open(Host::parse("example.com").unwrap(), &account, Arc::new(SystemClock)).unwrap();
    // The server answers at a port of its own; the zone says that it is at 127.0.0.1.
    let places = HashMap::from([(at.ip(), at)]);
    let lookup = Resolver::new(&[at]).unwrap().with_places(places);
    Proofs::new(zone, name_servers.to_vec(), Arc::new(lookup), wait)
}

fn proof(proofs: &Proofs, host: &str, text: &str) -> Proof {
    Proof { place: proofs.own(&Host::parse(host).unwrap()).unwrap(), text: text.to_owned() }
}

#[tokio::test]
async fn every_name_server_shows_a_proof_before_the_wait_ends() {
    let first = Bind::start(&[("example.com", ZONE)]).await.unwrap();
    let second = Bind::start(&[("example.com", ZONE)]).await.unwrap();
    let before = first.records("example.com").await.unwrap();
    let down = testkit::ports::Port::lease().unwrap();
    let servers = [first.address(), second.address(), down.address()];
    let (one, other) = (
        proofs(first.address(), &servers, Duration::from_secs(20)),
        proofs(second.address(), &[], Duration::ZERO),
    );
    let wanted = [proof(&one, "apps.example.com", "wildcard"), proof(&one, "apps.example.com", "exact")];
    for proof in &wanted {
        one.publish(proof).await.unwrap();
    }
    let mut waiting = std::pin::pin!(one.wait(&wanted));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "the second server does not show it yet");
    for proof in &wanted {
        other.publish(proof).await.unwrap();
    }
    waiting.await.unwrap();
    for proof in &wanted {
        one.withdraw(proof).await.unwrap();
    }
    assert_eq!(first.records("example.com").await.unwrap(), before);
}

#[tokio::test]
async fn a_server_that_never_shows_a_proof_is_named() {
    let server = Bind::start(&[("example.com", ZONE)]).await.unwrap();
    let proofs = proofs(server.address(), &[server.address()], Duration::ZERO);
    let wanted = proof(&proofs, "apps.example.com", "never written");
    let error = proofs.wait(&[wanted]).await.unwrap_err();
    assert!(matches!(error, ProofError::NotShown { .. }));
    let said = format!(
        "the name server {} does not show `_acme-challenge.apps.example.com` within 0 s",
        server.address()
    );
    assert_eq!(error.to_string(), said);
}

#[tokio::test]
async fn name_servers_that_cannot_be_found_are_named() {
    let server = Bind::start(&[("elsewhere.test", ZONE)]).await.unwrap();
    let proofs = proofs(server.address(), &[], Duration::ZERO);
    let wanted = proof(&proofs, "apps.example.com", "never written");
    let error = proofs.wait(&[wanted]).await.unwrap_err();
    assert!(
        error.to_string().starts_with("the name servers of the zone `example.com` cannot be found ("),
        "{error}"
    );
}

#[tokio::test]
async fn a_domain_elsewhere_is_delegated_by_its_own_alias_only() {
    let zones = [("example.com", ZONE), ("florist.org", CREATOR)];
    let server = Bind::start(&zones).await.unwrap();
    let proofs = proofs(server.address(), &[], Duration::ZERO);
    let id: DomainId = "dom_00000000040000000000000000".parse().unwrap();
    assert_eq!(proofs.delegate(id).unwrap().as_str(), "00000000040000000000000000.acme.example.com");
    let own = proofs.delegate(id).unwrap();
    let expected = [("shop.florist.org", true), ("other.florist.org", false), ("none.florist.org", false)];
    for (host, delegated) in expected {
        let alias = proofs.alias(&Host::parse(host).unwrap()).await.unwrap();
        assert_eq!(alias.as_deref() == Some(own.as_str()), delegated, "{host}");
    }
    let fresh = DomainId::generate(SystemClock.now().max(Timestamp::default()));
    assert!(proofs.delegate(fresh).unwrap().as_str().ends_with(".acme.example.com"));
}
