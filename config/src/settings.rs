//! The whole of the settings, and how they are made of a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::document::Section;
use crate::error::{ConfigError, ConfigErrors, Faults};
use crate::listeners::Claims;
use crate::{Acme, Api, Connect, Control, Dns, Edge, LocalCa, Log, Store};
use crate::{acme, api, connect, control, dns, edge, file, later, local_ca, log, store};
use model::acme::ChallengeKind;

/// The tables and keys at the top of the file.
const KEYS: [&str; 11] = [
    "data",
    "reload_seconds",
    "edge",
    "api",
    "store",
    "acme",
    "dns",
    "connect",
    "control",
    "local_ca",
    "log",
];
const DATA: &str = "stoa-data";
/// Long enough to load the state of a large edge, short enough for whoever waits for a reload.
const RELOAD_SECONDS: u64 = 30;

/// Everything that an operator can set, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file they come from; none if everything has its default.
    pub file: Option<PathBuf>,
    /// SQLite, the edge's replica and journals, local CA, master key. Made if it is not there.
    pub data: PathBuf,
    /// How long a process that is to take the place of this one may take to be ready.
    pub reload: Duration,
    /// The edge.
    pub edge: Edge,
    /// The admin API.
    pub api: Api,
    /// The database.
    pub store: Store,
    /// The authority for public names; none: the local authority signs.
    pub acme: Option<Acme>,
    /// Look-ups of domains.
    pub dns: Dns,
    /// Creators' own providers.
    pub connect: Connect,
    /// The control plane of an edge that runs apart.
    pub control: Option<Control>,
    /// The local authority.
    pub local_ca: LocalCa,
    /// The process's own log.
    pub log: Log,
}

/// What the command line puts in place of the file's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The data directory.
    pub data: Option<PathBuf>,
}

/// Reads and checks a file; without one, everything has its default. Files that the settings name are read,
/// variables that they name are looked up, nothing is written and nothing is connected to.
///
/// # Errors
/// [`ConfigErrors`] has everything that is wrong, with line and column.
pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Settings, ConfigErrors> {
    let text = match path.map(file::read).transpose() {
        Ok(text) => text.unwrap_or_default(),
        Err(message) => {
            let errors = vec![ConfigError { position: None, message }];
            return Err(ConfigErrors { file: path.map(Path::to_owned), errors });
        }
    };
    parse(&text, path, overrides)
}

/// As [`load`], of a text; `file` is only its name.
///
/// # Errors
/// [`ConfigErrors`] has everything that is wrong, with line and column.
pub fn parse(text: &str, file: Option<&Path>, overrides: Overrides) -> Result<Settings, ConfigErrors> {
    let mut faults = Faults::new(text);
    let file = file.map(Path::to_owned);
    let (table, malformed) = DeTable::parse_recoverable(text);
    for error in &malformed {
        let message = error.message().replace('\n', ", ");
        match error.span() {
            Some(span) => faults.at(span, message),
            None => faults.missing(message),
        }
    }
    if !malformed.is_empty() {
        return Err(faults.into_errors(file));
    }
    let root = Section::root(table.get_ref());
    let settings = read(&root, file.clone(), overrides, &mut faults);
    faults.finish(file, settings)
}

fn read(
    root: &Section<'_>,
    file: Option<PathBuf>,
    overrides: Overrides,
    faults: &mut Faults<'_>,
) -> Settings {
    let keys: Vec<&str> = KEYS.into_iter().chain(later::SECTIONS).collect();
    root.refuse_others(&keys, faults);
    later::refuse(root, faults);
    let data = overrides.data.unwrap_or_else(|| data(root, faults));
    let reload = root.number("reload_seconds", 1..=3_600, faults).unwrap_or(RELOAD_SECONDS);
    let edge_section = root.section("edge", &edge::KEYS, faults);
    let api_section = root.section("api", &api::KEYS, faults);
    let settings = Settings {
        edge: edge::read(&edge_section, &data, faults),
        api: api::read(&api_section, faults),
        store: store::read(&root.section("store", &store::KEYS, faults), &data, faults),
        acme: acme::read(&root.section("acme", &acme::KEYS, faults), faults),
        dns: dns::read(&root.section("dns", &dns::KEYS, faults), faults),
        connect: connect::read(&root.section("connect", &connect::KEYS, faults), faults),
        control: control::read(&root.section("control", &control::KEYS, faults), faults),
        local_ca: local_ca::read(&root.section("local_ca", &local_ca::KEYS, faults), faults),
        log: log::read(&root.section("log", &log::KEYS, faults), faults),
        file,
        data,
        reload: Duration::from_secs(reload),
    };
    check_listeners(&settings, &edge_section, &api_section, faults);
    check_acme(&settings, &edge_section, faults);
    settings
}

fn data(root: &Section<'_>, faults: &mut Faults<'_>) -> PathBuf {
    let Some(text) = root.text("data", faults) else { return DATA.into() };
    let path = Path::new(text.value);
    if text.value.is_empty() {
        faults.at(text.span, format!("`data` is empty: name a directory, e.g. {DATA}"));
    } else if path.exists() && !path.is_dir() {
        faults.at(text.span, format!("`data` is `{}`, which is not a directory: name another", text.value));
    }
    path.to_owned()
}

/// No two keys listen on the same address. An edge that runs apart has no API.
fn check_listeners(settings: &Settings, edge: &Section<'_>, api: &Section<'_>, faults: &mut Faults<'_>) {
    let mut claims = Claims::default();
    for (key, addresses) in [("http", &settings.edge.http), ("https", &settings.edge.https)] {
        for address in addresses {
            claims.claim(*address, &edge.path(key), edge.span_of(key), faults);
        }
    }
    claims.claim(settings.edge.metrics, &edge.path("metrics"), edge.span_of("metrics"), faults);
    if settings.control.is_none() {
        claims.claim(settings.api.listen, &api.path("listen"), api.span_of("listen"), faults);
    }
}

/// Challenges of the kind http-01 come in the clear (RFC 8555 §8.3).
fn check_acme(settings: &Settings, edge: &Section<'_>, faults: &mut Faults<'_>) {
    let acme = settings.acme.as_ref().filter(|acme| acme.challenge == ChallengeKind::Http01);
    if let (Some(_), [], Some(span)) = (acme, settings.edge.http.as_slice(), edge.span_of("http")) {
        faults.at(
            span,
            "`edge.http` is empty, but [acme] needs it: the authority asks for its proof on port 80",
        );
    }
}

#[cfg(test)]
mod tests;
