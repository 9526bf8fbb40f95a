//! Whoever comes by the database, a backup of it, the logs or an edge's files has no key: after real flows nothing of
//! any private key, of the keys that seal, or of a provider's secret is in them, in any form.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::change::{Batch, Object};
use model::seal::{EDGE_FEED_PURPOSE, KeyRing, Sealed, SealingKey};
use serde_json::json;
use testkit::api::text;
use testkit::authority::Authority;
use testkit::postgres::Postgres;
use testkit::stoa::Stoa;
use testkit::wait;

use crate::installation::{Acme, connect};

/// The secret of a DNS provider, as the operator gives it.
const DNS_SECRET: &str = "dns-secret-0f3a9c61e7d24b58";
/// What stands in the data directory in the clear, for the operator alone.
const KEPT_IN_THE_CLEAR: [&str; 2] = ["master-key", "platform-key"];
/// Where the 32 bytes of a P-256 key stand in its PKCS #8 form (RFC 5208, RFC 5915).
const SCALAR: std::ops::Range<usize> = 36..68;

/// A secret and what it is, for the message.
type Named = (String, Vec<u8>);

/// As it may be written down: bytes, hexadecimal digits, base64 of two kinds, lines of PEM, a list of numbers.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let base64 = STANDARD.encode(secret);
    let lines = base64.as_bytes().chunks(64).filter(|line| line.len() == 64).map(<[u8]>::to_vec);
    let texts = [
        hex.to_uppercase(),
        hex,
        base64.trim_end_matches('=').to_owned(),
        URL_SAFE_NO_PAD.encode(secret),
        numbers.join(","),
        numbers.join(", "),
    ];
    lines.chain([secret.to_vec()]).chain(texts.map(String::into_bytes)).collect()
}

fn has(bytes: &[u8], secret: &[u8]) -> bool {
    forms(secret).iter().any(|form| bytes.windows(form.len()).any(|part| part == form))
}

/// Everything of an installation that somebody may come by.
struct Spoils(Vec<(String, Vec<u8>)>);

impl Spoils {
    fn of(stoa: &Stoa, dump: Option<Vec<u8>>) -> Result<Self> {
        let mut files = Vec::new();
        for path in files_below(stoa.data())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !KEPT_IN_THE_CLEAR.contains(&name.as_str()) {
                files.push((name, std::fs::read(&path)?));
            }
        }
        files.push(("log".to_owned(), stoa.log().into_bytes()));
        files.extend(dump.map(|dump| ("dump".to_owned(), dump)));
        Ok(Self(files))
    }

    /// The names of those that have the secret in any form.
    fn with(&self, secret: &[u8]) -> Vec<&str> {
        self.0.iter().filter(|(_, bytes)| has(bytes, secret)).map(|(name, _)| name.as_str()).collect()
    }

    /// Sealed values that stand in them whole.
    fn sealed(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (_, bytes) in &self.0 {
            let text = String::from_utf8_lossy(bytes);
            for (at, _) in text.match_indices("v1.") {
                let word: String = text[at..]
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
                    .collect();
                found.insert(word);
            }
        }
        found
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?)
        } else if path.is_file() {
            files.push(path)
        }
    }
    Ok(files)
}

/// The secrets that edges are told: keys of certificates and of tickets.
async fn told(stoa: &Stoa) -> Result<Vec<Named>> {
    let api = stoa.api()?;
    let secret = text(&api.post("/keys", json!({ "scope": "edge", "name": "look" })).await?.ok()?, "secret")?;
    let key = SealingKey::derive(secret.as_bytes(), EDGE_FEED_PURPOSE)?;
    let batch: Batch = serde_json::from_value(api.with_key(&secret).get("/edge/changes").await?.ok()?)?;
    let mut secrets = Vec::new();
    for mut object in batch.changes.into_iter().filter_map(|change| change.object) {
        let is_certificate = matches!(object, Object::Certificate(_));
        let Some((context, sealed)) = object.secret() else { continue };
        let clear = key.open(&context, sealed)?.to_vec();
        if is_certificate {
            secrets.push((format!("{context}, the number"), clear[SCALAR].to_vec()));
        }
        secrets.push((context, clear));
    }
    Ok(secrets)
}

