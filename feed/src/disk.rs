//! Files that outlive the process: private (mode 0600), replaced whole, set aside rather than deleted.
//!
//! What is deliberately absent: any idea of what the files hold.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::Timestamp;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The system refused.
    #[error("cannot {action} `{}`: {source}; the path must be a file that stoa may read and write, on a disk with room", path.display())]
    Io {
        /// What was tried, e.g. `open`.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process holds it.
    #[error("`{}` is in use by another stoa: stop that one, or give this one its own data directory", path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
}

impl DiskError {
    /// For `map_err`: names what was tried and where.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Makes the folder that `path` lies in, for this user only, unless it is there.
pub(crate) fn make_folder(path: &Path) -> Result<(), DiskError> {
    let Some(folder) = folder_of(path) else { return Ok(()) };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(DiskError::io("create the folder", folder))
}

/// A new, empty file for this user only; what was there is gone.
pub(crate) fn create(path: &Path) -> Result<File, DiskError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(DiskError::io("create", path))
}

/// An existing file for reading and writing; none if there is none.
pub(crate) fn open(path: &Path) -> Result<Option<File>, DiskError> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::io("open", path)(error)),
    }
}

/// Takes the file for this process; given back when it is closed, also by a kill.
pub(crate) fn lock(file: &File, path: &Path) -> Result<(), DiskError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(DiskError::InUse { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(error)) => Err(DiskError::io("lock", path)(error)),
    }
}

/// Puts the finished file `from` in the place of `to` so that after a power cut one of the two is there.
pub(crate) fn replace(file: &File, from: &Path, to: &Path) -> Result<(), DiskError> {
    file.sync_all().map_err(DiskError::io("sync", from))?;
    rename(from, to)?;
    sync_folder(to);
    Ok(())
}

/// Puts `from` in the place of `to`, for as long as the power lasts.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    std::fs::rename(from, to).map_err(DiskError::io("replace", to))
}

/// Renames `path` to `<path>.damaged-<unix ms>` and tells the new name.
pub(crate) fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, DiskError> {
    let mut millis = now.unix_millis();
    let mut aside = with_suffix(path, &format!(".damaged-{millis}"));
    while aside.exists() {
        millis = millis.saturating_add(1);
        aside = with_suffix(path, &format!(".damaged-{millis}"));
    }
    std::fs::rename(path, &aside).map_err(DiskError::io("set aside", path))?;
    sync_folder(path);
    Ok(aside)
}

/// Appends one line to a file for this user only, and waits until the disk has it.
pub(crate) fn append_line(path: &Path, line: &str) -> Result<(), DiskError> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    let mut file = options.open(path).map_err(DiskError::io("open", path))?;
    let written = file.write_all(format!("{line}\n").as_bytes()).and_then(|()| file.sync_all());
    written.map_err(DiskError::io("write", path))
}

/// `path` with something put after its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes a new name outlive a power cut. It is in force already, so a failure is only logged.
pub(crate) fn sync_folder(path: &Path) {
    let folder = folder_of(path).unwrap_or(Path::new("."));
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!(%error, folder = %folder.display(), "folder was not synced to the disk");
    }
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}
