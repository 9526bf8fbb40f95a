//! The same zone at each provider.

use std::net::SocketAddr;
use std::sync::Arc;

use certd::adapters::{Algorithm, Cloudflare, DigitalOcean, Key, PowerDns, Rfc2136, Zone};
use model::Host;
use model::clock::SystemClock;
use model::secret::Secret;
use serde_json::json;
use testkit::bind::{KEY_NAME, KEY_SECRET};
use testkit::{bind, cloudflare as cloud, digitalocean as ocean, knot, powerdns as pdns};

pub(crate) const ZONE: &str = "example.com";
pub(crate) const TEXT: &str = r#"$TTL 300
@ SOA ns1 hostmaster 1 3600 600 86400 30
@ NS ns1
@ A 192.0.2.7
@ AAAA 2001:db8::7
@ MX 10 mail
@ TXT "v=spf1 mx -all"
@ CAA 0 issue "other-ca.example"
ns1 A 127.0.0.1
mail A 192.0.2.8
www A 192.0.2.7
www A 192.0.2.9
www AAAA 2001:db8::7
blog 120 CNAME Old.Hosting.example.
shop MX 10 mail
_stoa.www TXT "of somebody" "else"
*.wild A 192.0.2.9
sub NS ns.elsewhere.example.
"#;

/// What keeps the zone.
enum Kept {
    PowerDns(pdns::PowerDns),
    Bind(bind::Bind),
    Knot(knot::Knot),
    Cloudflare(cloud::Cloudflare),
    DigitalOcean(ocean::DigitalOcean),
}

/// A provider with the zone.
pub(crate) struct Server {
    kept: Kept,
    pub(crate) zone: Box<dyn Zone>,
    /// The same zone, opened by something else.
    pub(crate) wrong: Box<dyn Zone>,
    /// A zone that is not there.
    pub(crate) missing: Box<dyn Zone>,
}

impl Server {
    /// Every record of the zone.
    pub(crate) async fn records(&self) -> Vec<String> {
        match &self.kept {
            Kept::PowerDns(server) => server.records(ZONE).await.unwrap(),
            Kept::Bind(server) => server.records(ZONE).await.unwrap(),
            Kept::Knot(server) => server.records(ZONE).await.unwrap(),
            Kept::Cloudflare(server) => server.records(),
            Kept::DigitalOcean(server) => server.records(),
        }
    }
}

