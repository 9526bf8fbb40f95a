//! Who keeps a domain's records, by the names of its servers: words and ways as data (`providers.toml`).

use model::Host;
use model::domain::connection::Connector;
use model::domain::{Authority, Health, NameForm, Provider, RecordKind, Routing};
use model::net::Networks;
use serde::Deserialize;

use super::judge::health;
use super::{Observation, Server};
use crate::CertdError;

const DATA: &str = include_str!("providers.toml");

/// The providers that we know, and the proxies.
#[derive(Debug, Clone)]
pub struct Providers {
    providers: Vec<(Vec<String>, Provider)>,
    proxies: Vec<(String, Networks)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    provider: Vec<ProviderEntry>,
    proxy: Vec<ProxyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderEntry {
    name: String,
    servers: Vec<String>,
    form: NameForm,
    #[serde(default)]
    apex_alias: bool,
    trap: Option<String>,
    #[serde(default)]
    trap_kinds: Vec<RecordKind>,
    #[serde(default)]
    trap_apex: bool,
    connect: Option<Connector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyEntry {
    name: String,
    networks: Vec<String>,
}

impl Providers {
    /// Those that are built in.
    ///
    /// # Errors
    /// [`CertdError::Settings`] if the data is damaged, which a test rules out.
    pub fn built_in() -> Result<Self, CertdError> {
        Self::read(DATA)
    }

    fn read(text: &str) -> Result<Self, CertdError> {
        let damaged =
            |error: &dyn std::fmt::Display| CertdError::Settings(format!("providers.toml: {error}"));
        let document: Document = toml::from_str(text).map_err(|error| damaged(&error))?;
        let provider = |entry: ProviderEntry| {
            let ProviderEntry { name, servers, form, apex_alias, trap, trap_kinds, trap_apex, connect } =
                entry;
            (servers, Provider { name, form, apex_alias, trap, trap_kinds, trap_apex, connect })
        };
        let proxy = |entry: ProxyEntry| {
            let networks = entry.networks.iter().map(|text| text.parse()).collect::<Result<_, _>>();
            networks
                .map(|networks| (entry.name, networks))
                .map_err(|error: model::net::NetworkError| damaged(&error))
        };
        Ok(Self {
            providers: document.provider.into_iter().map(provider).collect(),
            proxies: document.proxy.into_iter().map(proxy).collect::<Result<_, _>>()?,
        })
    }

    /// Who runs these servers.
    #[must_use]
    pub fn find(&self, servers: &[Server]) -> Option<&Provider> {
        let runs = |patterns: &[String]| {
            servers.iter().any(|server| patterns.iter().any(|pattern| fits(pattern, &server.name)))
        };
        self.providers.iter().find(|(patterns, _)| runs(patterns)).map(|(_, provider)| provider)
    }

    /// What an observation says of the domain's own servers.
    #[must_use]
    pub fn authority(&self, seen: &Observation) -> Authority {
        let health = health(seen);
        let Some(zone) = &seen.zone else { return Authority { health, ..Authority::default() } };
        let stale = zone.stale.first().map(|first| {
            self.find(&zone.stale).map_or_else(|| first.name.clone(), |provider| provider.name.clone())
        });
        Authority {
            health,
            zone: Host::parse(&zone.name).ok(),
            servers: zone.servers.iter().map(|server| server.name.clone()).collect(),
            provider: self.find(&zone.servers).cloned(),
            stale,
        }
    }

    /// A domain that leads to addresses of its own provider's proxy leads somewhere that cannot be seen.
    #[must_use]
    pub fn unmask(&self, routing: Routing, seen: &Observation, authority: &Authority) -> Routing {
        if !matches!(routing, Routing::Elsewhere { .. }) || authority.health == Health::Split {
            return routing;
        }
        let found = || {
            let direct = seen.views.iter().filter(|view| view.aliases.is_empty());
            direct.flat_map(|view| view.v4.iter().chain(&view.v6).flatten())
        };
        let by = self.proxies.iter().find(|(name, networks)| {
            let own = authority.provider.as_ref().map_or(authority.zone.is_none(), |own| own.name == *name);
            own && found().next().is_some() && found().all(|address| networks.contain(*address))
        });
        by.map_or(routing, |(name, _)| Routing::Proxied { by: name.clone() })
    }
}

/// Whether a name fits a pattern whose `*` stand for anything.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|name| fits(rest, name)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use model::domain::plain;

    use super::*;

    fn named(servers: &[&str]) -> Option<String> {
        let servers: Vec<Server> =
            servers.iter().map(|name| Server { name: (*name).to_owned(), address: None }).collect();
        Providers::built_in().unwrap().find(&servers).map(|provider| provider.name.clone())
    }

    #[test]
    fn the_built_in_data_is_sound_and_plain() {
        let providers = Providers::built_in().unwrap();
        assert!(providers.providers.len() >= 20);
        for (patterns, provider) in &providers.providers {
            assert!(!patterns.is_empty() && provider.name.split(' ').count() <= 3, "{}", provider.name);
            let trap = provider.trap.as_deref().map_or(Ok(()), plain::check);
            assert_eq!(trap, Ok(()), "{}", provider.name);
        }
    }

    #[test]
    fn a_provider_is_known_by_its_servers() {
        assert_eq!(named(&["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"]).as_deref(), Some("Cloudflare"));
        assert_eq!(named(&["ns-123.awsdns-45.co.uk"]).as_deref(), Some("Route 53"));
        assert_eq!(named(&["ns-cloud-a1.googledomains.com"]).as_deref(), Some("Google Cloud DNS"));
        assert_eq!(named(&["ns1.googledomains.com"]).as_deref(), Some("Squarespace"));
        assert_eq!(named(&["ns1.example.net"]), None);
        assert_eq!(named(&["evil-gandi.net"]), None);
        assert_eq!(named(&[]), None);
    }

    #[test]
    fn damaged_data_is_named() {
        let error = Providers::read("provider = 1").unwrap_err().to_string();
        assert!(error.starts_with("providers.toml:"), "{error}");
        let proxy = "provider = []\n[[proxy]]\nname = \"x\"\nnetworks = [\"10.0.0.1/8\"]";
        assert!(Providers::read(proxy).unwrap_err().to_string().contains("10.0.0.1/8"));
    }
}
