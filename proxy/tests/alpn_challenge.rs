//! tls-alpn-01 on the shared port.

use std::time::Duration;

use model::Host;
use model::acme::{Challenge, ChallengeKind, Token};
use model::change::{Object, ObjectId};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;
use testkit::tls::{Tls, alert};
use tokio::io::AsyncReadExt as _;

use crate::market::{HOST, Market, now};

const PROTOCOL: &str = "acme-tls/1";

fn challenge(host: &str, token: &str, kind: ChallengeKind) -> Challenge {
    Challenge {
        kind,
        token: Token::parse(token).unwrap(),
        host: Host::parse(host).unwrap(),
        key_authorization: format!("{token}.thumbprint"),
        expires_at: now().plus(Duration::from_secs(60)),
    }
}

/// Puts a tls-alpn-01 challenge; returns its token.
fn put(market: &Market, host: &str, token: &str) -> Token {
    let challenge = challenge(host, token, ChallengeKind::TlsAlpn01);
    market.put(Object::Challenge(challenge.clone()));
    challenge.token
}

/// The extension acmeIdentifier (1.3.6.1.5.5.7.1.31), critical, as RFC 8737 §3 and X.690 write it.
fn extension(key_authorization: &str) -> Vec<u8> {
    let head = [
        0x30, 0x31, // SEQUENCE
        0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, // the id
        0x01, 0x01, 0xff, // critical
        0x04, 0x22, 0x04, 0x20, // an OCTET STRING in an OCTET STRING
    ];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_authorization.as_bytes());
    [&head[..], digest.as_ref()].concat()
}

fn proves(leaf: &CertificateDer<'_>, key_authorization: &str) -> bool {
    let wanted = extension(key_authorization);
    leaf.windows(wanted.len()).any(|part| part == wanted)
}

#[tokio::test]
async fn an_authority_finds_the_proof_and_nothing_else() {
    let market = Market::open(&[]);
    // A name without any certificate, and one with: the order is open while the old certificate is served.
    for host in ["new.example.test", HOST] {
        put(&market, host, "token-1");
        let authority = Tls::checking_nothing().offering(&[PROTOCOL]);
        let settled = authority.handshake(market.visitors.https, host).await.unwrap();
        assert_eq!(
            (settled.alpn.as_deref(), settled.names().unwrap()),
            (Some(PROTOCOL), vec![host.to_owned()])
        );
        assert!(proves(&settled.leaf, "token-1.thumbprint") && !proves(&settled.leaf, "token-2.thumbprint"));
        let mut stream = authority.connect(market.visitors.https, host).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "closed in order");
    }
    let ordinary = market.visitors.tls().unwrap().handshake(market.visitors.https, HOST).await.unwrap();
    assert!(!proves(&ordinary.leaf, "token-1.thumbprint"));
    let (_, metrics) = market.probe("/metrics").await;
    assert!(metrics.contains("stoa_handshakes_total{result=\"acme_challenge\"} 4"), "{metrics}");
}

#[tokio::test]
async fn without_a_challenge_an_authority_gets_an_alert() {
    let market = Market::open(&[]);
    let authority = Tls::checking_nothing().offering(&[PROTOCOL]);
    let refused = async |host: &str| {
        let error = authority.handshake(market.visitors.https, host).await.unwrap_err();
        alert(&error)
    };
    assert_eq!(refused("new.example.test").await, Some(AlertDescription::UnrecognisedName));
    assert_eq!(refused(HOST).await, Some(AlertDescription::NoApplicationProtocol));
    let mut past = challenge("new.example.test", "past", ChallengeKind::TlsAlpn01);
    past.expires_at = now().minus(Duration::from_secs(1));
    market.put(Object::Challenge(past));
    market.put(Object::Challenge(challenge("http.example.test", "http", ChallengeKind::Http01)));
    for host in ["new.example.test", "http.example.test"] {
        assert_eq!(refused(host).await, Some(AlertDescription::UnrecognisedName), "{host}");
    }
}

#[tokio::test]
async fn who_offers_more_than_the_challenges_protocol_is_a_visitor() {
    let market = Market::open(&[]);
    put(&market, HOST, "token-1");
    let visitor = market.visitors.tls().unwrap().offering(&[PROTOCOL, "http/1.1"]);
    let settled = visitor.handshake(market.visitors.https, HOST).await.unwrap();
    assert_eq!(settled.alpn.as_deref(), Some("http/1.1"));
    assert!(!proves(&settled.leaf, "token-1.thumbprint"));
}

#[tokio::test]
async fn the_newest_challenge_of_a_name_is_answered_until_it_is_taken_away() {
    let market = Market::open(&[]);
    let authority = Tls::checking_nothing().offering(&[PROTOCOL]);
    let ask = async || authority.handshake(market.visitors.https, "new.example.test").await;
    let old = put(&market, "new.example.test", "old");
    let new = put(&market, "new.example.test", "new");
    market.remove(ObjectId::Challenge(old));
    assert!(proves(&ask().await.unwrap().leaf, "new.thumbprint"));
    market.remove(ObjectId::Challenge(new));
    assert!(ask().await.is_err());
}

#[tokio::test]
async fn a_challenge_of_the_handshake_is_not_answered_in_a_request() {
    let market = Market::open(&[]);
    put(&market, HOST, "token-1");
    let path = "/.well-known/acme-challenge/token-1";
    let answer = market.visitors.get_cleartext(HOST, path).send().await.unwrap();
    assert_eq!(answer.status, 308);
}
