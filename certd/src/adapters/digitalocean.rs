//! DigitalOcean's API v2 (docs.digitalocean.com/reference/api, domain records).
//!
//! There are no transactions: records are taken away and added one by one, deletions first. When that stops
//! half-way, what remains is told, and the same undo puts it right later. The zone's own name is written `@`.

use async_trait::async_trait;
use http::{Method, StatusCode};
use model::Host;
use model::secret::Secret;
use serde_json::{Map, Value, json};

use super::api::{Answer, Api, Door};
use super::plan::Change;
use super::record::{Content, Record, RecordName};
use super::{AdapterError, Fault, Provider, Zone, text};
use crate::CertdError;

/// The API.
pub(super) const URL: &str = "https://api.digitalocean.com";
/// Records that are asked for at a time.
const PAGE: usize = 200;
/// Most pages that are read: 20,000 records.
const MAX_PAGES: usize = 100;
/// What a record has beside type, name and time to live.
const KEPT: [&str; 6] = ["data", "priority", "port", "weight", "flags", "tag"];
/// Shortest time to live that is taken, in seconds.
const MIN_TTL: u32 = 30;

/// A zone at DigitalOcean.
#[derive(Debug)]
pub struct DigitalOcean {
    api: Api,
}

impl DigitalOcean {
    /// The zone, opened by an API token; `url` is another address of the API than the provider's.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used.
    pub fn new(zone: Host, token: &Secret, url: Option<&str>) -> Result<Self, CertdError> {
        let door = Door::bearer(url.unwrap_or(URL), token);
        Ok(Self { api: Api::new(Provider::DigitalOcean, zone, &door)? })
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, AdapterError> {
        let path = format!("/v2/domains/{}/records{path}", self.api.zone);
        let answer = self.api.call(method, &path, body).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.api.refused(&answer)) }
    }

    async fn page(&self, page: usize) -> Result<Answer, AdapterError> {
        let path = format!("/v2/domains/{}/records?per_page={PAGE}&page={page}", self.api.zone);
        let answer = self.api.call(Method::GET, &path, None).await?;
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(self.api.fails(Fault::ZoneMissing)),
            _ => Err(self.api.refused(&answer)),
        }
    }

    /// A record that is gone already counts as removed.
    async fn remove(&self, record: &Record) -> Result<(), AdapterError> {
        let id = record.id.as_deref().unwrap_or_default();
        let path = format!("/v2/domains/{}/records/{id}", self.api.zone);
        let answer = self.api.call(Method::DELETE, &path, None).await?;
        let is_gone = answer.status.is_success() || answer.status == StatusCode::NOT_FOUND;
        if is_gone { Ok(()) } else { Err(self.api.refused(&answer)) }
    }
}

#[async_trait]
impl Zone for DigitalOcean {
    fn zone(&self) -> &Host {
        &self.api.zone
    }

    fn provider(&self) -> Provider {
        Provider::DigitalOcean
    }

    async fn records(&self, names: &[RecordName]) -> Result<Vec<Record>, AdapterError> {
        let mut found = Vec::new();
        for page in 1..=MAX_PAGES {
            let answer = self.page(page).await?;
            let list = answer.body.get("domain_records").and_then(Value::as_array);
            let list = list.ok_or_else(|| self.api.nonsense("it has no list `domain_records`"))?;
            let records = list.iter().filter_map(|entry| read(entry, &self.api.zone));
            found.extend(records.filter(|record| names.contains(&record.name)));
            if answer.body.pointer("/links/pages/next").is_none() {
                return Ok(found);
            }
        }
        Err(self.api.nonsense(format!("the zone has more than {} records", PAGE * MAX_PAGES)))
    }

    async fn exchange(&self, changes: &[Change]) -> Result<(), AdapterError> {
        for record in changes.iter().flat_map(Change::removed) {
            self.remove(record).await?;
        }
        for record in changes.iter().flat_map(Change::added) {
            self.ask(Method::POST, "", Some(&written(record, &self.api.zone))).await?;
        }
        Ok(())
    }
}

fn read(entry: &Value, zone: &Host) -> Option<Record> {
    let text_of = |field: &str| entry.get(field).and_then(Value::as_str);
    let (kind, data) = (text_of("type")?, text_of("data").unwrap_or_default());
    let name = match text_of("name")? {
        "@" => zone.to_string(),
        label => format!("{label}.{zone}"),
    };
    let ttl = u32::try_from(entry.get("ttl")?.as_u64()?).ok()?;
    let known = match kind {
        "A" => data.parse().ok().map(Content::A),
        "AAAA" => data.parse().ok().map(Content::Aaaa),
        "CNAME" if data == "@" => Some(Content::alias(zone.as_str())),
        "CNAME" => Some(Content::alias(data)),
        "TXT" => Some(Content::Txt(text::unquote(data))),
        "CAA" => caa(entry, data),
        _ => None,
    };
    let content = known.unwrap_or_else(|| Content::Other { kind: kind.to_owned(), text: data.to_owned() });
    let kept = KEPT.iter().filter_map(|field| {
        let value = entry.get(*field).filter(|value| !value.is_null())?;
        Some(((*field).to_owned(), value.clone()))
    });
    let raw = Value::Object(kept.collect::<Map<_, _>>());
    let id = entry.get("id").and_then(Value::as_u64).map(|id| id.to_string());
    Some(Record { raw, id, ..Record::new(RecordName::parse(&name).ok()?, ttl, content) })
}

fn caa(entry: &Value, data: &str) -> Option<Content> {
    let flags = u8::try_from(entry.get("flags")?.as_u64()?).ok()?;
    let tag = entry.get("tag")?.as_str()?.to_ascii_lowercase();
    Some(Content::Caa { flags, tag, value: data.trim_end_matches('.').to_owned() })
}

/// A record as the API takes it. Names in its data must end with a dot, which it does not give back.
fn written(record: &Record, zone: &Host) -> Value {
    let mut fields = record.raw.as_object().cloned().unwrap_or_default();
    let data = match &record.content {
        Content::A(address) => address.to_string(),
        Content::Aaaa(address) => address.to_string(),
        Content::Cname(target) => format!("{target}."),
        Content::Txt(words) => words.clone(),
        Content::Caa { flags, tag, value } => {
            fields.insert("flags".to_owned(), json!(flags));
            fields.insert("tag".to_owned(), json!(tag));
            let is_name = tag == "issue" || tag == "issuewild";
            if is_name && !value.contains(';') { format!("{value}.") } else { value.clone() }
        }
        Content::Other { text, .. } => text.clone(),
    };
    let label = record.name.below(zone).filter(|label| !label.is_empty()).unwrap_or("@");
    fields.insert("data".to_owned(), data.into());
    fields.insert("type".to_owned(), record.content.kind().into());
    fields.insert("name".to_owned(), label.into());
    fields.insert("ttl".to_owned(), record.ttl.max(MIN_TTL).into());
    Value::Object(fields)
}
