//! Cloudflare's API v4 (developers.cloudflare.com/api/resources/dns).
//!
//! A change is one batch, which the API does in one transaction, deletions first. Records that are replaced get
//! their comment, tags and proxying back when the change is undone. New ones are "DNS only": visitors come to
//! the edge itself. An alias at the zone's own name is flattened by the provider.

use async_trait::async_trait;
use http::Method;
use model::Host;
use model::secret::Secret;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::api::{Answer, Api, Door};
use super::plan::{Apex, Change};
use super::record::{Content, Record, RecordName};
use super::{AdapterError, Fault, Provider, Zone, text};
use crate::CertdError;

/// The API.
pub(super) const URL: &str = "https://api.cloudflare.com/client/v4";
/// Records that are asked for at a time.
const PAGE: usize = 100;
/// Most pages that are read of one name: far above what a name has.
const MAX_PAGES: usize = 50;
/// What a record has beside type, name and content, and what is given back with it.
const KEPT: [&str; 7] = ["content", "proxied", "comment", "tags", "settings", "priority", "data"];
/// A time to live that the provider chooses.
const AUTOMATIC: u32 = 1;

/// A zone at Cloudflare.
#[derive(Debug)]
pub struct Cloudflare {
    api: Api,
    id: OnceCell<String>,
}

impl Cloudflare {
    /// The zone, opened by an API token; `url` is another address of the API than the provider's.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used.
    pub fn new(zone: Host, token: &Secret, url: Option<&str>) -> Result<Self, CertdError> {
        let api = Api::new(Provider::Cloudflare, zone, &Door::bearer(url.unwrap_or(URL), token))?;
        Ok(Self { api, id: OnceCell::new() })
    }

    async fn id(&self) -> Result<&str, AdapterError> {
        let look = async || {
            let path = format!("/zones?name={}", self.api.zone);
            let answer = self.ask(Method::GET, &path, None).await?;
            let id = answer.body.pointer("/result/0/id").and_then(Value::as_str);
            id.map(str::to_owned).ok_or_else(|| self.api.fails(Fault::ZoneMissing))
        };
        Ok(self.id.get_or_try_init(look).await?)
    }

    /// An answer with `success`, or the error that it tells.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, AdapterError> {
        let answer = self.api.call(method, path, body).await?;
        if answer.status.is_success() && answer.body.get("success") == Some(&Value::Bool(true)) {
            return Ok(answer);
        }
        // 10000 and 9109: a bad token; 6003 with 6111: a token in a form that none has.
        let code = answer.body.pointer("/errors/0/code").and_then(Value::as_u64);
        let error = self.api.refused(&answer);
        match (code, error.fault) {
            (Some(10000 | 9109 | 6003), Fault::Refused { reason }) => {
                Err(self.api.fails(Fault::Credential { reason }))
            }
            (_, fault) => Err(self.api.fails(fault)),
        }
    }

    async fn at(&self, name: &RecordName) -> Result<Vec<Record>, AdapterError> {
        let (id, mut found) = (self.id().await?, Vec::new());
        for page in 1..=MAX_PAGES {
            let path = format!("/zones/{id}/dns_records?name={name}&per_page={PAGE}&page={page}");
            let answer = self.ask(Method::GET, &path, None).await?;
            let list = answer.body.get("result").and_then(Value::as_array);
            let list = list.ok_or_else(|| self.api.nonsense("it has no list `result`"))?;
            found.extend(list.iter().filter_map(read).filter(|record| record.name == *name));
            let pages = answer.body.pointer("/result_info/total_pages").and_then(Value::as_u64);
            if pages.is_none_or(|pages| u64::try_from(page).is_ok_and(|page| page >= pages)) {
                return Ok(found);
            }
        }
        Err(self.api.nonsense(format!("`{name}` has more than {} records", PAGE * MAX_PAGES)))
    }
}

#[async_trait]
impl Zone for Cloudflare {
    fn zone(&self) -> &Host {
        &self.api.zone
    }

    fn provider(&self) -> Provider {
        Provider::Cloudflare
    }

    fn apex(&self) -> Apex {
        Apex::Flattened
    }

    async fn records(&self, names: &[RecordName]) -> Result<Vec<Record>, AdapterError> {
        let mut found = Vec::new();
        for name in names {
            found.extend(self.at(name).await?);
        }
        Ok(found)
    }

    async fn exchange(&self, changes: &[Change]) -> Result<(), AdapterError> {
        let deletes: Vec<Value> =
            changes.iter().flat_map(Change::removed).map(|record| json!({ "id": record.id })).collect();
        let posts: Vec<Value> = changes.iter().flat_map(Change::added).map(written).collect();
        let path = format!("/zones/{}/dns_records/batch", self.id().await?);
        let batch = json!({ "deletes": deletes, "posts": posts });
        self.ask(Method::POST, &path, Some(&batch)).await.map(drop)
    }
}

fn read(entry: &Value) -> Option<Record> {
    let text_of = |field: &str| entry.get(field).and_then(Value::as_str);
    let (kind, spelled) = (text_of("type")?, text_of("content").unwrap_or_default());
    let name = RecordName::parse(text_of("name")?).ok()?;
    let ttl = u32::try_from(entry.get("ttl")?.as_u64()?).ok()?;
    let known = match kind {
        "A" => spelled.parse().ok().map(Content::A),
        "AAAA" => spelled.parse().ok().map(Content::Aaaa),
        "CNAME" => Some(Content::alias(spelled)),
        "TXT" => Some(Content::Txt(text::unquote(spelled))),
        "CAA" => caa(entry.get("data")?),
        _ => None,
    };
    let content = known.unwrap_or_else(|| Content::Other { kind: kind.to_owned(), text: spelled.to_owned() });
    let kept = KEPT.iter().filter_map(|field| Some(((*field).to_owned(), entry.get(*field)?.clone())));
    let raw = Value::Object(kept.collect::<Map<_, _>>());
    let id = text_of("id").map(str::to_owned);
    Some(Record { raw, id, ..Record::new(name, ttl, content) })
}

fn caa(data: &Value) -> Option<Content> {
    let flags = u8::try_from(data.get("flags")?.as_u64()?).ok()?;
    let text_of = |field: &str| data.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(Content::Caa { flags, tag: text_of("tag")?.to_ascii_lowercase(), value: text_of("value")? })
}

/// A record as the API takes it: what was kept of it, or what it says.
fn written(record: &Record) -> Value {
    let mut fields = record.raw.as_object().cloned().unwrap_or_else(|| fresh(&record.content));
    fields.insert("type".to_owned(), record.content.kind().into());
    fields.insert("name".to_owned(), record.name.as_str().into());
    // Below a minute only the provider's own choice is taken.
    let ttl = if record.raw.is_null() && record.ttl < 60 { AUTOMATIC } else { record.ttl };
    fields.insert("ttl".to_owned(), ttl.into());
    Value::Object(fields)
}

fn fresh(content: &Content) -> Map<String, Value> {
    let fields = match content {
        Content::A(address) => json!({ "content": address, "proxied": false }),
        Content::Aaaa(address) => json!({ "content": address, "proxied": false }),
        Content::Cname(target) => json!({ "content": target, "proxied": false }),
        Content::Txt(words) => json!({ "content": text::quote(words) }),
        Content::Caa { flags, tag, value } => {
            json!({ "data": { "flags": flags, "tag": tag, "value": value } })
        }
        Content::Other { text, .. } => json!({ "content": text }),
    };
    fields.as_object().cloned().unwrap_or_default()
}
