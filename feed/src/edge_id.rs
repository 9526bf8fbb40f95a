//! Who an edge is: an id made at the first start and kept in a file beside the replica.
//!
//! The control plane tells edges and their usage apart by it, so it must outlive restarts and must not be
//! copied to another machine.

use std::io::Write;
use std::path::{Path, PathBuf};

use model::Timestamp;
use model::id::{EdgeId, IdError};

use crate::disk::{self, DiskError};

/// Why an edge does not know who it is.
#[derive(Debug, thiserror::Error)]
pub enum EdgeIdError {
    /// The file cannot be used.
    #[error("the edge's id: {0}")]
    Disk(#[from] DiskError),
    /// The file holds something else.
    #[error("`{}` does not hold an edge's id: {source}; restore it, or delete it and a new one is made", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with its text.
        #[source]
        source: IdError,
    },
}

/// The id in the file at `path`; a new one, written there with mode 0600, if there is no file.
///
/// # Errors
/// [`EdgeIdError`] names the file and what to do.
pub fn load_or_create(path: &Path, now: Timestamp) -> Result<EdgeId, EdgeIdError> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(bytes.get(..100).unwrap_or(&bytes));
            text.trim().parse().map_err(|source| EdgeIdError::Content { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path, now),
        Err(error) => Err(DiskError::io("read", path)(error).into()),
    }
}

fn create(path: &Path, now: Timestamp) -> Result<EdgeId, EdgeIdError> {
    disk::make_folder(path)?;
    let id = EdgeId::generate(now);
    let draft = disk::with_suffix(path, ".new");
    let mut file = disk::create(&draft)?;
    file.write_all(format!("{id}\n").as_bytes()).map_err(DiskError::io("write", &draft))?;
    disk::replace(&file, &draft, path)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_edge_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/edge-id");
        let id = load_or_create(&path, Timestamp::from_unix_millis(1)).unwrap();
        assert_eq!(load_or_create(&path, Timestamp::from_unix_millis(2)).unwrap(), id);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_with_something_else_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge-id");
        std::fs::write(&path, b"\xff\xfe hello").unwrap();
        let error = load_or_create(&path, Timestamp::from_unix_millis(1)).unwrap_err().to_string();
        assert!(error.contains("edge-id") && error.contains("delete it"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"\xff\xfe hello");
    }
}
