use std::time::Duration;

use model::clock::ManualClock;
use rustls::pki_types::CertificateDer;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000)
}

struct Made {
    certificate: Certificate,
    leaf: CertificateDer<'static>,
}

/// A certificate that began `age` days ago, is good for 90 and was made after all others of this test.
fn make(names: &[&str], age: u32, key: &SealingKey) -> Made {
    static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let issued =
        rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>())
            .unwrap();
    let order = Duration::from_millis(MADE.fetch_add(1, Relaxed).into());
    let id = CertificateId::generate(now().plus(order));
    let not_before = now().minus(DAY * age);
    let certificate = Certificate {
        id,
        tenant: None,
        source: None,
        authority: None,
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        chain_pem: issued.cert.pem(),
        key: key.seal(&Certificate::key_context(id), &issued.signing_key.serialize_der()).unwrap(),
        not_before,
        not_after: not_before.plus(DAY * 90),
    };
    Made { certificate, leaf: issued.cert.der().clone() }
}

struct Fixture {
    certificates: Certificates,
    key: SealingKey,
}

impl Fixture {
    fn new() -> Self {
        let key = SealingKey::generate();
        let clock = Arc::new(ManualClock::at(now()));
        Self { certificates: Certificates::new(key.clone(), clock, Arc::default()), key }
    }

    fn put(&self, names: &[&str], age: u32) -> Made {
        let made = make(names, age, &self.key);
        self.certificates.put(&made.certificate).unwrap();
        made
    }

    fn leaf(&self, name: &str) -> Option<CertificateDer<'static>> {
        self.certificates.find(name, now()).and_then(|key| key.cert.first().cloned())
    }
}

#[test]
fn an_exact_name_comes_before_a_wildcard_of_one_label() {
    let fixture = Fixture::new();
    let wildcard = fixture.put(&["*.apps.test"], 1);
    let exact = fixture.put(&["a.apps.test"], 30);
    assert_eq!(fixture.leaf("a.apps.test"), Some(exact.leaf));
    assert_eq!(fixture.leaf("b.apps.test"), Some(wildcard.leaf));
    for name in ["apps.test", "x.b.apps.test", "other.test", "test", ""] {
        assert_eq!(fixture.leaf(name), None, "{name}");
    }
}

#[test]
fn the_one_that_was_made_last_wins_whenever_it_begins_and_arrives() {
    for (ages, arrival) in [([30, 1], [0, 1]), ([1, 30], [0, 1]), ([30, 1], [1, 0]), ([1, 30], [1, 0])] {
        let fixture = Fixture::new();
        let made = ages.map(|age| make(&["a.test"], age, &fixture.key));
        for index in arrival {
            fixture.certificates.put(&made[index].certificate).unwrap();
        }
        assert!(made[0].certificate.id < made[1].certificate.id);
        assert_eq!(fixture.leaf("a.test").as_ref(), Some(&made[1].leaf), "{ages:?} {arrival:?}");
    }
}

#[test]
fn a_valid_one_wins_over_an_expired_one_even_if_that_is_exact() {
    let fixture = Fixture::new();
    let expired = fixture.put(&["a.apps.test"], 100);
    assert_eq!(fixture.leaf("a.apps.test"), Some(expired.leaf));
    assert_eq!(fixture.certificates.note_expired(), 1);
    let wildcard = fixture.put(&["*.apps.test"], 10);
    assert_eq!(fixture.leaf("a.apps.test"), Some(wildcard.leaf));
}

#[test]
fn when_the_newest_is_removed_the_next_is_served() {
    let fixture = Fixture::new();
    let old = fixture.put(&["a.test"], 30);
    let new = fixture.put(&["a.test"], 1);
    fixture.certificates.remove(new.certificate.id);
    assert_eq!(fixture.leaf("a.test"), Some(old.leaf));
    fixture.certificates.retain(|_| false);
    assert_eq!(fixture.leaf("a.test"), None);
    assert_eq!(fixture.certificates.len(), 0);
}

#[test]
fn a_name_that_a_certificate_loses_is_served_no_more() {
    let fixture = Fixture::new();
    let mut made = fixture.put(&["a.test", "b.test"], 1);
    made.certificate.names.pop();
    fixture.certificates.put(&made.certificate).unwrap();
    assert!(fixture.leaf("a.test").is_some() && fixture.leaf("b.test").is_none());
}

