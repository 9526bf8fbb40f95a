//! `stoa master-key`: another key for everything that is sealed, without a pause. These commands work on the data
//! directory and the store themselves, beside a stoa that runs on them or without one.
//!
//! A key is never taken away while something needs it: a value in the store, a process, the edge's own key. What was
//! taken away is kept beside the others, because a backup from before needs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use model::clock::SystemClock;
use model::seal::{KeyRing, SealingKey};
use store::{Actor, HOLDER_LIFE, Holder, Store};
use tokio::time::{Instant, sleep};

use crate::command::{MasterKeyVerb, Place};
use crate::running::Running;
use crate::{custody, data};

/// Time between two looks at what the processes say.
const LOOK: Duration = Duration::from_millis(200);
/// Values between two words about how far it is.
const WORD: u64 = 10_000;

/// What the commands work on.
struct Desk {
    store: Store,
    keys: KeyRing,
    /// The data directory.
    data: PathBuf,
    /// Whether the keys are in the environment, where no command can change them.
    is_elsewhere: bool,
}

/// Carries out a command.
///
/// # Errors
/// What stands in the way, and what to do about it.
pub(crate) async fn run(verb: MasterKeyVerb) -> anyhow::Result<()> {
    match verb {
        MasterKeyVerb::List(place) => Desk::open(&place).await?.list().await,
        MasterKeyVerb::Add { from, place } => Desk::open(&place).await?.add(from.as_deref()),
        MasterKeyVerb::Rotate(place) => Desk::open(&place).await?.agreed().await?.rotate().await,
        MasterKeyVerb::Retire { fingerprint, place } => {
            Desk::open(&place).await?.agreed().await?.retire(&fingerprint).await
        }
    }
}

impl Desk {
    async fn open(place: &Place) -> anyhow::Result<Self> {
        let settings = crate::settings::checked(place)?;
        ensure!(
            settings.control.is_none(),
            "an edge that runs apart has no master key: ask its control plane"
        );
        let data = settings.data.clone();
        let environment = config::environment::master_key();
        let is_elsewhere = environment.is_some();
        let keys = data::master_key_in(&data, environment)?.with_context(|| {
            format!(
                "there is no master key in `{}`: run `stoa up` once, or name another with --data",
                data.display()
            )
        })?;
        Running::check_store(&settings)?;
        let store = Store::open(crate::settings::store(&settings), Arc::new(SystemClock)).await?;
        let desk = Self { store, keys, data, is_elsewhere };
        // Also the key that a restored backup needs can be added only by somebody who is let in without it.
        if let Some(wanted) = desk.store.sealing_key().await? {
            let _is_at_hand = desk.keys.seal_with(&wanted);
        }
        Ok(desk)
    }

    /// The same, where the store's own key is at hand: for what must know what the store needs.
    async fn agreed(self) -> anyhow::Result<Self> {
        ensure!(
            self.store.local_ca().await?.is_some(),
            "nothing was ever sealed in this store: name the configuration that stoa runs with (--config)"
        );
        custody::agree(&self.store, &self.keys).await?;
        Ok(self)
    }

    async fn list(&self) -> anyhow::Result<()> {
        let (mut counts, holders) = (self.counts().await?, self.store.holders().await?);
        println!("{:<12} {:<8} {:>10}  HELD BY", "FINGERPRINT", "USE", "SEALED");
        for key in self.keys.fingerprints() {
            let usage = if key == self.keys.seals() { "seals" } else { "opens" };
            let held = holders.iter().filter(|holder| holder.opens.contains(&key)).count();
            let sealed = counts.remove(&key).unwrap_or(0);
            println!("{key:<12} {usage:<8} {sealed:>10}  {held} of {} processes", holders.len());
        }
        for (key, sealed) in counts {
            println!("{key:<12} {:<8} {sealed:>10}  not at hand here", "missing");
        }
        Ok(())
    }

