//! A configuration as plain lines, key by key: for telling what would change, not for reading settings.
//!
//! What stands in the file is told as it stands there. Secrets are named in the file, not written, but an address
//! may carry a password: it is left out.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// The keys of a sound file, as `table.key`, each with its value in TOML. Keys that are left out are not there.
#[must_use]
pub fn flatten(text: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    if let Ok(table) = DeTable::parse(text) {
        for (name, value) in table.get_ref() {
            match value.get_ref() {
                DeValue::Table(inner) => {
                    for (key, value) in inner {
                        keys.insert(format!("{}.{}", name.get_ref(), key.get_ref()), shown(value.get_ref()));
                    }
                }
                value => drop(keys.insert(name.get_ref().to_string(), shown(value))),
            }
        }
    }
    keys
}

/// The defaults, as far as they are fixed: the example's lines, which a test holds to be them.
#[must_use]
pub fn defaults() -> BTreeMap<String, String> {
    flatten(include_str!("../../stoa.example.toml"))
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{}\"", without_password(text)),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| shown(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{} = {}", key.get_ref(), shown(value.get_ref())))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// `postgres://user:***@host` for `postgres://user:secret@host`; a parameter that is a password goes too.
fn without_password(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if url.password().is_some() || url.query().is_some() => {
            if url.password().is_some() {
                // Refused only for addresses that can have no password.
                let _set = url.set_password(Some("***"));
            }
            url.set_query(None);
            url.to_string()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_one_line_and_no_password_is_among_them() {
        let keys = flatten(
            "data = \"x\"\n[edge]\nhttp = [\"127.0.0.1:1\"]\nworkers = 2\nhsts = true\n\
             [store]\nurl = \"postgres://u:hunter2@db/stoa?password=hunter2\"\n\
             [control]\nkey = { env = \"KEY\" }\n",
        );
        let lines: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        assert_eq!(
            lines,
            [
                "control.key = { env = \"KEY\" }",
                "data = \"x\"",
                "edge.hsts = true",
                "edge.http = [\"127.0.0.1:1\"]",
                "edge.workers = 2",
                "store.url = \"postgres://u:***@db/stoa\"",
            ]
        );
    }

    #[test]
    fn the_defaults_are_those_of_the_example() {
        assert_eq!(defaults().get("edge.drain_seconds").map(String::as_str), Some("30"));
    }
}
