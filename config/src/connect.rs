//! `[connect]`: how records are set at creators' own providers.

use model::Host;
use model::net::Network;
use model::secret::Secret;
use url::Url;

use crate::document::Section;
use crate::edge::networks;
use crate::error::Faults;
use crate::secret;

pub(crate) const KEYS: [&str; 5] = ["networks", "provider_id", "signing_key", "return_url", "key_host"];
const KEY_HOST: &str = "_dck1";

/// Creators' own providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// Networks of the operator's own that creators' servers may be in; else they must be on the internet.
    pub networks: Vec<Network>,
    /// Who we are to providers that speak Domain Connect; none: nobody.
    pub service: Option<ConnectService>,
}

/// Who we are to providers that speak Domain Connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectService {
    /// Our id, a domain of ours.
    pub provider_id: Host,
    /// Label of the TXT records of the public key, below it.
    pub key_host: String,
    /// RSA private key, PKCS #8 PEM.
    pub signing_key: Secret,
    /// Where browsers come back to.
    pub return_url: String,
}

pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Connect {
    Connect { networks: networks(section, "networks", faults), service: service(section, faults) }
}

fn service(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<ConnectService> {
    let needs = [
        ("provider_id", "\"example.com\""),
        ("signing_key", "{ file = \"/etc/stoa/domain-connect.pem\" }"),
        ("return_url", "\"https://console.example.com/v1/connect/return\""),
    ];
    let first = needs.iter().find_map(|(key, _)| section.span_of(key));
    let place = first.or_else(|| section.span_of("key_host"))?;
    for (key, example) in needs {
        if section.span_of(key).is_none() {
            faults.at(
                place.clone(),
                format!("[connect] has no `{key}` for Domain Connect: write {key} = {example}"),
            );
        }
    }
    let (id, url, label) =
        (provider_id(section, faults), return_url(section, faults), key_host(section, faults));
    let signing_key = secret::read(section, "signing_key", faults);
    Some(ConnectService { provider_id: id?, key_host: label?, signing_key: signing_key?, return_url: url? })
}

fn provider_id(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Host> {
    let text = section.text("provider_id", faults)?;
    Host::parse(text.value).map_err(|error| faults.at(text.span, format!("`{}`: {error}", text.path))).ok()
}

fn return_url(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = section.text("return_url", faults)?;
    let sound = Url::parse(text.value).is_ok_and(|url| {
        let bare = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
        url.scheme() == "https" && url.has_host() && bare
    });
    if !sound {
        let advice = "write an https:// address without a query";
        faults.at(text.span, format!("`{}` is `{}`: {advice}", text.path, text.value));
        return None;
    }
    Some(text.value.to_owned())
}

fn key_host(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let Some(text) = section.text("key_host", faults) else { return Some(KEY_HOST.to_owned()) };
    let written =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if text.value.is_empty() || text.value.len() > 63 || !text.value.bytes().all(written) {
        let advice = "write one label, e.g. _dck1";
        faults.at(text.span, format!("`{}` is `{}`: {advice}", text.path, text.value));
        return None;
    }
    Some(text.value.to_owned())
}
