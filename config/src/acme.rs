//! `[acme]`: the authority that signs certificates for public names (RFC 8555).

use std::path::PathBuf;

use model::acme::ChallengeKind;
use url::Url;

use crate::document::Section;
use crate::error::Faults;
use crate::file;

pub(crate) const KEYS: [&str; 4] = ["directory", "ca_file", "contact", "challenge"];

/// An ACME authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Its directory, `https://…`.
    pub directory: String,
    /// PEM file with trust anchors of the directory beside the system's.
    pub ca_file: Option<PathBuf>,
    /// `mailto:…` of the operator.
    pub contact: Option<String>,
    /// How names are proved: over cleartext (http-01, the default) or in a handshake (tls-alpn-01).
    pub challenge: ChallengeKind,
}

/// The section; none if the file has none, and then certificates come from the local authority.
pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Acme> {
    let place = section.span()?;
    if section.span_of("directory").is_none() {
        faults.at(place, "[acme] has no `directory`: name one, e.g. https://acme-v02.api.letsencrypt.org/directory, or remove [acme]");
    }
    let acme = Acme {
        directory: directory(section, faults).unwrap_or_default(),
        ca_file: file::certificates(section, "ca_file", faults),
        contact: contact(section, faults),
        challenge: challenge(section, faults),
    };
    Some(acme)
}

fn directory(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = section.text("directory", faults)?;
    let sound = Url::parse(text.value)
        .is_ok_and(|url| url.scheme() == "https" && url.has_host() && url.username().is_empty());
    if !sound {
        faults.at(text.span, format!("`acme.directory` is `{}`: write an https:// address", text.value));
    }
    Some(text.value.to_owned())
}

fn challenge(section: &Section<'_>, faults: &mut Faults<'_>) -> ChallengeKind {
    let Some(text) = section.text("challenge", faults) else { return ChallengeKind::default() };
    match text.value {
        "http-01" => ChallengeKind::Http01,
        "tls-alpn-01" => ChallengeKind::TlsAlpn01,
        other => {
            faults.at(text.span, format!("`acme.challenge` is `{other}`: write http-01 or tls-alpn-01"));
            ChallengeKind::default()
        }
    }
}

fn contact(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = section.text("contact", faults)?;
    let address = text.value.strip_prefix("mailto:").and_then(|address| address.split_once('@'));
    let sound = address.is_some_and(|(user, host)| !user.is_empty() && model::Host::parse(host).is_ok());
    if !sound {
        faults.at(text.span, format!("`acme.contact` is `{}`: write mailto:ops@example.com", text.value));
    }
    Some(text.value.to_owned())
}
