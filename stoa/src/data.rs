//! The data directory: who holds it, and the small files in it.
//!
//! `ca.pem` (the local authority), `platform-key` (the first operator's key), `master-key` (opens every
//! private key), `edge.key` (the edge's own, sealed with it), `stoa.db`, the edge's replica and journals, the access log. One process holds it at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use model::seal::{KeyRing, SealingKey};
use model::secret::Secret;

/// Name of the file of keys, one a line, the oldest first.
pub(crate) const MASTER_KEY: &str = "master-key";

/// The directory, held for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    lock: File,
}

impl DataDirectory {
    /// Makes the directory if need be (mode 0700) and holds it, by the lock that the process before gave if
    /// there was one.
    ///
    /// # Errors
    /// The directory cannot be made or written, another process holds it, or the lock is another directory's.
    pub(crate) fn hold(path: &Path, given: Option<File>) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
            format!("cannot create the data directory `{shown}`: choose another with --data")
        })?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| {
            format!("cannot write to the data directory `{shown}`: check its owner and mode")
        })?;
        if let Some(given) = given {
            let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
            if identity(&given)? != identity(&lock)? {
                bail!("`{shown}` is another data directory than the running stoa's: that needs a restart");
            }
            return Ok(Self { path: path.to_owned(), lock: given });
        }
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "the data directory `{shown}` is held by another stoa: stop it, or choose another with --data"
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot hold the data directory `{shown}`"))
            }
        }
    }

    /// A second handle of the lock, for a process that is to take over.
    ///
    /// # Errors
    /// If there are no file descriptors left.
    pub(crate) fn lock(&self) -> std::io::Result<File> {
        self.lock.try_clone()
    }

    /// Notes in the lock which process is in charge, for whoever wants to signal it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn note_process(&self) -> anyhow::Result<()> {
        let text = format!("{:<10}\n", std::process::id());
        self.lock.write_all_at(text.as_bytes(), 0).context("cannot write the lock of the data directory")
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// As [`master_key_in`] this directory.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn master_key(&self, environment: Option<Secret>) -> anyhow::Result<Option<KeyRing>> {
        master_key_in(&self.path, environment)
    }

    /// Makes a key and keeps it in `master-key`. Only for a store in which nothing was sealed yet.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn new_master_key(&self) -> anyhow::Result<KeyRing> {
        let key = SealingKey::generate();
        write_private(&self.master_key_path(), &format!("{}\n", key.to_hex().as_str()))?;
        Ok(key.into())
    }

    /// Where the key is kept unless the environment has it.
    pub(crate) fn master_key_path(&self) -> PathBuf {
        self.file(MASTER_KEY)
    }
}

/// The keys that open everything secret: the environment's, or those in `master-key` of the directory; none if there
/// are neither.
///
/// # Errors
/// The text is no key, or the file cannot be read.
pub(crate) fn master_key_in(data: &Path, environment: Option<Secret>) -> anyhow::Result<Option<KeyRing>> {
    if let Some(text) = environment {
        return KeyRing::parse(text.reveal()).map(Some).context("STOA_MASTER_KEY is no key");
    }
    let path = data.join(MASTER_KEY);
    match fs::read_to_string(&path).map(Secret::new) {
        Ok(text) => KeyRing::parse(text.reveal())
            .map(Some)
            .with_context(|| format!("`{}` is damaged: restore it from a backup", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// Makes a folder that only its owner may read, unless it is there.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the folder `{}`", path.display()))
}

/// Whether a stoa runs on the directory.
pub(crate) fn is_held(path: &Path) -> bool {
    let lock = File::open(path.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Writes a file that only its owner may read: whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    write_whole(path, text, 0o600)
}

/// Writes a file that everybody may read: whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_public(path: &Path, text: &str) -> anyhow::Result<()> {
    write_whole(path, text, 0o644)
}

fn write_whole(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let shown = || format!("cannot write `{}`", path.display());
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(mode)
        .open(&draft)
        .with_context(shown)?;
    file.set_permissions(fs::Permissions::from_mode(mode)).with_context(shown)?;
    file.write_all(text.as_bytes()).with_context(shown)?;
    file.sync_all().with_context(shown)?;
    fs::rename(&draft, path).with_context(shown)?;
    // A new master key must outlive a power cut before anything is sealed with it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
    folder.with_context(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_key_is_kept_and_is_private() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let data = DataDirectory::hold(&folder.path().join("data"), None)?;
        assert!(data.master_key(None)?.is_none());
        let made = data.new_master_key()?.fingerprints();
        assert_eq!(data.master_key(None)?.map(|keys| keys.fingerprints()), Some(made));
        assert_eq!(fs::metadata(data.master_key_path())?.permissions().mode() & 0o777, 0o600);
        Ok(())
    }

    #[test]
    fn a_damaged_master_key_is_named_and_left_as_it_is() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let data = DataDirectory::hold(folder.path(), None)?;
        fs::write(data.master_key_path(), "abc")?;
        let error = data.master_key(None).map(|_| ()).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("restore it from a backup")));
        assert_eq!(fs::read_to_string(data.master_key_path())?, "abc");
        Ok(())
    }

    #[test]
    fn a_lock_that_is_passed_on_holds_its_own_directory_only() -> anyhow::Result<()> {
        let (folder, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let first = DataDirectory::hold(folder.path(), None)?;
        let lock = || first.lock().map(Some);
        let error = DataDirectory::hold(other.path(), lock()?).map(|_| ()).map_err(|e| e.to_string());
        assert!(error.is_err_and(|text| text.contains("needs a restart")));
        let second = DataDirectory::hold(folder.path(), lock()?)?;
        drop(first);
        assert!(DataDirectory::hold(folder.path(), None).is_err());
        drop(second);
        assert!(DataDirectory::hold(folder.path(), None).is_ok());
        Ok(())
    }

    #[test]
    fn one_process_holds_the_directory() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let _held = DataDirectory::hold(folder.path(), None)?;
        let second = DataDirectory::hold(folder.path(), None).map(|_| ()).map_err(|error| error.to_string());
        assert!(second.is_err_and(|text| text.contains("held by another stoa")));
        Ok(())
    }
}
