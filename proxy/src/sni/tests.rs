use std::time::Duration;

use model::clock::ManualClock;

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
        let certificates = Certificates::new(Arc::new(ManualClock::at(now())));
        Self { certificates, key: SealingKey::generate() }
    }

    fn put(&self, names: &[&str], age: u32) -> Made {
        let made = make(names, age, &self.key);
        self.certificates.put(Served::prepare(&made.certificate, &self.key).unwrap());
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
            let served = Served::prepare(&made[index].certificate, &fixture.key).unwrap();
            fixture.certificates.put(served);
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
    fixture.certificates.put(Served::prepare(&made.certificate, &fixture.key).unwrap());
    assert!(fixture.leaf("a.test").is_some() && fixture.leaf("b.test").is_none());
}

#[test]
fn a_certificate_that_cannot_be_served_is_refused_with_its_reason() {
    let key = SealingKey::generate();
    let reason = |certificate: &Certificate| {
        Served::prepare(certificate, &key).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let (one, other) = (make(&["a.test"], 1, &key), make(&["a.test"], 1, &key));
    let mut mixed = one.certificate.clone();
    mixed.chain_pem = other.certificate.chain_pem;
    assert!(reason(&mixed).starts_with("its private key cannot be used"));
    let mut empty = one.certificate.clone();
    empty.chain_pem = "nothing".to_owned();
    assert_eq!(reason(&empty), "its chain has no certificate");
    let mut foreign = one.certificate;
    foreign.key = SealingKey::generate().seal("x", b"secret").unwrap();
    assert!(reason(&foreign).starts_with("its private key does not open"));
}
