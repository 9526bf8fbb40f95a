//! `[store]`: the database.

use std::path::Path;

use model::secret::Secret;

use crate::document::{Section, Text};
use crate::error::Faults;

pub(crate) const KEYS: [&str; 1] = ["url"];

/// The database of the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// `sqlite:<path>` or `postgres://…`; secret, because it may carry a password.
    pub url: Secret,
}

pub(crate) fn read(section: &Section<'_>, data: &Path, faults: &mut Faults<'_>) -> Store {
    let embedded = || Secret::new(format!("sqlite:{}", data.join("stoa.db").display()));
    let given = match section.inner("url") {
        Some(_) => crate::secret::read(section, "url", faults).inspect(|url| {
            if let Err(fault) = check(url.reveal()) {
                faults.at(section.span_of("url").unwrap_or_default(), fault);
            }
        }),
        None => section.text("url", faults).map(|text| written(&text, faults)),
    };
    Store { url: given.unwrap_or_else(embedded) }
}

fn written(text: &Text<'_>, faults: &mut Faults<'_>) -> Secret {
    if let Err(fault) = check(text.value) {
        faults.at(text.span.clone(), fault);
    }
    Secret::new(text.value.to_owned())
}

/// What is wrong with the address, without repeating it: it may carry a password.
fn check(url: &str) -> Result<(), &'static str> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path.split('?').next().unwrap_or_default() {
            "" => Err("`store.url` names no file: write sqlite:stoa-data/stoa.db"),
            ":memory:" => {
                Err("`store.url` would keep nothing over a restart: write sqlite:stoa-data/stoa.db")
            }
            _ => Ok(()),
        };
    }
    let postgres = url.starts_with("postgres://") || url.starts_with("postgresql://");
    match url::Url::parse(url) {
        Ok(url) if postgres && url.path().len() > 1 => Ok(()),
        Ok(_) if postgres => Err("`store.url` names no database: write postgres://user@host/database"),
        _ => Err(
            "`store.url` is no address of a database: write sqlite:stoa-data/stoa.db or postgres://user@host/database",
        ),
    }
}
