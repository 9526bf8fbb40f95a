//! Domain Connect at a provider of our own: what it is told is verified by another implementation, and nothing that a
//! zone says leads us into our own networks or holds a creator up.

use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use certd::Guard;
use certd::consent::{Consents, Link, NoLink, Service, Templates};
use certd::dns::{Kind, Lookup, LookupError, Value};
use model::Host;
use model::secret::Secret;
use store::DomainRecord;
use tempfile::TempDir;
use testkit::authority::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::Story;

const STATE: &str = "a-state-of-a-test";

/// How a provider behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// It has neither zone nor template: the zone names somebody else's provider.
    Foreign,
    /// It knows the zone, but not our template.
    Unknowing,
    /// It sends everybody on.
    Sending(u16),
    /// It answers without end.
    Endless,
    /// It says nothing.
    Silent,
}

/// A provider with TLS; counts who comes.
struct Provider {
    port: u16,
    visits: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
    dir: TempDir,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    async fn start(manner: Manner) -> Self {
        testkit::tls::install_provider();
        let authority = Authority::new().unwrap();
        let issued = authority.issue(&["dc.provider.test", "127.0.0.1"]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![issued.der], issued.key)
            .unwrap();
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let port = listener.local_addr().unwrap().port();
        let (visits, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (counted, noted) = (Arc::clone(&visits), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut buffer = [0; 4096];
                    let length = stream.read(&mut buffer).await.unwrap_or(0);
                    let line = String::from_utf8_lossy(&buffer[..length]);
                    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                    noted.lock().unwrap().push(path.clone());
                    let _ = stream.write_all(answer(manner, port, &path).as_bytes()).await;
                    match manner {
                        Manner::Silent => tokio::time::sleep(Duration::from_secs(60)).await,
                        Manner::Endless => while stream.write_all(&[b' '; 16_384]).await.is_ok() {},
                        _ => drop(stream.shutdown().await),
                    }
                });
            }
        });
        Self { port, visits, asked, task, dir }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }

    /// The zone names `host` at this provider's port.
    fn named(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }
}

fn answer(manner: Manner, port: u16, path: &str) -> String {
    let whole = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    };
    let settings = format!(
        r#"{{"providerId":"provider.test","providerName":"Provider","urlSyncUX":"https://pages.provider.test",
            "urlAPI":"https://dc.provider.test:{port}/api"}}"#
    );
    match manner {
        Manner::Silent => String::new(),
        Manner::Endless => "HTTP/1.1 200 OK\r\n\r\n{".to_owned(),
        Manner::Sending(to) => {
            format!("HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1:{to}/\r\ncontent-length: 0\r\n\r\n")
        }
        Manner::Good | Manner::Unknowing if path == "/v2/example.com/settings" => whole("200 OK", &settings),
        Manner::Good if path.starts_with("/api/v2/domainTemplates/providers/stoa.example/services/site") => {
            whole("200 OK", "")
        }
        _ => whole("404 Not Found", ""),
    }
}

/// What a zone says, and where names lead, look by look.
#[derive(Debug)]
struct Names {
    text: String,
    addresses: Vec<IpAddr>,
    looks: AtomicUsize,
}

#[async_trait]
impl Lookup for Names {
    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, LookupError> {
        Ok(match (name, kind) {
            ("_domainconnect.example.com", Kind::Txt) if !self.text.is_empty() => {
                vec![Value::Text(self.text.clone())]
            }
            ("dc.provider.test", Kind::A) => {
                let look = self.looks.fetch_add(1, Ordering::SeqCst);
                self.addresses
                    .get(look)
                    .or(self.addresses.last())
                    .copied()
                    .map(Value::Address)
                    .into_iter()
                    .collect()
            }
            _ => Vec::new(),
        })
    }
}

/// One key for each provider's folder.
fn key(dir: &TempDir) -> String {
    let file = dir.path().join("signing.pem");
    if let Ok(made) = std::fs::read_to_string(&file) {
        return made;
    }
    let made = Command::new("openssl")
        .args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::read_to_string(file).unwrap()
}

fn service(provider: &Provider) -> Service {
    Service {
        provider_id: Host::parse("stoa.example").unwrap(),
        key_host: "_dck1".to_owned(),
        signing_key: Secret::new(key(&provider.dir)),
        return_url: "https://console.stoa.example/v1/connect/return".to_owned(),
        ca_file: Some(provider.dir.path().join("ca.pem")),
    }
}

