//! From the one configuration to the small settings that each part declares beside itself.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use certd::adapters::{Account, Algorithm};
use config::{Overrides, Role, Settings};
use model::acme::ChallengeKind;

use crate::command::Place;
use crate::trust as authority;

/// The settings for `role`.
///
/// # Errors
/// [`config::ConfigErrors`] tells everything that is wrong with them.
pub(crate) fn load(place: &Place, role: Role) -> anyhow::Result<Settings> {
    let settings = config::load(place.config.as_deref(), Overrides { data: place.data.clone() })?;
    settings.for_role(role)?;
    Ok(settings)
}

/// `stoa check`: says that a configuration is sound.
///
/// # Errors
/// As [`load`], for whichever role the configuration is.
pub(crate) fn check(place: &Place) -> anyhow::Result<()> {
    let settings = checked(place)?;
    let what = settings.file.as_ref().map_or("the defaults".to_owned(), |file| file.display().to_string());
    println!("{what}: valid");
    Ok(())
}

/// The settings for whichever role the configuration is.
///
/// # Errors
/// As [`load`].
pub(crate) fn checked(place: &Place) -> anyhow::Result<Settings> {
    let settings = config::load(place.config.as_deref(), Overrides { data: place.data.clone() })?;
    let role = if settings.control.is_some() { Role::Edge } else { Role::Up };
    settings.for_role(role)?;
    Ok(settings)
}

/// `stoa trust`.
///
/// # Errors
/// The configuration is not valid, or nothing could be made to trust the authority.
pub(crate) fn trust(place: &Place) -> anyhow::Result<()> {
    let settings = config::load(place.config.as_deref(), Overrides { data: place.data.clone() })?;
    authority::install(&settings.data.join("ca.pem"), std::env::home_dir().as_deref())
}

/// The store's.
pub(crate) fn store(settings: &Settings) -> store::Options {
    store::Options {
        url: settings.store.url.reveal().to_owned(),
        zones: settings.edge.zones.clone(),
        edge_addresses: settings.edge.public.clone(),
    }
}

fn authority(acme: &config::Acme) -> certd::Acme {
    let external = acme.external.as_ref().map(|external| certd::External {
        key_id: external.key_id.clone(),
        hmac_key: external.hmac_key.clone(),
    });
    certd::Acme {
        ca_file: acme.ca_file.clone(),
        contact: acme.contact.clone(),
        challenge: usual(acme.challenge),
        profiles: acme.profiles.clone(),
        external,
        ..certd::Acme::at(&acme.directory)
    }
}

/// How names are proved that texts in our own zone do not prove.
fn usual(challenge: ChallengeKind) -> ChallengeKind {
    match challenge {
        ChallengeKind::Dns01 => ChallengeKind::Http01,
        other => other,
    }
}

fn dns_zone(dns: &config::AcmeDns) -> certd::DnsZone {
    let account = match dns.provider.clone() {
        config::DnsProvider::PowerDns { url, key, ca_file } => Account::PowerDns { url, key, ca_file },
        config::DnsProvider::Rfc2136 { server, key_name, algorithm, secret } => {
            Account::Rfc2136 { server, key_name, algorithm: signed_by(algorithm), secret }
        }
        config::DnsProvider::Cloudflare { token, url } => Account::Cloudflare { token, url },
        config::DnsProvider::DigitalOcean { token, url } => Account::DigitalOcean { token, url },
    };
    certd::DnsZone { zone: dns.zone.clone(), account, name_servers: dns.name_servers.clone() }
}

fn signed_by(algorithm: config::TsigAlgorithm) -> Algorithm {
    match algorithm {
        config::TsigAlgorithm::HmacSha256 => Algorithm::HmacSha256,
        config::TsigAlgorithm::HmacSha384 => Algorithm::HmacSha384,
        config::TsigAlgorithm::HmacSha512 => Algorithm::HmacSha512,
    }
}

