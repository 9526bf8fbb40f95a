//! The keys that seal everything secret, in a process that runs: which there are, which one seals, and that the others of
//! the installation know.
//!
//! The keys come from `master-key` in the data directory or from the environment; which of them seals stands in the
//! store, so that all processes change over together. A process that seals with the new key says so, and then no value
//! of the old key comes from it any more. The edge in this process has a key of its own (`edge.key`, sealed), so that
//! its replica and its memory do not depend on which key seals in the store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::seal::{KeyRing, SealError, Sealed, SealingKey};
use model::secret::Secret;
use store::{Actor, HOLDER_LIFE, Store};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::data::{self, DataDirectory};

/// Time between two looks at the file and at the store.
const LOOK: Duration = Duration::from_secs(2);
/// What the edge's key is sealed as.
const EDGE_KEY_CONTEXT: &str = "edge-key";

/// Where the keys of a process come from.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// `master-key`; none: the environment has them, and they stay as they are until a restart.
    pub(crate) file: Option<PathBuf>,
    /// The key of the edge in this process, sealed.
    pub(crate) edge_key: PathBuf,
    /// What this process is called among all of an installation.
    process: String,
}

impl Sources {
    /// Those of a data directory.
    pub(crate) fn of(data: &DataDirectory) -> Self {
        let is_elsewhere = config::environment::master_key().is_some();
        let file = (!is_elsewhere).then(|| data.master_key_path());
        Self { file, edge_key: data.file("edge.key"), process: name() }
    }
}

/// Seals with the key that the store names, if it names one.
///
/// # Errors
/// That key is not at hand, or the store is away.
pub(crate) async fn agree(store: &Store, keys: &KeyRing) -> anyhow::Result<()> {
    let Some(wanted) = store.sealing_key().await? else { return Ok(()) };
    if !keys.seal_with(&wanted) {
        bail!(
            "the store is sealed with key {wanted}, and only {} is at hand: add the missing key to `master-key` or to \
             STOA_MASTER_KEY (`stoa master-key add --from FILE`)",
            keys.fingerprints().join(", ")
        );
    }
    Ok(())
}

/// Has a process that is about to seal known to the others, with the key that the store names. The first process of an
/// installation names its first key; `opens` looks whether it opens what is there.
///
/// # Errors
/// The keys open nothing here, or the store is away.
pub(crate) async fn join(
    store: &Store,
    keys: &KeyRing,
    sources: &Sources,
    opens: impl AsyncFnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    agree(store, keys).await?;
    opens().await?;
    store.begin_sealing(&Actor::system("stoa"), &keys.seals()).await?;
    store.note_holder(&sources.process, &keys.fingerprints(), &keys.seals()).await?;
    // The store may have been given another key before this process was known.
    agree(store, keys).await
}

/// The key of the edge in this process; made and kept if there is none.
///
/// # Errors
/// The file cannot be read or written, or a key sealed it that is not at hand.
pub(crate) fn edge_key(path: &Path, keys: &KeyRing) -> anyhow::Result<SealingKey> {
    let shown = || format!("`{}`", path.display());
    let Some(sealed) = read_sealed(path)? else {
        let key = SealingKey::generate();
        keep_edge_key(path, &key, keys)?;
        return Ok(key);
    };
    let text = keys.open(EDGE_KEY_CONTEXT, &sealed).with_context(shown)?;
    std::str::from_utf8(&text).map_err(|_| SealError::Form).and_then(SealingKey::from_hex).with_context(shown)
}

/// Fingerprint of the key that the edge's key is sealed with; none: there is no edge here.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn edge_key_seal(path: &Path) -> anyhow::Result<Option<String>> {
    Ok(read_sealed(path)?.map(|sealed| sealed.fingerprint().to_owned()))
}

/// Seals the edge's key anew if another key than the present one has sealed it.
///
/// # Errors
/// As [`edge_key`].
pub(crate) fn reseal_edge_key(path: &Path, keys: &KeyRing) -> anyhow::Result<()> {
    match edge_key_seal(path)? {
        Some(seal) if seal != keys.seals() => keep_edge_key(path, &edge_key(path, keys)?, keys),
        _ => Ok(()),
    }
}

