//! DigitalOcean's API v2 as far as it is about the records of a domain, with a domain in memory. Shapes, paging
//! and errors are those of docs.digitalocean.com/reference/api (Domain Records). Pages are short, so that whoever
//! does not turn them is found out.
#![expect(clippy::indexing_slicing, reason = "a field that is missing from JSON reads as null")]

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::json_server::{Call, JsonServer, Refusals, Reply};

/// The token that opens the API.
pub const TOKEN: &str = "dop_v1_a-token-of-a-test";
/// Most records of a page, whatever is asked for.
const PAGE: usize = 4;

/// A running API, ended when dropped.
#[derive(Debug)]
pub struct DigitalOcean {
    server: JsonServer,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Debug)]
struct Zone {
    name: String,
    records: Vec<Value>,
    made: u64,
}

impl DigitalOcean {
    /// Starts an API with one domain.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(zone: &str) -> Result<Self> {
        let zone = Zone { name: zone.to_owned(), records: Vec::new(), made: 28_448_428 };
        let zone = Arc::new(Mutex::new(zone));
        let refusals = Refusals {
            token: failure(StatusCode::UNAUTHORIZED, "unauthorized", "Unable to authenticate you"),
            limit: failure(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "API Rate limit exceeded."),
        };
        let shared = Arc::clone(&zone);
        let server = JsonServer::start(TOKEN, refusals, move |call| {
            shared.lock().unwrap_or_else(PoisonError::into_inner).answer(call)
        })
        .await?;
        Ok(Self { server, zone })
    }

    /// Where the API is.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Puts a record into the domain by hand: `type`, `name` (`@` for the domain itself), `data`, and what else it
    /// shall have.
    pub fn add(&self, record: &Value) {
        self.lock().insert(record);
    }

    /// Every record of the domain without its id; sorted.
    #[must_use]
    pub fn records(&self) -> Vec<String> {
        let plain = |record: &Value| {
            let mut record = record.clone();
            record.as_object_mut().and_then(|record| record.remove("id"));
            record.to_string()
        };
        let mut lines: Vec<String> = self.lock().records.iter().map(plain).collect();
        lines.sort();
        lines
    }

    /// Lets the token be good for so many calls more; none: without end.
    pub fn revoke_after(&self, calls: Option<usize>) {
        self.server.revoke_after(calls);
    }

    /// Asks everybody to wait so many seconds; none: no more.
    pub fn ask_to_wait(&self, seconds: Option<u64>) {
        self.server.ask_to_wait(seconds);
    }

    /// Whether a gateway answers 502 to whatever would change something, so that nobody knows what becomes of it.
    pub fn lose_changes(&self, lose: bool) {
        self.server.lose_changes(lose);
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.server.calls()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zone {
    fn answer(&mut self, call: &Call) -> Reply {
        let path: Vec<&str> = call.path.trim_start_matches("/v2/domains/").split('/').collect();
        match (&call.method, path.as_slice()) {
            (&Method::GET, [name, "records"]) if *name == self.name => self.list(call),
            (&Method::POST, [name, "records"]) if *name == self.name => self.create(&call.body),
            (&Method::DELETE, [name, "records", id]) if *name == self.name => self.delete(id),
            _ => missing(),
        }
    }

    fn list(&self, call: &Call) -> Reply {
        let size = call.number("per_page", 20).clamp(1, PAGE);
        let number = call.number("page", 1).max(1);
        let shown: Vec<&Value> = self.records.iter().skip((number - 1) * size).take(size).collect();
        let last = self.records.len().div_ceil(size);
        let at = |page: usize| {
            format!(
                "https://api.digitalocean.com/v2/domains/{}/records?page={page}&per_page={size}",
                self.name
            )
        };
        let links = match number < last {
            true => json!({ "pages": { "next": at(number + 1), "last": at(last) } }),
            false if number > 1 => json!({ "pages": { "first": at(1), "prev": at(number - 1) } }),
            false => json!({}),
        };
        let meta = json!({ "total": self.records.len() });
        (StatusCode::OK, json!({ "domain_records": shown, "links": links, "meta": meta }))
    }

    fn create(&mut self, new: &Value) -> Reply {
        let refused = |text: &str| failure(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable_entity", text);
        let kind = new["type"].as_str().unwrap_or_default();
        let is_name = matches!(kind, "CNAME" | "MX" | "NS" | "SRV") || new["tag"] == "issue";
        if is_name && !new["data"].as_str().is_some_and(|data| data == "@" || data.ends_with('.')) {
            return refused("Data needs to end with a dot (.)");
        }
        let shares = |old: &&Value| old["name"] == new["name"] && (kind == "CNAME" || old["type"] == "CNAME");
        if self.records.iter().any(|old| shares(&old)) {
            return refused("CNAME records cannot share a name with other records");
        }
        if new["ttl"].as_u64().is_some_and(|ttl| ttl < 30) {
            return refused("ttl must be greater than or equal to 30");
        }
        (StatusCode::CREATED, json!({ "domain_record": self.insert(new) }))
    }

    fn delete(&mut self, id: &str) -> Reply {
        let count = self.records.len();
        self.records.retain(|record| record["id"].as_u64() != id.parse().ok());
        if self.records.len() == count { missing() } else { (StatusCode::NO_CONTENT, Value::Null) }
    }

    fn insert(&mut self, new: &Value) -> Value {
        self.made += 1;
        let mut record = json!({
            "id": self.made, "priority": null, "port": null, "ttl": 1800, "weight": null, "flags": null, "tag": null,
        });
        for (field, value) in new.as_object().into_iter().flatten() {
            record[field] = value.clone();
        }
        if let Some(data) = new["data"].as_str().filter(|_| new["type"] != "TXT") {
            record["data"] = data.trim_end_matches('.').into();
        }
        self.records.push(record.clone());
        record
    }
}

fn missing() -> Reply {
    failure(StatusCode::NOT_FOUND, "not_found", "The resource you were accessing could not be found.")
}

fn failure(status: StatusCode, id: &str, message: &str) -> Reply {
    (status, json!({ "id": id, "message": message }))
}