fn service(service: &config::ConnectService) -> certd::consent::Service {
    certd::consent::Service {
        provider_id: service.provider_id.clone(),
        key_host: service.key_host.clone(),
        signing_key: service.signing_key.clone(),
        return_url: service.return_url.clone(),
        ca_file: None,
    }
}

/// `stoa domain-connect template`: what an operator submits and publishes, as JSON.
///
/// # Errors
/// The configuration is not valid, or does not say who we are to providers.
pub(crate) fn template(place: &Place) -> anyhow::Result<()> {
    let settings = checked(place)?;
    let configured = settings.connect.service.as_ref().context(
        "[connect] has no `provider_id`: write provider_id, signing_key and return_url (see stoa.example.toml)",
    )?;
    let zone = settings.edge.zones.first().context("there is no zone: write edge.zones")?;
    let made = certd::consent::Templates::of(&service(configured), zone, &settings.edge.public)?;
    let templates: Vec<_> = std::iter::once(made.site).chain(made.apex).collect();
    let key = serde_json::json!({ "name": made.key_name, "type": "TXT", "values": made.key_records });
    println!("{:#}", serde_json::json!({ "templates": templates, "public_key": key }));
    Ok(())
}

/// certd's; `probe` is where an edge can be asked which certificate it shows.
pub(crate) fn certd(settings: &Settings, probe: Option<SocketAddr>) -> certd::Settings {
    certd::Settings {
        acme: settings.acme.as_ref().map(authority),
        fallbacks: settings.acme.iter().flat_map(|acme| &acme.fallbacks).map(authority).collect(),
        dns: settings.acme.as_ref().and_then(|acme| acme.dns.as_ref()).map(dns_zone),
        dns_persist: settings.acme.as_ref().is_some_and(|acme| acme.dns_persist),
        resolvers: settings.dns.resolvers.clone(),
        probe,
        connect: certd::Connect {
            networks: settings.connect.networks.iter().copied().collect(),
            service: settings.connect.service.as_ref().map(service),
            ..certd::Connect::default()
        },
        local_lifetime: settings.local_ca.lifetime,
        ..certd::Settings::default()
    }
}

/// The edge's.
pub(crate) fn proxy(settings: &Settings) -> proxy::Settings {
    let edge = &settings.edge;
    proxy::Settings {
        http: edge.http.clone(),
        https: edge.https.clone(),
        metrics: Some(edge.metrics),
        zones: edge.zones.clone(),
        public_https_port: Some(edge.public_https_port),
        workers: edge.workers,
        max_connections: edge.max_connections,
        max_connections_per_address: edge.max_connections_per_address,
        max_handshakes: edge.max_handshakes,
        proxy_protocol: edge.proxy_protocol.iter().copied().collect(),
        trusted_proxies: edge.trusted_proxies.iter().copied().collect(),
        drain_limit: edge.drain,
        unix_backends: edge.unix_backends.clone(),
        access_log: match &edge.access_log {
            config::AccessLog::File(path) => proxy::AccessLog::File(path.clone()),
            config::AccessLog::Stdout => proxy::AccessLog::Stdout,
            config::AccessLog::Off => proxy::AccessLog::Off,
        },
        hsts: edge.hsts,
        forbidden_backends: vec![settings.api.listen],
        ..proxy::Settings::default()
    }
}

/// Where this process can reach its own https listener: a listener on every address is reached on loopback.
pub(crate) fn probe(https: &[SocketAddr]) -> Option<SocketAddr> {
    let first = *https.first()?;
    Some(match first.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => ([127, 0, 0, 1], first.port()).into(),
        IpAddr::V6(v6) if v6.is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, first.port()).into(),
        _ => first,
    })
}

/// The files of an edge in the data directory.
pub(crate) struct EdgeFiles {
    /// The encrypted replica.
    pub(crate) replica: PathBuf,
    /// Usage that was not sent yet.
    pub(crate) usage: PathBuf,
    /// The edge's id.
    pub(crate) id: PathBuf,
}