    /// A new key, or another node's, at the end of the file.
    fn add(&self, from: Option<&Path>) -> anyhow::Result<()> {
        if self.is_elsewhere {
            bail!(
                "the keys come from STOA_MASTER_KEY: write a new one (`openssl rand -hex 32`) behind the present one, with \
                 a comma between, on every node, and restart or reload each"
            );
        }
        let added = match from {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read `{}`", path.display()))?;
                KeyRing::parse(&text).with_context(|| format!("`{}` has no keys", path.display()))?
            }
            None => SealingKey::generate().into(),
        };
        let ring = KeyRing::new(self.keys.keys().into_iter().chain(added.keys()))?;
        data::write_private(&self.data.join(data::MASTER_KEY), &ring.to_text())?;
        for key in added.fingerprints() {
            println!(
                "{key}: opens from now on; `stoa master-key rotate` has it seal, once every node has it"
            );
        }
        Ok(())
    }

    /// Has the newest key seal, and everything sealed with it. Goes on where it was left.
    async fn rotate(&self) -> anyhow::Result<()> {
        let newest = self.keys.fingerprints().pop().unwrap_or_default();
        if newest != self.keys.seals() {
            let lacks = |holder: &Holder| !holder.opens.contains(&newest);
            self.wait_for_all(lacks, &format!("does not have key {newest}: add it there")).await?;
            self.store.use_sealing_key(&operator(), &newest).await?;
            self.keys.seal_with(&newest);
            println!("{newest}: seals from now on");
        }
        let lags = |holder: &Holder| holder.seals != newest;
        self.wait_for_all(lags, &format!("does not seal with key {newest} yet")).await?;
        if !data::is_held(&self.data) {
            custody::reseal_edge_key(&self.edge_key(), &self.keys)?;
        }
        self.reseal_all(&newest).await
    }

    async fn reseal_all(&self, newest: &str) -> anyhow::Result<()> {
        let old: Vec<String> = self.counts().await?.into_keys().filter(|key| key != newest).collect();
        if old.is_empty() {
            println!("{newest}: everything is sealed with it; for another key, `stoa master-key add` first");
        }
        for key in old {
            self.reseal(&key).await?;
        }
        Ok(())
    }

    async fn reseal(&self, old: &str) -> anyhow::Result<()> {
        let (began, mut said) = (Instant::now(), 0);
        let say = |done: u64| {
            if done / WORD > said {
                said = done / WORD;
                println!("{old}: {done} so far");
            }
        };
        let outcome = self.store.reseal(&self.keys, old, say).await?;
        println!("{old}: {} values sealed anew in {:.1} s", outcome.resealed, began.elapsed().as_secs_f64());
        if outcome.damaged > 0 {
            bail!(
                "{} values do not open, with whatever key: {}; each needs to be replaced before key {old} can be retired",
                outcome.damaged,
                outcome.places.join(", ")
            );
        }
        Ok(())
    }

    async fn retire(&self, key: &str) -> anyhow::Result<()> {
        let Some(retired) = self.keys.keys().into_iter().find(|held| held.fingerprint() == key) else {
            bail!("key {key} is not at hand: there are {}", self.keys.fingerprints().join(", "));
        };
        ensure!(key != self.keys.seals(), "key {key} seals: add another and rotate first");
        let sealed = self.counts().await?.remove(key).unwrap_or(0);
        ensure!(
            sealed == 0,
            "{sealed} values are sealed with key {key}: `stoa master-key rotate` seals them anew"
        );
        let seals = |holder: &Holder| holder.seals == key;
        if let Some(holder) = self.store.holders().await?.into_iter().find(seals) {
            bail!("process {} still seals with key {key}: try again in a moment", holder.process);
        }
        if custody::edge_key_seal(&self.edge_key())?.is_some_and(|seal| seal == key) {
            bail!("`{}` is still sealed with key {key}: `stoa master-key rotate`", self.edge_key().display());
        }
        self.store.note_retired_key(&operator(), key).await?;
        if self.is_elsewhere {
            println!(
                "{key}: nothing needs it any more; take it out of STOA_MASTER_KEY on every node, and keep it as long as a backup from before is kept"
            );
            return Ok(());
        }
        let kept = self.data.join("retired-keys");
        data::make_private_folder(&kept)?;
        let kept = kept.join(key);
        data::write_private(&kept, &format!("{}\n", retired.to_hex().as_str()))?;
        let left = self.keys.keys().into_iter().filter(|held| held.fingerprint() != key);
        data::write_private(&self.data.join(data::MASTER_KEY), &KeyRing::new(left)?.to_text())?;
        println!(
            "{key}: retired, and kept as `{}`: remove it with the last backup from before",
            kept.display()
        );
        Ok(())
    }

    /// Waits until no process is as `lags` says; one that has died is waited for until it counts as gone.
    async fn wait_for_all(&self, lags: impl Fn(&Holder) -> bool, how: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + HOLDER_LIFE;
        loop {
            let Some(holder) = self.store.holders().await?.into_iter().find(&lags) else { return Ok(()) };
            if Instant::now() >= deadline {
                bail!("process {} {how}", holder.process);
            }
            sleep(LOOK).await;
        }
    }

    async fn counts(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        Ok(self.store.sealed_counts().await?)
    }

    fn edge_key(&self) -> PathBuf {
        self.data.join("edge.key")
    }
}

fn operator() -> Actor {
    Actor::system("stoa master-key")
}

#[cfg(test)]
mod tests {
    use store::LocalCa;

    use super::*;

    #[tokio::test]
    async fn a_key_is_kept_as_long_as_values_are_sealed_with_it() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let options = store::Options {
            url: format!("sqlite:{}", folder.path().join("stoa.db").display()),
            zones: vec!["apps.test".parse()?],
            edge_addresses: Vec::new(),
        };
        let store = Store::open(options, Arc::new(SystemClock)).await?;
        let (old, new) = (SealingKey::generate(), SealingKey::generate());
        let keys = KeyRing::new([old.clone(), new.clone()])?;
        let key = keys.seal(LocalCa::KEY_CONTEXT, b"secret")?;
        store.put_local_ca(&LocalCa { cert_pem: String::new(), key }).await?;
        store.use_sealing_key(&operator(), &new.fingerprint()).await?;
        custody::agree(&store, &keys).await?;
        let desk = Desk { store, keys, data: folder.path().to_owned(), is_elsewhere: false };
        let refused = |outcome: anyhow::Result<()>| outcome.map_err(|error| error.to_string()).unwrap_err();
        let old = old.fingerprint();
        let text = refused(desk.retire(&old).await);
        assert!(text.starts_with(&format!("1 values are sealed with key {old}")), "{text}");
        desk.store.note_holder("a/1", std::slice::from_ref(&old), &old).await?;
        desk.reseal_all(&new.fingerprint()).await?;
        assert_eq!(
            refused(desk.retire(&old).await),
            format!("process a/1 still seals with key {old}: try again in a moment")
        );
        desk.store.drop_holder("a/1").await?;
        desk.retire(&old).await?;
        assert_eq!(
            data::master_key_in(folder.path(), None)?.map(|keys| keys.fingerprints()),
            Some(vec![new.fingerprint()])
        );
        Ok(())
    }
}
