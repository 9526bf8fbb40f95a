//! `[control]`: the control plane of an edge that runs apart.

use std::path::PathBuf;

use model::secret::Secret;
use url::{Host, Url};

use crate::document::Section;
use crate::error::Faults;
use crate::{file, secret};

pub(crate) const KEYS: [&str; 3] = ["url", "key", "ca_file"];

/// Where an edge gets what it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Base address of the admin API: `https://…`, or `http://` on loopback.
    pub url: String,
    /// An API key of the scope edge.
    pub key: Secret,
    /// PEM file with trust anchors of the control plane beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// The section; none if the file has none.
pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Control> {
    let place = section.span()?;
    for (key, example) in [("url", "\"https://control.example.com\""), ("key", "{ env = \"STOA_EDGE_KEY\" }")]
    {
        if section.span_of(key).is_none() {
            faults.at(place.clone(), format!("[control] has no `{key}`: write {key} = {example}"));
        }
    }
    let url = address(section, faults);
    let ca_file = file::certificates(section, "ca_file", faults);
    let key = secret::read(section, "key", faults);
    Some(Control { url: url?, key: key?, ca_file })
}

fn address(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let text = section.text("url", faults)?;
    let shown = text.value;
    let fault = match Url::parse(shown) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "`control.url` carries a user name: write the key as `control.key`".to_owned()
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            format!("`control.url` is `{shown}`: write scheme, host and port only")
        }
        Ok(url) if url.scheme() == "https" && url.has_host() => return Some(bare(shown)),
        Ok(url) if url.scheme() == "http" && is_loopback(&url) => return Some(bare(shown)),
        Ok(url) if url.scheme() == "http" => {
            format!("`control.url` is `{shown}`: private keys do not travel in the clear, write https://")
        }
        _ => format!("`control.url` is `{shown}`: write an https:// address"),
    };
    faults.at(text.span, fault);
    None
}

fn bare(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// Whether what is sent there stays on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
