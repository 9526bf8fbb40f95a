//! Cloudflare's API v4 as far as it is about the records of a zone, with a zone in memory. Shapes, paging, error
//! codes and the order within a batch are those of developers.cloudflare.com/api (DNS records, Zones). Pages are
//! short, so that whoever does not turn them is found out.
#![expect(clippy::indexing_slicing, reason = "a field that is missing from JSON reads as null")]

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::json_server::{Call, JsonServer, Refusals, Reply};

/// The token that opens the API.
pub const TOKEN: &str = "a-token-of-a-test";
const ZONE_ID: &str = "023e105f4ecef8ad9ca31a8372d0c353";
/// Most records of a page, whatever is asked for.
const PAGE: usize = 2;

/// A running API, ended when dropped.
#[derive(Debug)]
pub struct Cloudflare {
    server: JsonServer,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Debug)]
struct Zone {
    name: String,
    records: Vec<Value>,
    made: u64,
}

impl Cloudflare {
    /// Starts an API with one zone.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(zone: &str) -> Result<Self> {
        let zone = Zone { name: zone.to_owned(), records: Vec::new(), made: 0 };
        let zone = Arc::new(Mutex::new(zone));
        let refusals = Refusals {
            token: failure(StatusCode::FORBIDDEN, 9109, "Invalid access token"),
            limit: failure(
                StatusCode::TOO_MANY_REQUESTS,
                971,
                "Please wait and consider throttling your request speed",
            ),
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
        format!("{}/client/v4", self.server.url())
    }

    /// Puts a record into the zone by hand: `type`, `name`, `content`, and what else it shall have.
    pub fn add(&self, record: Value) {
        self.lock().insert(record);
    }

    /// Every record of the zone, without what changes when it is taken away and given back; sorted.
    #[must_use]
    pub fn records(&self) -> Vec<String> {
        let plain = |record: &Value| {
            let mut record = record.clone();
            for field in ["id", "created_on", "modified_on"] {
                record.as_object_mut().and_then(|record| record.remove(field));
            }
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
        let path: Vec<&str> = call.path.trim_start_matches("/client/v4/").split('/').collect();
        match (&call.method, path.as_slice()) {
            (&Method::GET, ["zones"]) => self.zones(call),
            (&Method::GET, ["zones", ZONE_ID, "dns_records"]) => self.list(call),
            (&Method::POST, ["zones", ZONE_ID, "dns_records", "batch"]) => self.batch(&call.body),
            (_, ["zones", id, ..]) if *id != ZONE_ID => failure(
                StatusCode::NOT_FOUND,
                7003,
                "Could not route to the zone, perhaps your object identifier is invalid?",
            ),
            _ => failure(StatusCode::NOT_FOUND, 7000, "No route for that URI"),
        }
    }

    fn zones(&self, call: &Call) -> Reply {
        let wanted = call.parameter("name").is_none_or(|name| name == self.name);
        let zone = json!({
            "id": ZONE_ID, "name": self.name, "status": "active", "paused": false, "type": "full",
            "name_servers": ["bob.ns.cloudflare.com", "lola.ns.cloudflare.com"],
        });
        page(call, &if wanted { vec![zone] } else { Vec::new() })
    }

    fn list(&self, call: &Call) -> Reply {
        let wanted = |record: &&Value| call.parameter("name").is_none_or(|name| record["name"] == *name);
        page(call, &self.records.iter().filter(wanted).cloned().collect::<Vec<_>>())
    }

    /// All or nothing: deletions, then additions.
    fn batch(&mut self, body: &Value) -> Reply {
        let (before, list) =
            (self.records.clone(), |field: &str| body[field].as_array().cloned().unwrap_or_default());
        for gone in list("deletes") {
            let count = self.records.len();
            self.records.retain(|record| record["id"] != gone["id"]);
            if self.records.len() == count {
                self.records = before;
                return failure(StatusCode::BAD_REQUEST, 81044, "Record does not exist.");
            }
        }
        let mut posted = Vec::new();
        for new in list("posts") {
            if let Some((code, text)) = self.conflict(&new) {
                self.records = before;
                return failure(StatusCode::BAD_REQUEST, code, text);
            }
            posted.push(self.insert(new));
        }
        success(
            json!({ "deletes": body["deletes"], "patches": null, "puts": null, "posts": posted }),
            &Value::Null,
        )
    }

    fn conflict(&self, new: &Value) -> Option<(u64, &'static str)> {
        let routed = |record: &Value| ["A", "AAAA", "CNAME"].iter().any(|kind| record["type"] == **kind);
        let is_alias = |record: &Value| record["type"] == "CNAME";
        for old in self.records.iter().filter(|old| old["name"] == new["name"]) {
            if old["type"] == new["type"] && old["content"] == new["content"] {
                return Some((81058, "An identical record already exists."));
            }
            if is_alias(new) && routed(old) {
                return Some((81053, "An A, AAAA, or CNAME record with that host already exists."));
            }
            if is_alias(old) && routed(new) {
                return Some((81054, "A CNAME record with that host already exists."));
            }
        }
        let ttl = new["ttl"].as_u64().unwrap_or(1);
        (ttl != 1 && !(60..=86400).contains(&ttl))
            .then_some((9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic."))
    }

    fn insert(&mut self, new: Value) -> Value {
        self.made += 1;
        let proxiable = ["A", "AAAA", "CNAME"].iter().any(|kind| new["type"] == **kind);
        let mut record = json!({
            "id": format!("{:032x}", self.made), "proxiable": proxiable, "proxied": false, "ttl": 1,
            "settings": {}, "meta": {}, "comment": null, "tags": [],
            "created_on": "2026-01-01T05:20:00.12345Z", "modified_on": "2026-01-01T05:20:00.12345Z",
        });
        if new["type"] == "CAA" {
            let data = &new["data"];
            record["content"] =
                format!("{} {} {}", data["flags"], data["tag"].as_str().unwrap_or_default(), data["value"])
                    .into();
        }
        for (field, value) in new.as_object().into_iter().flatten() {
            record[field] = value.clone();
        }
        self.records.push(record.clone());
        record
    }
}

fn page(call: &Call, all: &[Value]) -> Reply {
    let size = call.number("per_page", 100).clamp(1, PAGE);
    let number = call.number("page", 1).max(1);
    let shown: Vec<&Value> = all.iter().skip((number - 1) * size).take(size).collect();
    let info = json!({
        "page": number, "per_page": size, "count": shown.len(), "total_count": all.len(),
        "total_pages": all.len().div_ceil(size),
    });
    success(json!(shown), &info)
}

fn success(result: Value, info: &Value) -> Reply {
    let mut body = json!({ "result": result, "success": true, "errors": [], "messages": [] });
    if !info.is_null() {
        body["result_info"] = info.clone();
    }
    (StatusCode::OK, body)
}

fn failure(status: StatusCode, code: u64, message: &str) -> Reply {
    let errors = json!([{ "code": code, "message": message }]);
    (status, json!({ "result": null, "success": false, "errors": errors, "messages": [] }))
}
