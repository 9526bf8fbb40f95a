//! `[acme]`: the authority that signs certificates for public names (RFC 8555).

mod dns;

use std::path::PathBuf;

use model::acme::ChallengeKind;
use model::secret::Secret;
use url::Url;

use crate::document::Section;
use crate::error::Faults;
use crate::{file, secret};

pub(crate) use dns::KEYS as DNS_KEYS;
pub use dns::{AcmeDns, DnsProvider, TsigAlgorithm};

pub(crate) const KEYS: [&str; 10] = [
    "directory",
    "ca_file",
    "contact",
    "challenge",
    "dns_persist",
    "profiles",
    "eab_key_id",
    "eab_hmac_key",
    "fallback",
    "dns",
];
const FALLBACK_KEYS: [&str; 6] =
    ["directory", "ca_file", "contact", "profiles", "eab_key_id", "eab_hmac_key"];
/// Most authorities beside the first.
const MAX_FALLBACKS: usize = 4;

/// An ACME authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Its directory, `https://…`.
    pub directory: String,
    /// PEM file with trust anchors of the directory beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `mailto:…` of the operator.
    pub contact: Option<String>,
    /// How names are proved: over cleartext (http-01, the default), in a handshake (tls-alpn-01), or by texts in
    /// [`Self::dns`] (dns-01), and over cleartext where that is not possible.
    pub challenge: ChallengeKind,
    /// The zone of ours where texts for dns-01 are written; there with that challenge only.
    pub dns: Option<AcmeDns>,
    /// Whether names may be proved by a text that their owners leave in the DNS for good (dns-persist-01).
    pub dns_persist: bool,
    /// Kinds of certificates that are wanted, the best first.
    pub profiles: Vec<String>,
    /// The account that was made on its own site, if it wants one.
    pub external: Option<External>,
    /// Authorities that are asked when this one cannot be, in order.
    pub fallbacks: Vec<Acme>,
}

/// An account that was made on an authority's own site (external account binding, RFC 8555 §7.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Its key's id.
    pub key_id: String,
    /// The key in base64url.
    pub hmac_key: Secret,
}

/// The section; none if the file has none, and then certificates come from the local authority.
pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Acme> {
    let place = section.span()?;
    if section.span_of("directory").is_none() {
        faults.at(place, "[acme] has no `directory`: name one, e.g. https://acme-v02.api.letsencrypt.org/directory, or remove [acme]");
    }
    let first = authority(section, challenge(section, faults), faults);
    let dns = zone(section, first.challenge, faults);
    let dns_persist = section.truth("dns_persist", faults).unwrap_or_default();
    Some(Acme { fallbacks: fallbacks(section, &first, faults), dns, dns_persist, ..first })
}

/// The zone for dns-01, which that challenge needs and no other has a use for.
fn zone(section: &Section<'_>, challenge: ChallengeKind, faults: &mut Faults<'_>) -> Option<AcmeDns> {
    let found = section.table(("dns", "acme.dns"), &DNS_KEYS, faults);
    match (challenge, found.span(), section.span_of("challenge")) {
        (ChallengeKind::Dns01, None, Some(place)) => {
            faults.at(
                place,
                "`acme.challenge` is `dns-01`, but there is no [acme.dns]: name the zone to write into",
            );
        }
        (challenge, Some(place), _) if challenge != ChallengeKind::Dns01 => {
            faults.at(place, "[acme.dns] is for `acme.challenge = \"dns-01\"`: write that, or remove it");
        }
        _ => {}
    }
    dns::read(&found, faults)
}

fn fallbacks(section: &Section<'_>, first: &Acme, faults: &mut Faults<'_>) -> Vec<Acme> {
    let mut fallbacks: Vec<Acme> = Vec::new();
    for found in section.sections(("fallback", "acme.fallback"), &FALLBACK_KEYS, faults) {
        let place = found.span().unwrap_or_default();
        if found.span_of("directory").is_none() {
            faults.at(
                place.clone(),
                "[[acme.fallback]] has no `directory`: name the authority's, or remove it",
            );
        }
        let acme = authority(&found, first.challenge, faults);
        if fallbacks.iter().chain([first]).any(|other| other.directory == acme.directory) {
            let text = format!("`acme.fallback` names `{}` twice: once is enough", acme.directory);
            faults.at(place.clone(), text);
        }
        if fallbacks.len() >= MAX_FALLBACKS {
            faults
                .at(place, format!("`acme.fallback` has more than {MAX_FALLBACKS} authorities: remove some"));
        }
        fallbacks.push(Acme { contact: acme.contact.clone().or_else(|| first.contact.clone()), ..acme });
    }
    fallbacks
}

fn authority(section: &Section<'_>, challenge: ChallengeKind, faults: &mut Faults<'_>) -> Acme {
    let profiles = section.texts("profiles", faults).unwrap_or_default();
    Acme {
        directory: directory(section, faults).unwrap_or_default(),
        ca_file: file::certificates(section, "ca_file", faults),
        contact: contact(section, faults),
        challenge,
        dns: None,
        dns_persist: false,
        profiles: profiles.iter().map(|text| text.value.to_owned()).collect(),
        external: external(section, faults),
        fallbacks: Vec::new(),
    }
}

/// Both of its keys or none.
fn external(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<External> {
    let (id, key) = (section.span_of("eab_key_id"), section.span_of("eab_hmac_key"));
    if let (Some(place), None) | (None, Some(place)) = (id, key) {
        let (id, key) = (section.path("eab_key_id"), section.path("eab_hmac_key"));
        faults.at(place, format!("`{id}` and `{key}` belong together: write both, or none"));
    }
    let key_id = section.text("eab_key_id", faults).map(|text| text.value.to_owned());
    let hmac_key = secret::read(section, "eab_hmac_key", faults);
    Some(External { key_id: key_id?, hmac_key: hmac_key? })
}

fn directory(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = section.text("directory", faults)?;
    let sound = Url::parse(text.value)
        .is_ok_and(|url| url.scheme() == "https" && url.has_host() && url.username().is_empty());
    if !sound {
        faults.at(text.span, format!("`{}` is `{}`: write an https:// address", text.path, text.value));
    }
    Some(text.value.to_owned())
}

fn challenge(section: &Section<'_>, faults: &mut Faults<'_>) -> ChallengeKind {
    let Some(text) = section.text("challenge", faults) else { return ChallengeKind::default() };
    match text.value {
        "http-01" => ChallengeKind::Http01,
        "tls-alpn-01" => ChallengeKind::TlsAlpn01,
        "dns-01" => ChallengeKind::Dns01,
        other => {
            let advice = "write http-01, tls-alpn-01 or dns-01";
            faults.at(text.span, format!("`acme.challenge` is `{other}`: {advice}"));
            ChallengeKind::default()
        }
    }
}

fn contact(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = section.text("contact", faults)?;
    let address = text.value.strip_prefix("mailto:").and_then(|address| address.split_once('@'));
    let sound = address.is_some_and(|(user, host)| !user.is_empty() && model::Host::parse(host).is_ok());
    if !sound {
        faults.at(text.span, format!("`{}` is `{}`: write mailto:ops@example.com", text.path, text.value));
    }
    Some(text.value.to_owned())
}