fn keep_edge_key(path: &Path, key: &SealingKey, keys: &KeyRing) -> anyhow::Result<()> {
    let sealed = keys.seal(EDGE_KEY_CONTEXT, key.to_hex().as_bytes())?;
    data::write_private(path, &format!("{sealed}\n"))
}

fn read_sealed(path: &Path) -> anyhow::Result<Option<Sealed>> {
    let damaged =
        || format!("`{}` is damaged: remove it, and the edge fetches everything anew", path.display());
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).with_context(damaged),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// Keeps the keys as they are meant to be until `shutdown` says true or its sender is gone.
pub(crate) async fn run(store: Store, keys: KeyRing, sources: Sources, shutdown: watch::Receiver<bool>) {
    let mut told = None;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = crate::shutdown::wait(&shutdown) => break,
            _ = looks.tick() => {}
        }
        if let Err(error) = follow(&store, &keys, &sources, &mut told).await {
            tracing::warn!(error = %format!("{error:#}"), "the sealing keys could not be looked at; it is tried again");
        }
    }
    if let Err(error) = store.drop_holder(&sources.process).await {
        tracing::debug!(%error, "no farewell was written down");
    }
}

/// What was told last, and when.
type Told = Option<(Vec<String>, String, Instant)>;

/// Changes over to what file and store say, and tells the others how far it came, whether it came there or not: who is
/// not told of waits for nobody.
async fn follow(store: &Store, keys: &KeyRing, sources: &Sources, told: &mut Told) -> anyhow::Result<()> {
    let changed = change_over(store, keys, sources).await;
    // Before it is told: who is told may take the old key away.
    let own = reseal_edge_key(&sources.edge_key, keys);
    let seals = match &own {
        Ok(()) => keys.seals(),
        Err(_) => edge_key_seal(&sources.edge_key).ok().flatten().unwrap_or_else(|| keys.seals()),
    };
    let opens = keys.fingerprints();
    let is_news = told.as_ref().is_none_or(|(before_opens, before_seals, at)| {
        (before_opens, before_seals) != (&opens, &seals) || at.elapsed() >= HOLDER_LIFE / 3
    });
    if is_news {
        store.note_holder(&sources.process, &opens, &seals).await?;
        *told = Some((opens, seals, Instant::now()));
    }
    changed.and(own)
}

async fn change_over(store: &Store, keys: &KeyRing, sources: &Sources) -> anyhow::Result<()> {
    if let Some(path) = &sources.file {
        let text = std::fs::read_to_string(path).map(Secret::new);
        let text = text.with_context(|| format!("cannot read `{}`", path.display()))?;
        let found =
            KeyRing::parse(text.reveal()).with_context(|| format!("`{}` is damaged", path.display()))?;
        if found.fingerprints() != keys.fingerprints() {
            keys.replace(&found);
            tracing::info!(keys = ?keys.fingerprints(), "the sealing keys are others now");
        }
    }
    if let Some(wanted) = store.sealing_key().await?.filter(|wanted| *wanted != keys.seals()) {
        if !keys.seal_with(&wanted) {
            bail!("the store is to be sealed with key {wanted}, which is not at hand");
        }
        tracing::info!(key = wanted, "another key seals from now on");
    }
    Ok(())
}

/// Names this process among all of an installation, for people; containers may share a host's name and process ids.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}/{}", host.trim(), std::process::id(), SealingKey::generate().fingerprint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_keeps_its_key_when_another_one_seals() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("edge.key");
        let (old, new) = (SealingKey::generate(), SealingKey::generate());
        let keys = KeyRing::new([old.clone(), new.clone()])?;
        let made = edge_key(&path, &keys)?.fingerprint();
        assert_eq!(edge_key_seal(&path)?, Some(old.fingerprint()));
        keys.seal_with(&new.fingerprint());
        reseal_edge_key(&path, &keys)?;
        assert_eq!(edge_key_seal(&path)?, Some(new.fingerprint()));
        assert_eq!(edge_key(&path, &KeyRing::from(&new))?.fingerprint(), made);
        assert!(edge_key(&path, &KeyRing::from(&old)).is_err());
        Ok(())
    }
}