/// Asks for a link with a zone that says `text`; loopback is let through where `allowed`.
async fn asked(
    provider: &Provider,
    domain: &DomainRecord,
    text: &str,
    (allowed, addresses): (&[&str], &[&str]),
) -> Result<Link, NoLink> {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let names = Arc::new(Names { text: text.to_owned(), addresses, looks: AtomicUsize::new(0) });
    let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
    let guard = Guard::new(Arc::clone(&names) as Arc<dyn Lookup>, allowed);
    Consents::new(service(provider), guard, names).unwrap().link(domain, STATE).await
}

const HERE: (&[&str], &[&str]) = (&["127.0.0.1"], &["127.0.0.1"]);

/// Another implementation verifies a query as a provider does, with the key from the TXT records.
fn verified(dir: &TempDir, records: &[String], signed: &str, signature: &str) -> bool {
    let mut parts: Vec<(u32, &str)> = records
        .iter()
        .map(|record| {
            let (number, rest) = record.strip_prefix("p=").unwrap().split_once(",a=RS256,d=").unwrap();
            (number.parse().unwrap(), rest)
        })
        .collect();
    parts.sort_unstable();
    let text: String = parts.into_iter().map(|(_, part)| part).collect();
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("key.b64"), text).unwrap();
    std::fs::write(file("sig.b64"), signature).unwrap();
    std::fs::write(file("signed"), signed).unwrap();
    let run = |arguments: &[&str]| {
        Command::new("openssl").args(arguments).current_dir(dir.path()).output().unwrap()
    };
    run(&["base64", "-d", "-A", "-in", "key.b64", "-out", "key.der"]);
    run(&["base64", "-d", "-A", "-in", "sig.b64", "-out", "sig"]);
    let done =
        run(&["dgst", "-sha256", "-verify", "key.der", "-keyform", "DER", "-signature", "sig", "signed"]);
    done.status.success()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |rest: &mut std::str::Bytes<'_>| char::from(rest.next().unwrap()).to_digit(16).unwrap();
        bytes.push(if byte == b'%' {
            u8::try_from(hex(&mut rest) * 16 + hex(&mut rest)).unwrap()
        } else {
            byte
        });
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_link_is_signed_so_that_another_implementation_knows_it_as_ours() {
    let provider = Provider::start(Manner::Good).await;
    for (host, service_id, names) in [
        ("www.example.com", "site", vec!["domain", "host", "label", "redirect_uri", "state"]),
        ("example.com", "site-apex", vec!["domain", "proof", "redirect_uri", "state"]),
    ] {
        let story = Story::of(host).await;
        let link = asked(&provider, &story.domain, &provider.named("dc.provider.test"), HERE).await.unwrap();
        assert_eq!(link.provider, "Provider");
        let start = format!(
            "https://pages.provider.test/v2/domainTemplates/providers/stoa.example/services/{service_id}/apply?"
        );
        let query = link.url.strip_prefix(&start).unwrap_or_else(|| panic!("{}", link.url));
        let (rest, signature) = query.split_once("&sig=").unwrap();
        let signed = rest.strip_suffix("&key=_dck1").unwrap();
        let given: Vec<&str> = signed.split('&').map(|pair| pair.split_once('=').unwrap().0).collect();
        assert_eq!(given, names);
        assert!(signed.contains(&format!("state={STATE}")) && signed.contains("domain=example.com"));
        let records = service(&provider).key_records().unwrap();
        assert!(records.len() > 1 && records.iter().all(|record| record.len() <= 255), "{records:?}");
        assert!(verified(&provider.dir, &records, signed, &decoded(signature)));
        let forged = signed.replace("domain=example.com", "domain=example.org");
        assert!(!verified(&provider.dir, &records, &forged, &decoded(signature)));
    }
    let asked = provider.asked.lock().unwrap().clone();
    assert_eq!(asked[0], "/v2/example.com/settings");
    assert!(asked[1].ends_with("/v2/domainTemplates/providers/stoa.example/services/site"), "{asked:?}");
}

