//! Backends at Unix sockets, which may only be below directories that the operator lists: a creator must not
//! reach the socket of a database or of a container engine.
//!
//! A path is judged by where it leads when a connection is made, symbolic links followed: the socket is pinned
//! first, then the place of what is pinned is checked, then the connection is made to exactly that. So nobody
//! wins by swapping links in between.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

/// The directories below which sockets may be. None by default.
#[derive(Debug, Default)]
pub(super) struct SocketFence(Vec<PathBuf>);

impl SocketFence {
    /// Permits sockets below `directories`.
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        Self(directories)
    }

    /// Whether `path` as it is written is below a directory. Reads no file system: it may lead elsewhere.
    pub(super) fn permits(&self, path: &Path) -> bool {
        self.0.iter().any(|directory| path.starts_with(directory) && path != directory)
    }

    /// Whether `real`, a path without links, is below one of the directories.
    fn holds(&self, real: &Path) -> bool {
        let mut directories = self.0.iter().filter_map(|directory| fs::canonicalize(directory).ok());
        directories.any(|directory| real.starts_with(&directory) && real != directory)
    }

    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// If it is not permitted, not there, or nobody listens.
    pub(super) async fn connect(&self, path: &Path) -> io::Result<UnixStream> {
        if !self.permits(path) {
            return Err(forbidden(path));
        }
        self.connect_pinned(path).await
    }

    #[cfg(target_os = "linux")]
    async fn connect_pinned(&self, path: &Path) -> io::Result<UnixStream> {
        use std::os::fd::AsRawFd as _;
        use std::os::unix::fs::OpenOptionsExt as _;

        /// Opens a place and not what is there (open(2)). The same number on every architecture that we build for.
        const O_PATH: i32 = 0o10_000_000;
        let pinned = fs::OpenOptions::new().read(true).custom_flags(O_PATH).open(path)?;
        let place = PathBuf::from(format!("/proc/self/fd/{}", pinned.as_raw_fd()));
        let real = fs::read_link(&place)?;
        if !self.holds(&real) {
            return Err(forbidden(&real));
        }
        UnixStream::connect(&place).await
    }

    /// Without `/proc` there is a moment between the check and the connection.
    #[cfg(not(target_os = "linux"))]
    async fn connect_pinned(&self, path: &Path) -> io::Result<UnixStream> {
        let real = fs::canonicalize(path)?;
        if !self.holds(&real) {
            return Err(forbidden(&real));
        }
        UnixStream::connect(&real).await
    }
}

fn forbidden(path: &Path) -> io::Error {
    let reason = format!("{} is below no directory that the operator lists for sockets", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn only_what_is_written_below_a_listed_directory_is_looked_at() {
        let fence = SocketFence::new(vec!["/run/apps".into()]);
        assert!(fence.permits(Path::new("/run/apps/a.sock")) && fence.permits(Path::new("/run/apps/a/b")));
        for path in ["/run/apps", "/run/apps2/a.sock", "/run/docker.sock", "/"] {
            assert!(!fence.permits(Path::new(path)), "{path}");
        }
        assert!(!SocketFence::default().permits(Path::new("/run/apps/a.sock")));
    }

    #[tokio::test]
    async fn a_link_that_leads_out_is_not_followed() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = outside.path().join("docker.sock");
        let _secret = UnixListener::bind(&secret).unwrap();
        let own = inside.path().join("own.sock");
        let _own = UnixListener::bind(&own).unwrap();
        symlink(&secret, inside.path().join("file-link")).unwrap();
        symlink(outside.path(), inside.path().join("folder-link")).unwrap();
        symlink(&own, inside.path().join("own-link")).unwrap();
        let fence = SocketFence::new(vec![inside.path().to_owned()]);
        for (path, may) in [
            ("own.sock", true),
            ("own-link", true),
            ("file-link", false),
            ("folder-link/docker.sock", false),
            ("absent.sock", false),
        ] {
            assert_eq!(fence.connect(&inside.path().join(path)).await.is_ok(), may, "{path}");
        }
        assert!(fence.connect(&secret).await.is_err());
    }

    #[tokio::test]
    async fn a_listed_directory_may_itself_be_reached_by_a_link() {
        let (real, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let _listener = UnixListener::bind(real.path().join("a.sock")).unwrap();
        let listed = elsewhere.path().join("apps");
        symlink(real.path(), &listed).unwrap();
        let fence = SocketFence::new(vec![listed.clone()]);
        assert!(fence.connect(&listed.join("a.sock")).await.is_ok());
    }
}
