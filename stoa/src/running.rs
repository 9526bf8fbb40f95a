//! What the process in charge was configured with, kept in the data directory (`running.json`, mode 0600): what
//! `stoa diff` compares a file with, and what a process that takes over must agree with.
//!
//! It has the keys of the file as they stand there. Of what must not be printed it has a fingerprint, which tells
//! that a secret is another one, not what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use config::Settings;
use model::seal::SealingKey;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::command::Place;
use crate::data::{self, DataDirectory};

const FILE: &str = "running.json";
/// Purpose of the derived keys whose fingerprints are kept.
const PURPOSE: &str = "stoa: whether a secret setting changed";
/// What a process cannot take over from one that has it otherwise: both need the same data at the same time.
const FIXED: [&str; 4] = ["data", "store.url", "control.url", "control.key"];

/// What a process was configured with.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Of the program.
    version: String,
    /// The configuration's file; none: all defaults.
    file: Option<PathBuf>,
    /// The file's keys.
    keys: BTreeMap<String, String>,
    /// Of settings that must not be printed.
    fingerprints: BTreeMap<String, String>,
}

/// One key that is not as it was.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    key: String,
    old: String,
    new: String,
    takes_effect: Effect,
}

/// When a change is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    /// After SIGHUP.
    Reload,
    /// After a stop and a start.
    Restart,
}

impl Running {
    /// What `settings` are.
    ///
    /// # Errors
    /// Their file is gone by now.
    pub(crate) fn of(settings: &Settings) -> anyhow::Result<Self> {
        let text = match &settings.file {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?
            }
            None => String::new(),
        };
        let mut keys = config::flatten(&text);
        keys.insert("data".to_owned(), format!("\"{}\"", settings.data.display()));
        let mut secrets = vec![("store.url", settings.store.url.reveal())];
        if let Some(control) = &settings.control {
            secrets.extend([("control.url", control.url.as_str()), ("control.key", control.key.reveal())]);
        }
        let fingerprint = |(key, secret): (&str, &str)| {
            let derived = SealingKey::derive(secret.as_bytes(), PURPOSE)?;
            anyhow::Ok((key.to_owned(), derived.fingerprint()))
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            file: settings.file.clone(),
            keys,
            fingerprints: secrets.into_iter().map(fingerprint).collect::<Result<_, _>>()?,
        })
    }

    /// What the process in charge of `data` wrote down; none if none did.
    ///
    /// # Errors
    /// The file cannot be read.
    fn read(data: &Path) -> anyhow::Result<Option<Self>> {
        let path = data.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("`{}` is not understood", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// Writes it down, as the process in charge.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn note(&self, data: &DataDirectory) -> anyhow::Result<()> {
        data::write_private(&data.file(FILE), &format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// Whether a process with these settings can take the place of the one that runs.
    ///
    /// # Errors
    /// Names what needs a restart.
    pub(crate) fn check_succession(&self, data: &Path) -> anyhow::Result<()> {
        let Some(old) = Self::read(data)? else { return Ok(()) };
        let fixed: Vec<String> = old
            .differences(self)
            .into_iter()
            .filter(|difference| difference.takes_effect == Effect::Restart)
            .map(|difference| format!("`{}`", difference.key))
            .collect();
        match fixed.as_slice() {
            [] => Ok(()),
            fixed => bail!("{} changed: that needs a restart, not a reload", fixed.join(", ")),
        }
    }

    /// Whether `settings` name the store of the process in charge of their data directory, if there is one: a command
    /// must not work on another.
    ///
    /// # Errors
    /// They name another.
    pub(crate) fn check_store(settings: &Settings) -> anyhow::Result<()> {
        let running = if data::is_held(&settings.data) { Self::read(&settings.data)? } else { None };
        let Some(running) = running else { return Ok(()) };
        let differs = running.differences(&Self::of(settings)?).iter().any(|found| found.key == "store.url");
        if differs {
            bail!(
                "the stoa that runs on `{}` has another store: give its configuration{}",
                settings.data.display(),
                running.file.map(|file| format!(" (--config {})", file.display())).unwrap_or_default()
            );
        }
        Ok(())
    }

    fn differences(&self, new: &Self) -> Vec<Difference> {
        let defaults = config::defaults();
        let shown = |keys: &BTreeMap<String, String>, key: &str| match (keys.get(key), defaults.get(key)) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => format!("{default} (default)"),
            (None, None) => "(default)".to_owned(),
        };
        let bare = |text: String| text.trim_end_matches(" (default)").to_owned();
        let names: BTreeSet<&String> = self.keys.keys().chain(new.keys.keys()).collect();
        let mut found = Vec::new();
        for key in names {
            let (old, now) = (shown(&self.keys, key), shown(&new.keys, key));
            // A default that is written down is no change.
            if bare(old.clone()) != bare(now.clone()) {
                found.push(Difference { key: key.clone(), old, new: now, takes_effect: Effect::of(key) });
            }
        }
        for (key, old) in &self.fingerprints {
            let is_told = found.iter().any(|difference| difference.key == *key);
            if !is_told && new.fingerprints.get(key).is_some_and(|now| now != old) {
                let hidden = || "(secret)".to_owned();
                let (old, now) = (hidden(), "(another secret)".to_owned());
                found.push(Difference { key: key.clone(), old, new: now, takes_effect: Effect::of(key) });
            }
        }
        // The same place, written otherwise.
        found.retain(|difference| {
            let same = self.fingerprints.get(&difference.key).zip(new.fingerprints.get(&difference.key));
            same.is_none_or(|(old, now)| old != now)
        });
        found
    }
}

impl Effect {
    fn of(key: &str) -> Self {
        if FIXED.contains(&key) { Self::Restart } else { Self::Reload }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Restart => "restart",
        }
    }
}