#[tokio::test]
async fn whoever_asks_again_and_again_makes_us_ask_once() {
    let story = Story::of("www.example.com").await;
    for (manner, requests) in [(Manner::Good, 2), (Manner::Unknowing, 2), (Manner::Foreign, 1)] {
        let provider = Provider::start(manner).await;
        let text = provider.named("dc.provider.test");
        let addresses = vec!["127.0.0.1".parse().unwrap()];
        let names = Arc::new(Names { text, addresses, looks: AtomicUsize::new(0) });
        let allowed = HERE.0.iter().map(|text| text.parse().unwrap()).collect();
        let guard = Guard::new(Arc::clone(&names) as Arc<dyn Lookup>, allowed);
        let consents = Consents::new(service(&provider), guard, names).unwrap();
        let mut links = Vec::new();
        for state in ["one", "two", "three"] {
            links.push(consents.link(&story.domain, state).await);
        }
        assert_eq!(provider.visits(), requests, "{manner:?}");
        assert_eq!(
            links.iter().filter(|link| link.is_ok()).count(),
            if manner == Manner::Good { 3 } else { 0 }
        );
        for (link, state) in links.iter().flatten().zip(["one", "two", "three"]) {
            assert!(link.url.contains(&format!("&state={state}&")), "each is good once: {}", link.url);
        }
    }
}

#[tokio::test]
async fn whoever_is_no_provider_of_the_zone_means_by_hand() {
    let story = Story::of("www.example.com").await;
    for manner in [Manner::Foreign, Manner::Unknowing, Manner::Endless] {
        let provider = Provider::start(manner).await;
        let refused = asked(&provider, &story.domain, &provider.named("dc.provider.test"), HERE).await;
        assert!(refused.is_err() && provider.visits() > 0, "{manner:?} {refused:?}");
    }
    let provider = Provider::start(Manner::Good).await;
    for text in
        ["", "not a host", "user@dc.provider.test", "dc.provider.test/../x", "dc.provider.test?x", "/x"]
    {
        let refused = asked(&provider, &story.domain, text, HERE).await;
        assert!(refused.is_err(), "{text}");
    }
    assert_eq!(provider.visits(), 0);
}

#[tokio::test]
async fn a_provider_that_says_nothing_holds_a_creator_up_for_four_seconds() {
    let (provider, story) = (Provider::start(Manner::Silent).await, Story::of("www.example.com").await);
    let begun = tokio::time::Instant::now();
    let refused = asked(&provider, &story.domain, &provider.named("dc.provider.test"), HERE).await;
    assert_eq!(refused, Err(NoLink::Slow));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nothing_that_a_zone_says_leads_into_our_own_networks() {
    let (provider, story) = (Provider::start(Manner::Good).await, Story::of("www.example.com").await);
    let nowhere: &[&str] = &[];
    for host in ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.1]", "dc.provider.test"] {
        let refused = asked(&provider, &story.domain, &provider.named(host), (nowhere, &["127.0.0.1"])).await;
        assert!(refused.is_err(), "{host}");
    }
    // The first look finds what is let through, and each later one what is not.
    let rebound: (&[&str], &[&str]) = (&["127.0.0.2"], &["127.0.0.2", "127.0.0.1"]);
    let text = provider.named("dc.provider.test");
    for _ in 0..3 {
        assert!(asked(&provider, &story.domain, &text, rebound).await.is_err());
    }
    assert_eq!(provider.visits(), 0);
    let sending = Provider::start(Manner::Sending(provider.port)).await;
    let refused = asked(&sending, &story.domain, &sending.named("dc.provider.test"), HERE).await;
    assert!(refused.is_err());
    assert_eq!((sending.visits(), provider.visits()), (1, 0), "no redirect is followed");
}

#[tokio::test]
async fn our_templates_have_everything_of_ours_written_in_them() {
    let provider = Provider::start(Manner::Good).await;
    let zone = Host::parse("apps.stoa.example").unwrap();
    let templates = Templates::of(&service(&provider), &zone, &["192.0.2.1".parse().unwrap()]).unwrap();
    let record = &templates.site["records"][0];
    assert_eq!(
        (&record["type"], &record["pointsTo"]),
        (&"CNAME".into(), &"%label%.cname.apps.stoa.example".into())
    );
    assert_eq!(templates.site["hostRequired"], true);
    assert_eq!(templates.site["syncPubKeyDomain"], "stoa.example");
    assert_eq!(templates.site["syncRedirectDomain"], "console.stoa.example");
    let apex = templates.apex.unwrap();
    assert_eq!(apex["records"][0]["pointsTo"], "192.0.2.1");
    assert_eq!(apex["records"][1]["data"], "stoa-proof=%proof%");
    assert_eq!(templates.key_name, "_dck1.stoa.example");
    let story = Story::of("www.example.com").await;
    let label = story.domain.target.cname.as_str().split('.').next().unwrap().to_owned();
    assert_eq!(story.domain.target.cname.as_str(), format!("{label}.cname.apps.localhost"));
}