fn host(name: &str) -> Host {
    Host::parse(name).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn updates(zone: &str, server: SocketAddr, key: &str, secret_text: &str) -> Box<dyn Zone> {
    let key = Key::new(key, Algorithm::HmacSha256, &secret(secret_text)).unwrap();
    Box::new(Rfc2136::new(host(zone), &server.to_string(), key, Arc::new(SystemClock)).unwrap())
}

fn by_updates(kept: Kept, address: SocketAddr, wrong: (&str, &str)) -> Server {
    Server {
        kept,
        zone: updates(ZONE, address, KEY_NAME, KEY_SECRET),
        wrong: updates(ZONE, address, wrong.0, wrong.1),
        missing: updates("example.org", address, KEY_NAME, KEY_SECRET),
    }
}

pub(crate) async fn bind() -> Server {
    let server = bind::Bind::start(&[(ZONE, TEXT)]).await.unwrap();
    let address = server.address();
    by_updates(Kept::Bind(server), address, ("another-key", KEY_SECRET))
}

pub(crate) async fn knot() -> Server {
    let server = knot::Knot::start(&[(ZONE, TEXT)]).await.unwrap();
    let address = server.address();
    by_updates(Kept::Knot(server), address, (KEY_NAME, "bm90IHRoZSBzZWNyZXQgb2YgdGhlIGtleSBhdCBhbGw="))
}

pub(crate) async fn powerdns() -> Server {
    testkit::tls::install_provider();
    let server = pdns::PowerDns::start().await.unwrap();
    server.add_zone(ZONE, TEXT).await.unwrap();
    let comment = json!({ "content": "do not touch", "account": "ops", "modified_at": 1_700_000_000 });
    let set = json!({
        "name": "www.example.com.", "type": "A", "ttl": 300, "changetype": "REPLACE", "comments": [comment],
        "records": [{ "content": "192.0.2.7", "disabled": false }, { "content": "192.0.2.9", "disabled": true }],
    });
    server.patch(ZONE, set).await.unwrap();
    let zone = |zone: &str, key: &str| -> Box<dyn Zone> {
        Box::new(PowerDns::new(host(zone), &server.url(), &secret(key), None).unwrap())
    };
    Server {
        zone: zone(ZONE, pdns::API_KEY),
        wrong: zone(ZONE, "hunter2"),
        missing: zone("example.org", pdns::API_KEY),
        kept: Kept::PowerDns(server),
    }
}

pub(crate) async fn cloudflare_api() -> cloud::Cloudflare {
    testkit::tls::install_provider();
    let api = cloud::Cloudflare::start(ZONE).await.unwrap();
    for (name, kind, content) in [
        ("example.com", "A", "192.0.2.7"),
        ("example.com", "AAAA", "2001:db8::7"),
        ("example.com", "TXT", "\"v=spf1 mx -all\""),
        ("mail.example.com", "A", "192.0.2.8"),
        ("www.example.com", "AAAA", "2001:db8::7"),
        ("www.example.com", "A", "192.0.2.9"),
        ("blog.example.com", "CNAME", "old.hosting.example"),
        ("_stoa.www.example.com", "TXT", "\"of somebody\" \"else\""),
        ("*.wild.example.com", "A", "192.0.2.9"),
        ("sub.example.com", "NS", "ns.elsewhere.example"),
    ] {
        api.add(json!({ "name": name, "type": kind, "content": content, "ttl": 300 }));
    }
    for name in ["example.com", "shop.example.com"] {
        let mail =
            json!({ "name": name, "type": "MX", "content": "mail.example.com", "priority": 10, "ttl": 300 });
        api.add(mail);
    }
    let rule = json!({ "flags": 0, "tag": "issue", "value": "other-ca.example" });
    api.add(json!({ "name": "example.com", "type": "CAA", "data": rule, "ttl": 300 }));
    api.add(json!({
        "name": "www.example.com", "type": "A", "content": "192.0.2.7", "ttl": 1, "proxied": true,
        "comment": "do not touch", "tags": ["owner:ops"],
    }));
    api
}

pub(crate) fn at_cloudflare(api: &cloud::Cloudflare, token: &str) -> Cloudflare {
    Cloudflare::new(host(ZONE), &secret(token), Some(&api.url())).unwrap()
}

pub(crate) async fn cloudflare() -> Server {
    let api = cloudflare_api().await;
    let missing = Cloudflare::new(host("example.org"), &secret(cloud::TOKEN), Some(&api.url())).unwrap();
    Server {
        zone: Box::new(at_cloudflare(&api, cloud::TOKEN)),
        wrong: Box::new(at_cloudflare(&api, "hunter2")),
        missing: Box::new(missing),
        kept: Kept::Cloudflare(api),
    }
}

pub(crate) async fn digitalocean_api() -> ocean::DigitalOcean {
    testkit::tls::install_provider();
    let api = ocean::DigitalOcean::start(ZONE).await.unwrap();
    for (name, kind, data) in [
        ("@", "SOA", "1800"),
        ("@", "NS", "ns1.digitalocean.com"),
        ("@", "A", "192.0.2.7"),
        ("@", "AAAA", "2001:db8::7"),
        ("@", "TXT", "v=spf1 mx -all"),
        ("mail", "A", "192.0.2.8"),
        ("www", "A", "192.0.2.7"),
        ("www", "A", "192.0.2.9"),
        ("www", "AAAA", "2001:db8::7"),
        ("blog", "CNAME", "old.hosting.example"),
        ("_stoa.www", "TXT", "of somebody else"),
        ("*.wild", "A", "192.0.2.9"),
        ("sub", "NS", "ns.elsewhere.example"),
    ] {
        api.add(&json!({ "name": name, "type": kind, "data": data, "ttl": 300 }));
    }
    api.add(&json!({ "name": "@", "type": "CAA", "data": "other-ca.example", "flags": 0, "tag": "issue" }));
    for name in ["@", "shop"] {
        api.add(
            &json!({ "name": name, "type": "MX", "data": "mail.example.com", "priority": 10, "ttl": 300 }),
        );
    }
    api
}

pub(crate) fn at_digitalocean(api: &ocean::DigitalOcean, token: &str) -> DigitalOcean {
    DigitalOcean::new(host(ZONE), &secret(token), Some(&api.url())).unwrap()
}

pub(crate) async fn digitalocean() -> Server {
    let api = digitalocean_api().await;
    let missing = DigitalOcean::new(host("example.org"), &secret(ocean::TOKEN), Some(&api.url())).unwrap();
    Server {
        zone: Box::new(at_digitalocean(&api, ocean::TOKEN)),
        wrong: Box::new(at_digitalocean(&api, "hunter2")),
        missing: Box::new(missing),
        kept: Kept::DigitalOcean(api),
    }
}

/// Adapters for servers at an address where nobody is.
pub(crate) fn away(address: SocketAddr) -> Vec<(Box<dyn Zone>, &'static str)> {
    testkit::tls::install_provider();
    let (url, token) = (format!("http://{address}"), secret("a-token"));
    vec![
        (Box::new(PowerDns::new(host(ZONE), &url, &token, None).unwrap()), "PowerDNS"),
        (Box::new(Cloudflare::new(host(ZONE), &token, Some(&url)).unwrap()), "Cloudflare"),
        (Box::new(DigitalOcean::new(host(ZONE), &token, Some(&url)).unwrap()), "DigitalOcean"),
        (updates(ZONE, address, KEY_NAME, KEY_SECRET), "the DNS server"),
    ]
}