/// `stoa diff`: prints what would change; whether anything would.
///
/// # Errors
/// The configuration is not valid, or no stoa runs on the data directory.
pub(crate) fn diff(place: &Place, data: Option<&Path>, as_json: bool) -> anyhow::Result<bool> {
    let settings = crate::settings::checked(place)?;
    let running = data.unwrap_or(&settings.data);
    let old = if data::is_held(running) { Running::read(running)? } else { None };
    let old = old.with_context(|| {
        format!("no stoa runs on `{}`: name its data directory with --running", running.display())
    })?;
    let differences = old.differences(&Running::of(&settings)?);
    if as_json {
        println!("{}", json!({ "differences": differences }));
        return Ok(!differences.is_empty());
    }
    for Difference { key, old, new, takes_effect } in &differences {
        println!("{key}: {old} -> {new}  [{}]", takes_effect.as_str());
    }
    if differences.is_empty() {
        println!("no differences");
    }
    Ok(!differences.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(text: &str) -> anyhow::Result<Running> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("stoa.toml");
        std::fs::write(&file, text)?;
        Running::of(&config::load(Some(&file), config::Overrides::default())?)
    }

    fn told(old: &str, new: &str) -> anyhow::Result<Vec<String>> {
        let differences = running(old)?.differences(&running(new)?);
        Ok(differences
            .into_iter()
            .map(|it| format!("{} {} {} {}", it.key, it.old, it.new, it.takes_effect.as_str()))
            .collect())
    }

    #[test]
    fn only_what_changes_is_told() -> anyhow::Result<()> {
        assert_eq!(told("", "[edge]\ndrain_seconds = 30\n")?, Vec::<String>::new());
        assert_eq!(
            told("[log]\nlevel = \"debug\"\n", "[edge]\ndrain_seconds = 5\n")?,
            ["edge.drain_seconds 30 (default) 5 reload", "log.level \"debug\" \"info\" (default) reload",]
        );
        Ok(())
    }

    #[test]
    fn what_both_processes_need_alike_needs_a_restart_and_a_password_is_not_told() -> anyhow::Result<()> {
        let store = |password| format!("[store]\nurl = \"postgres://u:{password}@db/stoa\"\n");
        let told = told(&store("one"), &store("two"))?;
        assert_eq!(told, ["store.url (secret) (another secret) restart"]);
        let folder = tempfile::tempdir()?;
        let data = DataDirectory::hold(folder.path(), None)?;
        running(&store("one"))?.note(&data)?;
        running(&store("one"))?.check_succession(folder.path())?;
        let refused = running(&store("two"))?.check_succession(folder.path());
        let text = refused.map_err(|error| error.to_string());
        assert_eq!(text, Err("`store.url` changed: that needs a restart, not a reload".to_owned()));
        assert!(!std::fs::read_to_string(data.file(FILE))?.contains("one"));
        Ok(())
    }
}
