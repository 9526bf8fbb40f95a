//! `[acme.dns]`: the zone of ours where texts for dns-01 are written, and what opens it (RFC 8555 §8.4).

use std::net::SocketAddr;
use std::path::PathBuf;

use model::Host;
use model::secret::Secret;
use url::Url;

use crate::document::Section;
use crate::error::Faults;
use crate::{control, dns, file, secret};

pub(crate) const KEYS: [&str; 9] =
    ["provider", "zone", "server", "url", "ca_file", "key_name", "algorithm", "secret", "name_servers"];

/// A zone at a DNS provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeDns {
    /// Its name.
    pub zone: Host,
    /// Who runs it, and what opens it.
    pub provider: DnsProvider,
    /// The servers that must show a text before the authority is told to look; none: those that its NS records
    /// name.
    pub name_servers: Vec<SocketAddr>,
}

/// Who runs a zone, and what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsProvider {
    /// PowerDNS's HTTP API.
    PowerDns {
        /// Where the API is.
        url: String,
        /// Its `api-key`.
        key: Secret,
        /// PEM file with trust anchors of the API beside the system's.
        ca_file: Option<PathBuf>,
    },
    /// Dynamic updates signed with TSIG (RFC 2136, RFC 8945).
    Rfc2136 {
        /// The primary server, `host:port`.
        server: String,
        /// The key's name.
        key_name: String,
        /// What it signs with.
        algorithm: TsigAlgorithm,
        /// The key, base64.
        secret: Secret,
    },
    /// Cloudflare.
    Cloudflare {
        /// An API token.
        token: Secret,
        /// Another address of the API than the provider's.
        url: Option<String>,
    },
    /// DigitalOcean.
    DigitalOcean {
        /// An API token.
        token: Secret,
        /// Another address of the API than the provider's.
        url: Option<String>,
    },
}

/// What a TSIG key signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TsigAlgorithm {
    /// hmac-sha256
    #[default]
    HmacSha256,
    /// hmac-sha384
    HmacSha384,
    /// hmac-sha512
    HmacSha512,
}

/// What each provider needs and takes, beside `zone`, `secret` and `name_servers`.
struct Wants {
    name: &'static str,
    needs: &'static [(&'static str, &'static str)],
    takes: &'static [&'static str],
}

const WANTS: [Wants; 4] = [
    Wants { name: "powerdns", needs: &[("url", "\"http://127.0.0.1:8081\"")], takes: &["url", "ca_file"] },
    Wants {
        name: "rfc2136",
        needs: &[("server", "\"192.0.2.53:53\""), ("key_name", "\"stoa-key\"")],
        takes: &["server", "key_name", "algorithm"],
    },
    Wants { name: "cloudflare", needs: &[], takes: &["url"] },
    Wants { name: "digitalocean", needs: &[], takes: &["url"] },
];

/// The section; none if there is none, or it cannot be used.
pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<AcmeDns> {
    let place = section.span()?;
    for (key, example) in [
        ("provider", "\"rfc2136\""),
        ("zone", "\"example.com\""),
        ("secret", "{ file = \"/etc/stoa/dns-secret\" }"),
    ] {
        if section.span_of(key).is_none() {
            faults.at(place.clone(), format!("[acme.dns] has no `{key}`: write {key} = {example}"));
        }
    }
    let wants = wants(section, faults);
    if let Some(wants) = wants {
        check_keys(section, wants, faults);
    }
    let (zone, name_servers) = (zone(section, faults), name_servers(section, faults));
    let secret = secret::read(section, "secret", faults);
    let url = address(section, faults);
    let server = server(section, faults);
    let ca_file = file::certificates(section, "ca_file", faults);
    let key_name = section.text("key_name", faults).map(|text| text.value.to_owned());
    let algorithm = algorithm(section, faults);
    let provider = match wants?.name {
        "powerdns" => DnsProvider::PowerDns { url: url?, key: secret?, ca_file },
        "rfc2136" => {
            DnsProvider::Rfc2136 { server: server?, key_name: key_name?, algorithm, secret: secret? }
        }
        "cloudflare" => DnsProvider::Cloudflare { token: secret?, url },
        _ => DnsProvider::DigitalOcean { token: secret?, url },
    };
    Some(AcmeDns { zone: zone?, provider, name_servers })
}

fn wants(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<&'static Wants> {
    let text = section.text("provider", faults)?;
    let wants = WANTS.iter().find(|wants| wants.name == text.value);
    if wants.is_none() {
        let advice = "write powerdns, rfc2136, cloudflare or digitalocean";
        faults.at(text.span, format!("`{}` is `{}`: {advice}", text.path, text.value));
    }
    wants
}

fn check_keys(section: &Section<'_>, wants: &Wants, faults: &mut Faults<'_>) {
    let (name, place) = (wants.name, section.span().unwrap_or_default());
    for (key, example) in wants.needs {
        if section.span_of(key).is_none() {
            faults.at(
                place.clone(),
                format!("[acme.dns] has no `{key}`, which {name} needs: write {key} = {example}"),
            );
        }
    }
    for key in ["server", "url", "ca_file", "key_name", "algorithm"] {
        if let (Some(span), false) = (section.span_of(key), wants.takes.contains(&key)) {
            faults.at(span, format!("`{}` is nothing that {name} has: remove it", section.path(key)));
        }
    }
}

fn zone(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Host> {
    let text = section.text("zone", faults)?;
    Host::parse(text.value).map_err(|error| faults.at(text.span, format!("`{}`: {error}", text.path))).ok()
}

fn server(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = section.text("server", faults)?;
    let port = text.value.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if port.is_none_or(|(_, port)| port.parse::<u16>().map_or(true, |port| port == 0)) {
        let advice = "write the primary server with its port, e.g. 192.0.2.53:53";
        faults.at(text.span, format!("`{}` is `{}`: {advice}", text.path, text.value));
        return None;
    }
    Some(text.value.to_owned())
}

fn algorithm(section: &Section<'_>, faults: &mut Faults<'_>) -> TsigAlgorithm {
    let Some(text) = section.text("algorithm", faults) else { return TsigAlgorithm::default() };
    match text.value {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => {
            let advice = "write hmac-sha256, hmac-sha384 or hmac-sha512";
            faults.at(text.span, format!("`{}` is `{other}`: {advice}", text.path));
            TsigAlgorithm::default()
        }
    }
}

fn address(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = section.text("url", faults)?;
    let sound = Url::parse(text.value).is_ok_and(|url| {
        let clear = url.scheme() == "http" && control::is_loopback(&url);
        (url.scheme() == "https" || clear) && url.has_host() && url.username().is_empty()
    });
    if !sound {
        let advice = "write an https:// address, or http:// on this machine";
        faults.at(text.span, format!("`{}` is `{}`: {advice}", text.path, text.value));
        return None;
    }
    Some(text.value.to_owned())
}

fn name_servers(section: &Section<'_>, faults: &mut Faults<'_>) -> Vec<SocketAddr> {
    let texts = section.some_texts("name_servers", "192.0.2.53", faults).unwrap_or_default();
    texts.iter().filter_map(|text| dns::resolver(text, faults)).collect()
}