/// The secrets of the control plane itself: what seals, our account's key, the local authority's.
fn own(stoa: &Stoa, spoils: &Spoils, directory: &str) -> Result<Vec<Named>> {
    let keys = KeyRing::parse(&std::fs::read_to_string(stoa.data().join("master-key"))?)?;
    let mut secrets = vec![("dns secret".to_owned(), DNS_SECRET.as_bytes().to_vec())];
    for key in keys.keys() {
        secrets.push(("master key".to_owned(), bytes_of(&key)));
    }
    for context in ["edge-key".to_owned(), "local-ca-key".to_owned(), format!("acme-account-key/{directory}")]
    {
        let opened = |text: &String| keys.open(&context, &text.parse::<Sealed>().ok()?).ok();
        let found: Vec<_> = spoils.sealed().iter().filter_map(opened).collect();
        let clear = found.first().with_context(|| format!("no value is sealed as `{context}`"))?.to_vec();
        match context.as_str() {
            "edge-key" => {
                secrets.push((context, bytes_of(&SealingKey::from_hex(std::str::from_utf8(&clear)?)?)))
            }
            _ => {
                secrets.extend([(format!("{context}, the number"), clear[SCALAR].to_vec()), (context, clear)])
            }
        }
    }
    Ok(secrets)
}

fn bytes_of(key: &SealingKey) -> Vec<u8> {
    let hex = key.to_hex();
    let digit = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    hex.as_bytes().chunks(2).filter_map(digit).collect()
}

/// Issuance, an upload, another master key; then the search. `dump` gives what a backup of the database has.
async fn search(rest: &str, dump: impl AsyncFn() -> Result<Option<Vec<u8>>>) -> Result<()> {
    let rest = format!(
        "[acme.dns]\nprovider = \"powerdns\"\nzone = \"example.org\"\nurl = \"http://127.0.0.1:1\"\n\
         secret = {{ env = \"STOA_DNS_SECRET\" }}\n{rest}"
    );
    let builder = Stoa::builder().environment("STOA_DNS_SECRET", DNS_SECRET);
    let (acme, installed) = Acme::configured("dns-01", None, builder, &rest).await?;
    let (stoa, app) = (&installed.stoa, &installed.app);
    let domain = app.domain("shop.example.test").await?;
    connect(&acme.dns, &domain).await?;
    domain.until("live", wait::LONG).await?;
    let uploaded = Authority::new()?.issue(&[app.hostname.as_str()])?;
    app.upload(&uploaded.chain_pem, &uploaded.key_pem).await?.ok()?;
    // The control: what is planted in a database is found there.
    let planted = rand::random::<[u8; 32]>();
    let name: String = planted.iter().map(|byte| format!("{byte:02x}")).collect();
    stoa.api()?.post("/tenants", json!({ "name": name, "slug": "planted" })).await?.ok()?;

    let directory = acme.directory().to_owned();
    let spoils = Spoils::of(stoa, dump().await?)?;
    let places = spoils.with(&planted);
    ensure!(places.iter().any(|place| *place == "dump" || place.starts_with("stoa.db")), "{places:?}");
    let mut secrets = told(stoa).await?;
    let certificates = secrets.iter().filter(|(name, _)| name.starts_with("certificate-key/")).count();
    ensure!(
        certificates >= 6,
        "{certificates} halves of certificates' keys: the zone's, the domain's, the upload"
    );
    ensure!(
        secrets.iter().any(|(_, clear)| clear.as_slice() == uploaded.key.secret_der()),
        "the upload's own key"
    );
    secrets.extend(own(stoa, &spoils, &directory)?);
    for (name, secret) in &secrets {
        let places = spoils.with(secret);
        ensure!(places.is_empty(), "{name} is in {places:?}");
    }
    Ok(())
}

#[test]
fn a_key_is_found_in_whatever_form_it_is_written() -> Result<()> {
    let issued = Authority::new()?.issue(&["planted.test"])?;
    let der = issued.key.secret_der();
    ensure!(has(issued.key_pem.as_bytes(), der));
    ensure!(has(issued.key_pem.replace('\n', "\\n").as_bytes(), der), "as in JSON or in a dump");
    for form in forms(der) {
        ensure!(has(&[b"before", form.as_slice(), b"after"].concat(), der));
    }
    ensure!(has(der, &der[SCALAR]));
    let other = Authority::new()?.issue(&["planted.test"])?;
    ensure!(!has(other.key_pem.as_bytes(), der));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_in_an_sqlite_store_a_log_or_a_replica() -> Result<()> {
    search("", async || Ok(None)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_in_a_dump_of_postgres() -> Result<()> {
    let server = match Postgres::start().await {
        Ok(server) => server,
        Err(error) => {
            println!("SKIPPED: {error:#}");
            return Ok(());
        }
    };
    let url = server.database().await;
    let store = format!("[store]\nurl = {url:?}\n");
    search(&store, async || server.dump(&url).await.map(Some)).await
}
