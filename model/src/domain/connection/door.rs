//! Where a provider is, and as whom it is spoken to; never the credential.

use serde::{Deserialize, Serialize};

use super::Connector;
use crate::{Host, HostPattern};

/// Longest text that a creator may give, in bytes: an address or a name.
const MAX_TEXT: usize = 253;
/// What updates may be signed with (RFC 8945 §6); MD5 and SHA-1 are left out.
const ALGORITHMS: [&str; 3] = ["hmac-sha256", "hmac-sha384", "hmac-sha512"];

/// A provider as a creator names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Which one.
    pub provider: Connector,
    /// The zone's name there; none: as the domain's name servers say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Host>,
    /// PowerDNS: where its API is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// RFC 2136: the primary server, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// RFC 2136: the name of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// RFC 2136: what it signs with; none: hmac-sha256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
}

/// What of a door cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct DoorError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it, naming the value.
    pub reason: String,
}

impl Door {
    /// A provider that needs nothing but its credential.
    #[must_use]
    pub const fn to(provider: Connector) -> Self {
        Self { provider, zone: None, url: None, server: None, key_name: None, algorithm: None }
    }

    /// Checks what can be checked without the network, for the domain `host`.
    ///
    /// # Errors
    /// The first [`DoorError`].
    pub fn check(&self, host: &HostPattern) -> Result<(), DoorError> {
        self.check_fields()?;
        if let Some(zone) = self.zone.as_ref().filter(|zone| !host.base().is_within(zone)) {
            return Err(wrong("zone", format!("`{host}` does not lie in the zone `{zone}`")));
        }
        if let Some(url) = &self.url {
            check_url(url)?;
        }
        if let Some(server) = &self.server {
            check_server(server)?;
        }
        if let Some(name) = self.key_name.as_ref().filter(|name| name.is_empty() || name.len() > MAX_TEXT) {
            return Err(wrong(
                "key_name",
                format!("the key's name has {} bytes: write 1 to 253", name.len()),
            ));
        }
        match &self.algorithm {
            Some(word) if !ALGORITHMS.contains(&word.as_str()) => {
                let word: String = word.chars().take(40).collect();
                Err(wrong("algorithm", format!("`{word}` is none of {}", ALGORITHMS.join(", "))))
            }
            _ => Ok(()),
        }
    }

    /// Every field that the provider needs, and none that it does not have.
    fn check_fields(&self) -> Result<(), DoorError> {
        let name = self.provider.as_str();
        let (power, updates) = (self.provider == Connector::PowerDns, self.provider == Connector::Rfc2136);
        let fields = [
            ("url", self.url.is_some(), power, power),
            ("server", self.server.is_some(), updates, updates),
            ("key_name", self.key_name.is_some(), updates, updates),
            ("algorithm", self.algorithm.is_some(), false, updates),
        ];
        for (field, given, needed, known) in fields {
            match (given, needed, known) {
                (true, _, false) => {
                    return Err(wrong(field, format!("{name} has no `{field}`: leave it out")));
                }
                (false, true, _) => return Err(wrong(field, format!("{name} needs `{field}`"))),
                _ => {}
            }
        }
        Ok(())
    }
}

fn wrong(field: &'static str, reason: String) -> DoorError {
    DoorError { field, reason }
}

/// Scheme, host and perhaps a path. Whether the address may be asked is decided where it is asked.
fn check_url(url: &str) -> Result<(), DoorError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let plain =
        rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'@' | b'?' | b'#' | b'\\'));
    if rest.is_empty() || rest.starts_with('/') || !plain || url.len() > MAX_TEXT {
        // It is not repeated: people paste addresses with passwords in them.
        let reason = "the address of the API must be https://, a host and perhaps a path, e.g. https://dns.example.com";
        return Err(wrong("url", reason.to_owned()));
    }
    Ok(())
}

fn check_server(server: &str) -> Result<(), DoorError> {
    let port = server.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let sound = port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !sound || server.len() > MAX_TEXT || !server.bytes().all(|byte| byte.is_ascii_graphic()) {
        let shown: String = server.chars().filter(|c| !c.is_control()).take(60).collect();
        return Err(wrong("server", format!("`{shown}` must be host:port, e.g. ns1.example.com:53")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(door: &Door) -> &'static str {
        door.check(&"shop.example.com".parse().unwrap()).map_or_else(|error| error.field, |()| "")
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_door_has_what_its_provider_needs_and_nothing_else() {
        let (power, updates) = (Door::to(Connector::PowerDns), Door::to(Connector::Rfc2136));
        assert_eq!(field(&Door::to(Connector::Cloudflare)), "");
        assert_eq!(field(&Door { url: text("https://a.test"), ..Door::to(Connector::Cloudflare) }), "url");
        assert_eq!(field(&power), "url");
        assert_eq!(field(&Door { url: text("https://dns.example.com/pdns"), ..power.clone() }), "");
        assert_eq!(field(&updates), "server");
        let server = Door { server: text("192.0.2.53:53"), ..updates };
        assert_eq!(field(&server), "key_name");
        let whole = Door { key_name: text("stoa-key"), ..server };
        assert_eq!(field(&whole), "");
        assert_eq!(field(&Door { algorithm: text("hmac-md5"), ..whole.clone() }), "algorithm");
        assert_eq!(field(&Door { algorithm: text("hmac-sha512"), ..whole.clone() }), "");
        for server in ["ns1.example.com", ":53", "ns1.example.com:0", "ns1 .example.com:53", ""] {
            assert_eq!(field(&Door { server: text(server), ..whole.clone() }), "server", "{server}");
        }
        for url in
            ["ftp://a.test", "https://", "https://u:p@a.test", "https://a.test/?q", "https:///x", "a.test"]
        {
            assert_eq!(field(&Door { url: text(url), ..power.clone() }), "url", "{url}");
        }
    }

    #[test]
    fn a_zone_that_the_domain_is_not_in_is_refused() {
        let zone = |name: &str| Some(Host::parse(name).unwrap());
        let door = Door::to(Connector::DigitalOcean);
        assert_eq!(field(&Door { zone: zone("example.com"), ..door.clone() }), "");
        assert_eq!(field(&Door { zone: zone("example.org"), ..door }), "zone");
    }
}
