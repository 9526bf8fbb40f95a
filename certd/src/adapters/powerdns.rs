//! PowerDNS's authoritative server by its HTTP API (doc.powerdns.com/authoritative/http-api/zone.html).
//!
//! A change is one `PATCH`, which the server does in one transaction. Sets are replaced whole, so two programs
//! that write at one name can overwrite one another: within this process they wait for each other, and what is
//! added to others' texts is looked at again afterwards.

use async_trait::async_trait;
use http::header::HeaderName;
use http::{Method, StatusCode};
use model::Host;
use model::secret::Secret;
use serde_json::{Value, json};
use std::path::Path;
use tokio::sync::Mutex;

use super::api::{Api, Door};
use super::plan::Change;
use super::record::{Content, Record, RecordName};
use super::{AdapterError, Fault, Provider, Zone, text};
use crate::{CertdError, Guard};

/// A zone of a PowerDNS server.
#[derive(Debug)]
pub struct PowerDns {
    api: Api,
    path: String,
    writing: Mutex<()>,
}

impl PowerDns {
    /// The zone at the server whose API is at `url` (`http://127.0.0.1:8081`), opened by its `api-key`.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used.
    pub fn new(zone: Host, url: &str, key: &Secret, ca_file: Option<&Path>) -> Result<Self, CertdError> {
        Self::at(zone, (url, key), ca_file, None)
    }

    /// As [`Self::new`], at an address that a stranger gave.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used, such as an address that `guard` does not let through.
    pub fn guarded(zone: Host, url: &str, key: &Secret, guard: &Guard) -> Result<Self, CertdError> {
        Self::at(zone, (url, key), None, Some(guard))
    }

    fn at(
        zone: Host,
        (url, secret): (&str, &Secret),
        ca_file: Option<&Path>,
        guard: Option<&Guard>,
    ) -> Result<Self, CertdError> {
        let header = HeaderName::from_static("x-api-key");
        let path = format!("/api/v1/servers/localhost/zones/{zone}.");
        let door = Door { url, ca_file, header, scheme: None, secret, guard };
        Ok(Self { api: Api::new(Provider::PowerDns, zone, &door)?, path, writing: Mutex::new(()) })
    }

    async fn replace(&self, changes: &[Change]) -> Result<(), AdapterError> {
        // An alias and an address exclude one another also within one request, in its order.
        let (gone, new): (Vec<&Change>, Vec<&Change>) =
            changes.iter().partition(|change| change.after.is_empty());
        let sets: Vec<Value> = gone.into_iter().chain(new).map(set).collect();
        let answer = self.api.call(Method::PATCH, &self.path, Some(&json!({ "rrsets": sets }))).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Err(self.api.fails(Fault::ZoneMissing)),
            _ => Err(self.api.refused(&answer)),
        }
    }
}

#[async_trait]
impl Zone for PowerDns {
    fn zone(&self) -> &Host {
        &self.api.zone
    }

    fn provider(&self) -> Provider {
        Provider::PowerDns
    }

    async fn records(&self, names: &[RecordName]) -> Result<Vec<Record>, AdapterError> {
        let answer = self.api.call(Method::GET, &self.path, None).await?;
        match answer.status {
            status if status.is_success() => {}
            // Older servers say 422 for a zone that they do not have.
            StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
                return Err(self.api.fails(Fault::ZoneMissing));
            }
            _ => return Err(self.api.refused(&answer)),
        }
        let sets = answer.body.get("rrsets").and_then(Value::as_array);
        let sets = sets.ok_or_else(|| self.api.nonsense("it has no `rrsets`"))?;
        Ok(sets.iter().filter_map(|set| read(set, names)).flatten().collect())
    }

    async fn exchange(&self, changes: &[Change]) -> Result<(), AdapterError> {
        let _turn = self.writing.lock().await;
        let names: Vec<RecordName> = changes.iter().map(|change| change.name.clone()).collect();
        let found = self.records(&names).await?;
        match changes.iter().find(|change| change.is_overtaken_in(&found)) {
            Some(change) => {
                Err(self.fails(Fault::Changed { what: format!("{} at {}", change.kind, change.name) }))
            }
            None => self.replace(changes).await,
        }
    }
}

/// The records of a set; none if it is at another name.
fn read(set: &Value, names: &[RecordName]) -> Option<Vec<Record>> {
    let name = RecordName::parse(set.get("name")?.as_str()?).ok().filter(|name| names.contains(name))?;
    let kind = set.get("type")?.as_str()?;
    let ttl = u32::try_from(set.get("ttl")?.as_u64()?).ok()?;
    let comments = set.get("comments").cloned().unwrap_or_else(|| json!([]));
    let record = |entry: &Value| {
        let spelled = entry.get("content")?.as_str()?;
        let content = content(kind, spelled);
        let raw = json!({ "content": spelled, "disabled": entry.get("disabled"), "comments": comments });
        Some(Record { raw, ..Record::new(name.clone(), ttl, content) })
    };
    Some(set.get("records")?.as_array()?.iter().filter_map(record).collect())
}

fn content(kind: &str, spelled: &str) -> Content {
    let known = match kind {
        "A" => spelled.parse().ok().map(Content::A),
        "AAAA" => spelled.parse().ok().map(Content::Aaaa),
        "CNAME" => Some(Content::alias(spelled)),
        "TXT" => Some(Content::Txt(text::unquote(spelled))),
        "CAA" => caa(spelled),
        _ => None,
    };
    known.unwrap_or_else(|| Content::Other { kind: kind.to_owned(), text: spelled.to_owned() })
}

/// `0 issue "letsencrypt.org"`
fn caa(spelled: &str) -> Option<Content> {
    let mut words = spelled.splitn(3, ' ');
    let (flags, tag, value) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    Some(Content::Caa { flags, tag: tag.to_ascii_lowercase(), value: text::unquote(value) })
}

/// What the server calls a set, with everything that it kept beside.
fn set(change: &Change) -> Value {
    let (name, kind) = (change.name.absolute(), &change.kind);
    let Some(first) = change.after.first() else {
        return json!({ "name": name, "type": kind, "changetype": "DELETE" });
    };
    let records: Vec<Value> = change.after.iter().map(spelled).collect();
    let comments = change.after.iter().find_map(|record| record.raw.get("comments"));
    let comments = comments.cloned().unwrap_or_else(|| json!([]));
    json!({
        "name": name, "type": kind, "ttl": first.ttl, "changetype": "REPLACE",
        "records": records, "comments": comments,
    })
}

fn spelled(record: &Record) -> Value {
    let raw = |field: &str| record.raw.get(field).filter(|value| !value.is_null()).cloned();
    let content = raw("content").unwrap_or_else(|| {
        Value::String(match &record.content {
            Content::A(address) => address.to_string(),
            Content::Aaaa(address) => address.to_string(),
            Content::Cname(target) => format!("{target}."),
            Content::Txt(words) => text::quote(words),
            Content::Caa { flags, tag, value } => format!("{flags} {tag} {}", text::quote(value)),
            Content::Other { text, .. } => text.clone(),
        })
    });
    json!({ "content": content, "disabled": raw("disabled").unwrap_or(false.into()) })
}
