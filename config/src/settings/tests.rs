use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{AccessLog, DnsProvider, LogFormat, LogLevel, Role, TsigAlgorithm};

const EXAMPLE: &str = include_str!("../../../stoa.example.toml");

fn read(text: &str) -> Result<Settings, ConfigErrors> {
    parse(text, None, Overrides::default())
}

fn settings(text: &str) -> Settings {
    read(text).unwrap()
}

/// The errors of `text`, each as `line:column: message`.
fn faults(text: &str) -> Vec<String> {
    let lines = read(text).unwrap_err().to_string();
    lines.lines().map(|line| line.trim_start_matches("configuration:").trim_start().to_owned()).collect()
}

/// The example with lines uncommented that begin with `mark` and name a key or a table.
fn uncommented(mark: &str) -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix(mark) {
        Some(rest) if rest.starts_with('[') || is_assignment(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_assignment(line: &str) -> bool {
    let key = line.split_once(" = ").map_or("", |(key, _)| key);
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(settings(EXAMPLE), settings(""));
    assert_eq!(settings(&uncommented("#")), settings(""));
}

#[test]
fn the_example_names_every_setting_and_no_other() {
    let whole = uncommented("#")
        .lines()
        .map(|line| {
            let rest = line.strip_prefix("# ").unwrap_or(line);
            if rest.starts_with('[') || is_assignment(rest) { rest.to_owned() } else { String::new() }
        })
        .collect::<Vec<_>>()
        .join("\n");
    let table = DeTable::parse(&whole).unwrap();
    let sections: [(&str, &[&str]); 9] = [
        ("edge", &edge::KEYS),
        ("api", &api::KEYS),
        ("store", &store::KEYS),
        ("acme", &acme::KEYS),
        ("dns", &dns::KEYS),
        ("connect", &connect::KEYS),
        ("control", &control::KEYS),
        ("local_ca", &local_ca::KEYS),
        ("log", &log::KEYS),
    ];
    let inner = table.get_ref().get("acme").and_then(|acme| acme.get_ref().as_table()?.get("dns"));
    let mut written: Vec<&str> = Vec::new();
    written.extend(inner.unwrap().get_ref().as_table().unwrap().keys().map(|key| key.get_ref().as_ref()));
    let mut known = acme::DNS_KEYS.to_vec();
    written.sort_unstable();
    known.sort_unstable();
    assert_eq!(written, known, "[acme.dns]");
    for (name, keys) in sections {
        let section = table.get_ref().get(name).and_then(|value| value.get_ref().as_table()).unwrap();
        let mut written: Vec<&str> = section.keys().map(|key| key.get_ref().as_ref()).collect();
        let mut known = keys.to_vec();
        written.sort_unstable();
        known.sort_unstable();
        assert_eq!(written, known, "[{name}]");
    }
    assert_eq!(table.get_ref().len(), KEYS.len());
}

#[test]
fn what_is_given_is_what_is_set() {
    let settings = settings(
        r#"
        data = "there"
        reload_seconds = 8
        [edge]
        http = []
        https = ["[::]:443", "192.0.2.1:8443"]
        zones = ["Apps.Example.Com"]
        metrics = "127.0.0.1:1"
        workers = 3
        public = ["192.0.2.1", "2001:db8::1"]
        access_log = "-"
        max_connections = 5
        max_connections_per_address = 6
        max_handshakes = 7
        proxy_protocol = ["10.0.0.0/8", "127.0.0.1"]
        trusted_proxies = ["2001:db8::/32"]
        drain_seconds = 0
        [api]
        listen = "127.0.0.1:2"
        [store]
        url = "postgres://u:hunter2@db/stoa"
        [dns]
        resolvers = ["192.0.2.53", "127.0.0.1:8053"]
        [local_ca]
        lifetime_seconds = 60
        [log]
        level = "debug"
        format = "json"
        "#,
    );
    assert_eq!((&settings.data, settings.reload), (&PathBuf::from("there"), Duration::from_secs(8)));
    assert_eq!(settings.edge.zones, [model::Host::parse("apps.example.com").unwrap()]);
    assert_eq!((settings.edge.public_https_port, settings.edge.hsts, settings.edge.workers), (443, true, 3));
    assert_eq!((settings.edge.max_connections_per_address, settings.edge.max_handshakes), (6, 7));
    assert_eq!(settings.edge.proxy_protocol, ["10.0.0.0/8", "127.0.0.1"].map(|text| text.parse().unwrap()));
    assert_eq!(settings.edge.trusted_proxies, ["2001:db8::/32".parse().unwrap()]);
    assert_eq!(settings.edge.access_log, AccessLog::Stdout);
    assert_eq!(settings.edge.drain, Duration::ZERO);
    assert_eq!(settings.dns.resolvers[0].to_string(), "192.0.2.53:53");
    assert_eq!(settings.local_ca.lifetime, Duration::from_secs(60));
    assert_eq!((settings.log.level, settings.log.format), (LogLevel::Debug, LogFormat::Json));
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert_eq!(settings.store.url.reveal(), "postgres://u:hunter2@db/stoa");
}

#[test]
fn what_follows_from_the_data_directory_moves_with_it() {
    let overrides = Overrides { data: Some("elsewhere".into()) };
    let settings = parse("data = \"here\"", None, overrides).unwrap();
    assert_eq!(settings.data, PathBuf::from("elsewhere"));
    assert_eq!(settings.store.url.reveal(), "sqlite:elsewhere/stoa.db");
    assert_eq!(settings.edge.access_log, AccessLog::File("elsewhere/access.log".into()));
}

#[test]
fn outside_development_no_address_is_guessed() {
    let edge = settings("[edge]\nzones = [\"apps.example.com\"]").edge;
    assert!(edge.public.is_empty() && edge.hsts);
}

#[test]
fn every_fault_is_told_at_once_with_its_place() {
    let text = "dta = \"x\"\n[edge]\nhttp = [\"localhost:80\"]\nworkers = 0\n[log]\nlevel = \"loud\"\n";
    assert_eq!(
        faults(text),
        [
            "1:1: unknown key `dta`: did you mean `data`?",
            "3:9: `edge.http` has `localhost:80`: write an address and a port, 127.0.0.1:8080 or [::]:443",
            "4:11: `edge.workers` is 0: write a whole number from 1 to 1024",
            "6:9: `log.level` is `loud`: write error, warn, info, debug or trace",
        ]
    );
}

/// One fault each, and what is said of it.
const FAULTS: &[(&str, &str)] = &[
    ("edge = 1", "1:8: `edge` is an integer: write it as a table, [edge]"),
    (
        "[edge]\nhttps = []",
        "2:9: `edge.https` is empty: write at least one, e.g. 127.0.0.1:8443, or remove it for the default",
    ),
    ("[edge]\nhttps = \"a\"", "2:9: `edge.https` is a string: write a list of texts, [\"…\"]"),
    ("[edge]\nhttp = [80]", "2:9: `edge.http` has an integer: write texts in quotes"),
    ("[edge]\nhttp = [\"127.0.0.1:0\"]", "2:9: `edge.http` has `127.0.0.1:0`: write a port from 1 to 65535"),
    (
        "[edge]\nzones = []",
        "2:9: `edge.zones` is empty: write at least one, e.g. apps.localhost, or remove it for the default",
    ),
    ("[edge]\nzones = [\"a..b\"]", "2:10: `edge.zones`: host `a..b` has an empty label"),
    (
        "[edge]\nzones = [\"localhost\"]",
        "2:10: `edge.zones`: `localhost` has one label: write a name below it, e.g. apps.localhost",
    ),
    ("[edge]\nzones = [\"a.test\", \"A.test.\"]", "2:20: `edge.zones`: `a.test` stands there twice"),
    (
        "[edge]\nzones = [\"a.test\", \"b.a.test\"]",
        "2:20: `edge.zones`: `b.a.test` and `a.test` lie within each other: keep one",
    ),
    (
        "[edge]\ntrusted_proxies = [\"10.0.0.1/8\"]",
        "2:20: `edge.trusted_proxies`: `10.0.0.1/8` has bits behind its prefix: write 10.0.0.0/8 for the network, or the address alone",
    ),
    (
        "[edge]\nproxy_protocol = [\"lb.example.com\"]",
        "2:19: `edge.proxy_protocol`: `lb.example.com` is no network: write an address, or a network with its prefix, e.g. 10.0.0.0/8",
    ),
    ("[edge]\npublic = [\"0.0.0.0\"]", "2:11: `edge.public` has `0.0.0.0`, which no domain can point at"),
    ("[edge]\nhsts = \"yes\"", "2:8: `edge.hsts` is a string: write true or false"),
    ("[edge]\nworkers = -1", "2:11: `edge.workers` is -1: write a whole number from 1 to 1024"),
    (
        "[edge]\nmetrics = \"0.0.0.0:8443\"",
        "2:11: `edge.metrics` listens on 0.0.0.0:8443, but `edge.https` already listens on 127.0.0.1:8443: give one another port",
    ),
    (
        "[api]\nlisten = \"127.0.0.1:8080\"",
        "2:10: `api.listen` listens on 127.0.0.1:8080, but `edge.http` already listens on 127.0.0.1:8080: give one another port",
    ),
    (
        "[store]\nurl = \"mysql://a:pw@b/c\"",
        "2:7: `store.url` is no address of a database: write sqlite:stoa-data/stoa.db or postgres://user@host/database",
    ),
    (
        "[store]\nurl = \"postgres://a:pw@b\"",
        "2:7: `store.url` names no database: write postgres://user@host/database",
    ),
    (
        "[store]\nurl = \"sqlite::memory:\"",
        "2:7: `store.url` would keep nothing over a restart: write sqlite:stoa-data/stoa.db",
    ),
    (
        "[acme]\ncontact = \"mailto:a@b.test\"",
        "1:1: [acme] has no `directory`: name one, e.g. https://acme-v02.api.letsencrypt.org/directory, or remove [acme]",
    ),
    (
        "[acme]\ndirectory = \"http://a.test\"",
        "2:13: `acme.directory` is `http://a.test`: write an https:// address",
    ),
    (
        "[acme]\ndirectory = \"https://a.test\"\ncontact = \"ops@a.test\"",
        "3:11: `acme.contact` is `ops@a.test`: write mailto:ops@example.com",
    ),
    (
        "[acme]\ndirectory = \"https://a.test\"\neab_key_id = \"kid-1\"",
        "3:14: `acme.eab_key_id` and `acme.eab_hmac_key` belong together: write both, or none",
    ),
    (
        "[acme]\ndirectory = \"https://a.test\"\nfallback = \"https://b.test\"",
        "3:12: `acme.fallback` is a string: write a table, [[acme.fallback]]",
    ),
    (
        "[acme]\ndirectory = \"https://a.test\"\n[[acme.fallback]]\ndirectory = \"https://a.test\"",
        "3:1: `acme.fallback` names `https://a.test` twice: once is enough",
    ),
    (
        "[acme]\ndirectory = \"https://a.test\"\n[[acme.fallback]]\ndirectory = \"http://b.test\"",
        "4:13: `acme.fallback.directory` is `http://b.test`: write an https:// address",
    ),
    (
        "[acme]\ndirectory = \"https://a.test\"\n[[acme.fallback]]\nprofiles = []",
        "3:1: [[acme.fallback]] has no `directory`: name the authority's, or remove it",
    ),
    (
        "[dns]\nresolvers = []",
        "2:13: `dns.resolvers` is empty: write at least one, e.g. 127.0.0.1:53, or remove it for the default",
    ),
    (
        "[connect]\nnetworks = [\"10.0.0.1/8\"]",
        "2:13: `connect.networks`: `10.0.0.1/8` has bits behind its prefix: write 10.0.0.0/8 for the network, or the address alone",
    ),
    (
        "[connect]\nkey_host = \"a.b\"\nprovider_id = \"example.com\"\nsigning_key = { env = \"PATH\" }\nreturn_url = \"https://a.test/x\"",
        "2:12: `connect.key_host` is `a.b`: write one label, e.g. _dck1",
    ),
    ("[dns]\nresolver = []", "2:1: unknown key `dns.resolver`: did you mean `resolvers`?"),
    ("[api]\nport = 1", "2:1: unknown key `api.port`: there are listen"),
    (
        "[limits]\nredis = \"redis://a\"",
        "2:9: `limits.redis`: limits that several edges share come with a later version; remove it, each edge limits for itself",
    ),
    (
        "[billing]\nstripe_key = { env = \"K\" }",
        "2:14: `billing.stripe_key`: billing comes with a later version; remove it, usage is metered all the same",
    ),
    ("data = \"\"", "1:8: `data` is empty: name a directory, e.g. stoa-data"),
    ("data = \"Cargo.toml\"", "1:8: `data` is `Cargo.toml`, which is not a directory: name another"),
    ("data = \"a\"\ndata = \"b\"", "2:1: duplicate key"),
];

#[test]
fn each_fault_names_the_value_and_what_to_do() {
    for (text, fault) in FAULTS {
        assert_eq!(faults(text), [*fault], "{text}");
    }
}

#[test]
fn acme_needs_the_cleartext_listener() {
    let text = "[edge]\nhttp = []\n[acme]\ndirectory = \"https://a.test\"";
    assert_eq!(
        faults(text),
        ["2:8: `edge.http` is empty, but [acme] needs it: the authority asks for its proof on port 80"]
    );
}

#[test]
fn names_proved_in_a_handshake_need_no_cleartext_listener() {
    let text =
        |kind| format!("[edge]\nhttp = []\n[acme]\ndirectory = \"https://a.test\"\nchallenge = \"{kind}\"");
    assert!(settings(&text("tls-alpn-01")).edge.http.is_empty());
    let fault = "5:13: `acme.challenge` is `http-02`: write http-01, tls-alpn-01 or dns-01".to_owned();
    assert!(faults(&text("http-02")).contains(&fault), "{:?}", faults(&text("http-02")));
}

/// An `[acme.dns]` after three lines, with a challenge.
fn acme_dns(challenge: &str, lines: &str) -> String {
    format!("[acme]\ndirectory = \"https://a.test\"\nchallenge = \"{challenge}\"\n{lines}")
}

#[test]
fn the_zone_for_texts_is_read_whole() {
    let lines = "[acme.dns]\nprovider = \"rfc2136\"\nzone = \"Example.com\"\nserver = \"192.0.2.53:5353\"
        key_name = \"stoa-key\"\nalgorithm = \"hmac-sha512\"\nsecret = { env = \"PATH\" }
        name_servers = [\"192.0.2.1\", \"192.0.2.2:5353\"]";
    let text = format!("[edge]\nhttp = []\n{}", acme_dns("dns-01", lines));
    let acme = settings(&text).acme.unwrap();
    let dns = acme.dns.unwrap();
    assert_eq!((acme.challenge, dns.zone.as_str()), (ChallengeKind::Dns01, "example.com"));
    let servers: Vec<String> = dns.name_servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.1:53", "192.0.2.2:5353"]);
    let DnsProvider::Rfc2136 { server, key_name, algorithm, .. } = &dns.provider else { panic!("{dns:?}") };
    let shown = (server.as_str(), key_name.as_str(), *algorithm);
    assert_eq!(shown, ("192.0.2.53:5353", "stoa-key", TsigAlgorithm::HmacSha512));
    let token = "[acme.dns]\nprovider = \"cloudflare\"\nzone = \"a.test\"\nsecret = { env = \"PATH\" }";
    let dns = settings(&acme_dns("dns-01", token)).acme.unwrap().dns.unwrap();
    assert!(matches!(dns.provider, DnsProvider::Cloudflare { url: None, .. }) && dns.name_servers.is_empty());
    assert!(format!("{dns:?}").contains("***"), "{dns:?}");
}

#[test]
fn what_is_wrong_with_the_zone_for_texts_is_named() {
    let sound = "zone = \"a.test\"\nsecret = { env = \"PATH\" }\n";
    let cloud = format!("[acme.dns]\n{sound}provider = \"cloudflare\"\n");
    let told = |challenge: &str, lines: &str| faults(&acme_dns(challenge, lines)).join("; ");
    let missing =
        "3:13: `acme.challenge` is `dns-01`, but there is no [acme.dns]: name the zone to write into";
    assert_eq!(told("dns-01", ""), missing);
    let idle = "4:1: [acme.dns] is for `acme.challenge = \"dns-01\"`: write that, or remove it";
    assert_eq!(told("http-01", &cloud), idle);
    for (line, fault) in [
        ("key_nam = \"k\"", "unknown key `acme.dns.key_nam`: did you mean `key_name`?"),
        ("server = \"ns1:53\"", "`acme.dns.server` is nothing that cloudflare has: remove it"),
        (
            "url = \"http://dns.test\"",
            "`acme.dns.url` is `http://dns.test`: write an https:// address, or http:// on this machine",
        ),
        ("name_servers = [\"ns1\"]", "`acme.dns.name_servers`"),
    ] {
        let said = told("dns-01", &format!("{cloud}{line}"));
        assert!(said.contains(fault) && !said.contains("; "), "{said}");
    }
    for (lines, fault) in [
        (
            "provider = \"bind\"",
            "`acme.dns.provider` is `bind`: write powerdns, rfc2136, cloudflare or digitalocean",
        ),
        (
            "provider = \"powerdns\"",
            "[acme.dns] has no `url`, which powerdns needs: write url = \"http://127.0.0.1:8081\"",
        ),
        (
            "provider = \"rfc2136\"\nkey_name = \"k\"\nserver = \"ns1\"",
            "`acme.dns.server` is `ns1`: write the primary server with its port, e.g. 192.0.2.53:53",
        ),
        (
            "provider = \"rfc2136\"\nkey_name = \"k\"\nserver = \"ns1:53\"\nalgorithm = \"md5\"",
            "`acme.dns.algorithm` is `md5`: write hmac-sha256, hmac-sha384 or hmac-sha512",
        ),
    ] {
        let said = told("dns-01", &format!("[acme.dns]\n{sound}{lines}"));
        assert!(said.contains(fault) && !said.contains("; "), "{said}");
    }
    let bare = told("dns-01", "[acme.dns]\nprovider = \"cloudflare\"\nsecret = \"hunter2\"");
    assert!(bare.contains("[acme.dns] has no `zone`: write zone = \"example.com\""), "{bare}");
    assert!(
        bare.contains("`acme.dns.secret` must not stand in the file") && !bare.contains("hunter2"),
        "{bare}"
    );
}

#[test]
fn authorities_are_asked_in_the_order_in_which_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eab");
    std::fs::write(&file, "c2VjcmV0\n").unwrap();
    let text = format!(
        "[acme]\ndirectory = \"https://a.test\"\ncontact = \"mailto:ops@a.test\"\nprofiles = [\"tlsserver\"]
         [[acme.fallback]]\ndirectory = \"https://b.test\"\neab_key_id = \"kid-1\"
         eab_hmac_key = {{ file = \"{}\" }}
         [[acme.fallback]]\ndirectory = \"https://c.test\"\ncontact = \"mailto:c@a.test\"",
        file.display()
    );
    let acme = settings(&text).acme.unwrap();
    assert_eq!((acme.profiles.as_slice(), acme.external.is_none()), (&["tlsserver".to_owned()][..], true));
    assert!(!acme.dns_persist, "a draft is off unless somebody wants it");
    let [second, third] = acme.fallbacks.as_slice() else { panic!("{:?}", acme.fallbacks) };
    assert_eq!((second.directory.as_str(), third.directory.as_str()), ("https://b.test", "https://c.test"));
    assert_eq!(second.contact.as_deref(), Some("mailto:ops@a.test"), "the first one's");
    assert_eq!(third.contact.as_deref(), Some("mailto:c@a.test"));
    let external = second.external.as_ref().unwrap();
    assert_eq!((external.key_id.as_str(), external.hmac_key.reveal()), ("kid-1", "c2VjcmV0"));
}

#[test]
fn a_named_file_must_be_readable_and_hold_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("root.pem");
    let shown = file.display().to_string();
    let text = format!("[acme]\ndirectory = \"https://a.test\"\nca_file = \"{shown}\"");
    assert!(faults(&text)[0].starts_with(&format!("3:11: `acme.ca_file`: cannot read `{shown}`: ")));
    std::fs::write(&file, "nothing").unwrap();
    assert_eq!(
        faults(&text),
        [format!(
            "3:11: `acme.ca_file`: `{shown}` has no certificate: name a PEM file with the trust anchor"
        )]
    );
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----").unwrap();
    assert_eq!(settings(&text).acme.unwrap().ca_file, Some(file));
}

#[test]
fn a_secret_comes_from_a_file_or_the_environment_and_never_from_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, " sk_1\n").unwrap();
    let with = |key: &str| format!("[control]\nurl = \"https://c.test/\"\nkey = {key}");
    let control = settings(&with(&format!("{{ file = \"{}\" }}", file.display()))).control.unwrap();
    assert_eq!((control.key.reveal(), control.url.as_str()), ("sk_1", "https://c.test"));
    let control = settings(&with("{ env = \"CARGO_PKG_NAME\" }")).control.unwrap();
    assert_eq!(control.key.reveal(), "config");
    for (key, fault) in [
        (
            "\"sk_1\"",
            "`control.key` must not stand in the file: write { env = \"NAME\" } or { file = \"path\" }",
        ),
        ("{}", "`control.key`: write either { env = \"NAME\" } or { file = \"path\" }"),
        ("{ env = \"a=b\" }", "`control.key`: the name of a variable has letters, digits and underscores"),
        (
            "{ env = \"STOA_NOWHERE\" }",
            "`control.key`: the environment variable `STOA_NOWHERE` is not set, or empty",
        ),
    ] {
        assert_eq!(faults(&with(key)), [format!("3:7: {fault}")]);
    }
}

#[test]
fn private_keys_do_not_travel_in_the_clear() {
    let with = |url: &str| format!("[control]\nurl = \"{url}\"\nkey = {{ env = \"CARGO_PKG_NAME\" }}");
    for url in ["http://127.0.0.1:8090", "http://[::1]:8090", "http://localhost:8090", "https://c.test"] {
        assert_eq!(settings(&with(url)).control.unwrap().url, url);
    }
    assert_eq!(
        faults(&with("http://192.0.2.1")),
        ["2:7: `control.url` is `http://192.0.2.1`: private keys do not travel in the clear, write https://"]
    );
    assert!(faults(&with("https://u:pw@c.test")).iter().all(|fault| !fault.contains("pw")));
}

#[test]
fn a_role_gets_what_it_needs_or_says_what_is_missing() {
    let alone = settings("");
    assert!(alone.for_role(Role::Up).is_ok() && alone.for_role(Role::Control).is_ok());
    let fault = alone.for_role(Role::Edge).unwrap_err().to_string();
    assert!(fault.contains("needs [control] with `url` and `key`"), "{fault}");
    let edge = settings("[control]\nurl = \"https://c.test\"\nkey = { env = \"CARGO_PKG_NAME\" }");
    assert!(edge.for_role(Role::Edge).is_ok());
    assert!(edge.for_role(Role::Up).unwrap_err().to_string().contains("remove it"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for (path, part) in [("nowhere.toml", "cannot read `nowhere.toml`: "), ("src", "it is not a file")] {
        let fault = load(Some(Path::new(path)), Overrides::default()).unwrap_err().to_string();
        assert!(fault.starts_with(&format!("{path}: ")) && fault.contains(part), "{fault}");
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_named_with_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stoa.toml");
    std::fs::write(&file, b"data = \"\xff\"").unwrap();
    let fault = load(Some(&file), Overrides::default()).unwrap_err().to_string();
    assert!(fault.ends_with("byte 8 is not UTF-8"), "{fault}");
}

/// Lines that look like a configuration, so that the deeper checks are reached.
fn line() -> impl Strategy<Value = String> {
    let keys = KEYS.into_iter().chain(edge::KEYS).chain(acme::KEYS).chain(["url", "key", "redis", "x"]);
    let key = prop::sample::select(keys.collect::<Vec<_>>());
    let value = prop_oneof![
        Just("\"127.0.0.1:80\"".to_owned()),
        Just("[\"a.b\", 1, []]".to_owned()),
        Just("{ env = 1, file = \"/dev/zero\" }".to_owned()),
        "[0-9_-]{1,25}",
        "\"\\PC{0,12}\"",
    ];
    prop_oneof![
        key.clone().prop_map(|key| format!("[{key}]")),
        (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = read(&text).map_err(|errors| errors.to_string());
    }

    #[test]
    fn nothing_that_looks_like_a_configuration_panics(lines in prop::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        if let Err(errors) = read(&text) {
            prop_assert!(!errors.errors.is_empty());
        }
    }
}
