//! Our templates, as the public repository of Domain Connect takes them: what is ours is written in them, so that a
//! forged link can lead nobody elsewhere; only a domain's own label and proof are variables.

use std::net::IpAddr;

use model::Host;
use model::domain::{PROOF_LABEL, PROOF_PREFIX};
use serde_json::{Value, json};

use super::Service;
use crate::CertdError;

const SITE: &str = include_str!("site.json");
/// How long others keep the records, in seconds.
const TTL: u32 = 300;

/// Both templates, and the records of the key that signs links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    /// For names below a domain: an alias.
    pub site: Value,
    /// For the domain itself: addresses and a proof; none: the marketplace has no addresses of its own.
    pub apex: Option<Value>,
    /// Where the public key is published.
    pub key_name: String,
    /// Its TXT records.
    pub key_records: Vec<String>,
}

impl Templates {
    /// Those of a service whose domains are aliases below `zone`, or point at `addresses`.
    ///
    /// # Errors
    /// [`CertdError::Settings`] names what cannot be used.
    pub fn of(service: &Service, zone: &Host, addresses: &[IpAddr]) -> Result<Self, CertdError> {
        let unusable = |what: String| CertdError::Settings(what);
        let alias_zone = zone.with_label("cname").map_err(|error| unusable(error.to_string()))?;
        let uri: http::Uri =
            service.return_url.parse().map_err(|_| unusable("connect.return_url".to_owned()))?;
        let id = service.provider_id.as_str();
        let text = SITE
            .replace("{provider_id}", id)
            .replace("{provider_name}", id)
            .replace("{alias_zone}", alias_zone.as_str())
            .replace("{redirect_host}", uri.host().unwrap_or(id));
        let site: Value = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
        let apex = (!addresses.is_empty()).then(|| apex(&site, addresses));
        let key_name = format!("{}.{id}", service.key_host);
        Ok(Self { site, apex, key_name, key_records: service.key_records()? })
    }
}

fn apex(site: &Value, addresses: &[IpAddr]) -> Value {
    let mut records: Vec<Value> = addresses
        .iter()
        .map(|address| {
            let kind = if address.is_ipv4() { "A" } else { "AAAA" };
            json!({ "type": kind, "host": "@", "pointsTo": address.to_string(), "ttl": TTL })
        })
        .collect();
    records.push(json!({
        "type": "TXT", "host": PROOF_LABEL, "data": format!("{PROOF_PREFIX}%proof%"), "ttl": TTL,
        "txtConflictMatchingMode": "Prefix", "txtConflictMatchingPrefix": PROOF_PREFIX,
    }));
    let mut apex = site.clone();
    if let Some(fields) = apex.as_object_mut() {
        fields.remove("hostRequired");
        fields.insert("serviceId".to_owned(), "site-apex".into());
        fields.insert("serviceName".to_owned(), "Your app at your domain itself".into());
        fields.insert("variableDescription".to_owned(), "%proof%: shows that the domain is yours".into());
        fields.insert("records".to_owned(), records.into());
    }
    apex
}