#[test]
fn a_certificate_that_can_never_be_served_is_refused_at_once_with_its_reason() {
    let fixture = Fixture::new();
    let reason = |certificate: &Certificate| {
        fixture.certificates.put(certificate).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let one = make(&["a.test"], 1, &fixture.key).certificate;
    let mut empty = one.clone();
    empty.chain_pem = "nothing".to_owned();
    assert_eq!(reason(&empty), "its chain has no certificate");
    let mut torn = one.clone();
    torn.chain_pem.truncate(200);
    assert!(reason(&torn).starts_with("its chain is not PEM"), "{}", reason(&torn));
    let mut hollow = one.clone();
    hollow.chain_pem = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned();
    assert!(reason(&hollow).starts_with("the first of its chain cannot be read"), "{}", reason(&hollow));
    let mut foreign = one.clone();
    foreign.key = SealingKey::generate().seal(&Certificate::key_context(one.id), b"secret").unwrap();
    assert!(reason(&foreign).starts_with("its private key does not open"));
    let mut moved = one;
    moved.key = fixture.key.seal("certificate-key/other", b"secret").unwrap();
    assert!(reason(&moved).starts_with("its private key does not open"));
    assert_eq!(fixture.leaf("a.test"), None);
}

#[test]
fn a_key_that_turns_out_bad_makes_room_for_the_next_best() {
    let fixture = Fixture::new();
    let wildcard = fixture.put(&["*.apps.test"], 1);
    let good = fixture.put(&["a.apps.test"], 1);
    for key in [b"no key".to_vec(), rcgen::KeyPair::generate().unwrap().serialize_der()] {
        let mut bad = make(&["a.apps.test"], 1, &fixture.key).certificate;
        bad.key = fixture.key.seal(&Certificate::key_context(bad.id), &key).unwrap();
        fixture.certificates.put(&bad).unwrap();
        assert_eq!(fixture.leaf("a.apps.test"), Some(good.leaf.clone()));
        assert!(!fixture.certificates.by_id.get(&bad.id).unwrap().spoil(), "it is noted already");
    }
    fixture.certificates.remove(good.certificate.id);
    assert_eq!(fixture.leaf("a.apps.test"), Some(wildcard.leaf));
    fixture.certificates.remove(wildcard.certificate.id);
    assert_eq!(fixture.leaf("a.apps.test"), None);
}

/// How many keys are open.
fn open(certificates: &Certificates) -> usize {
    certificates.by_id.iter().filter(|served| served.prepared().is_some()).count()
}

#[test]
fn a_key_is_opened_by_the_first_handshake_and_kept() {
    let fixture = Fixture::new();
    fixture.put(&["a.test"], 1);
    assert_eq!(open(&fixture.certificates), 0);
    let first = fixture.certificates.find("a.test", now()).unwrap();
    let second = fixture.certificates.find("a.test", now()).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn open_keys_are_bounded_and_those_in_use_stay() {
    let mut fixture = Fixture::new();
    fixture.certificates.prepared = Prepared::with_room_for(4);
    let names: Vec<String> = (0..20).map(|number| format!("n{number}.test")).collect();
    let busy = fixture.put(&["busy.test"], 1);
    let kept = fixture.certificates.find("busy.test", now()).unwrap();
    for name in &names {
        let made = fixture.put(&[name], 1);
        assert_eq!(fixture.leaf(name), Some(made.leaf));
        let found = fixture.certificates.find("busy.test", now()).unwrap();
        assert!(Arc::ptr_eq(&found, &kept), "{name} closed the key that every handshake needs");
    }
    assert_eq!(open(&fixture.certificates), 4);
    assert_eq!(fixture.leaf(&names[0]), fixture.leaf(&names[0]), "what was closed is opened again");
    // Certificates that are gone give their places back.
    fixture.certificates.retain(|id| id == busy.certificate.id);
    for name in &names {
        fixture.put(&[name], 1);
        fixture.leaf(name);
    }
    assert_eq!(open(&fixture.certificates), 4);
}

#[test]
fn the_issuers_of_many_certificates_are_kept_once() {
    let fixture = Fixture::new();
    let issuer = make(&["issuer.test"], 1, &fixture.key).certificate.chain_pem;
    let ids = ["a.test", "b.test"].map(|name| {
        let mut made = make(&[name], 1, &fixture.key);
        made.certificate.chain_pem.push_str(&issuer);
        fixture.certificates.put(&made.certificate).unwrap();
        assert_eq!(fixture.certificates.find(name, now()).unwrap().cert.len(), 2);
        made.certificate.id
    });
    let [one, other] = ids.map(|id| Arc::clone(&fixture.certificates.by_id.get(&id).unwrap()));
    assert!(one.shares_issuers_with(&other));
}
