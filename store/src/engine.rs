//! The two engines and how a connection of each is made ready.

use std::path::{Path, PathBuf};

use sqlx::AnyConnection;
use url::Url;

use crate::error::{Result, StoreError};

/// Which database is behind the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// A write-ahead log, every commit on disk before it is told, five seconds of patience with other processes.
const SQLITE_SETTINGS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000;";

/// A node that stands still in the middle of a change must not hold up the others for ever.
const POSTGRES_SETTINGS: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '5s';";

/// A parsed store URL.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// `sqlite:path`
    Sqlite(PathBuf),
    /// `postgres://…`
    Postgres(Url),
}

impl Place {
    /// Parses `sqlite:path`, `sqlite:///path` or `postgres://user:password@host/database`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return parse_path(url, path);
        }
        match Url::parse(url) {
            Ok(parsed) if matches!(parsed.scheme(), "postgres" | "postgresql") => Ok(Self::Postgres(parsed)),
            _ => Err(unopened(
                &hidden(url),
                "a store URL is sqlite:<path> or postgres://<user>@<host>/<database>",
            )),
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// What to call it in a message: no password, no parameters.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url) => {
                let mut url = url.clone();
                url.set_query(None);
                if url.password().is_some() && url.set_password(Some("***")).is_err() {
                    return "postgres".to_owned();
                }
                url.to_string()
            }
        }
    }

    /// What sqlx connects to.
    pub(crate) fn connect_url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}?mode=rw", escaped(path)),
            Self::Postgres(url) => url.to_string(),
        }
    }
}

fn parse_path(url: &str, path: &str) -> Result<Place> {
    let path = match path.strip_prefix("//") {
        Some(rest) => rest,
        None => path,
    };
    match path {
        "" => Err(unopened(url, "the path is missing: write it as sqlite:stoa-data/stoa.db")),
        ":memory:" => Err(unopened(url, "a store in memory would lose everything: name a file")),
        _ if path.contains('?') => Err(unopened(url, "a sqlite URL is a path only, without parameters")),
        _ => Ok(Place::Sqlite(PathBuf::from(path))),
    }
}

/// The path with every byte but the plainest as `%XX`, one slash at the start at most.
fn escaped(path: &Path) -> String {
    use std::fmt::Write as _;
    let text = path.to_string_lossy();
    let rest = text.trim_start_matches('/');
    let mut out = if rest.len() < text.len() { "/".to_owned() } else { String::new() };
    for byte in rest.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A URL that nobody could parse may still carry a password.
fn hidden(url: &str) -> String {
    match url.split_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => url.to_owned(),
    }
}

pub(crate) fn unopened(place: &str, reason: impl Into<String>) -> StoreError {
    StoreError::Unopened { place: place.to_owned(), reason: reason.into() }
}

impl Engine {
    /// Settings of one connection.
    pub(crate) async fn prepare(self, connection: &mut AnyConnection) -> sqlx::Result<()> {
        let settings = match self {
            Self::Sqlite => SQLITE_SETTINGS,
            Self::Postgres => POSTGRES_SETTINGS,
        };
        sqlx::raw_sql(settings).execute(connection).await?;
        Ok(())
    }

    /// How a transaction that writes begins.
    pub(crate) const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// How a transaction begins that reads everything as of one moment.
    pub(crate) const fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> String {
        match Place::parse(url) {
            Ok(place) => place.shown(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(shown("postgres://u:hunter2@db/stoa?password=hunter2"), "postgres://u:***@db/stoa");
        assert!(!shown("mysql://u:hunter2@db/stoa").contains("hunter2"));
    }

    #[test]
    fn a_path_with_odd_characters_reaches_the_engine_escaped() {
        let url = Place::parse("sqlite:///tmp/a b#c%d.db").map(|place| place.connect_url()).ok();
        assert_eq!(url.as_deref(), Some("sqlite:/tmp/a%20b%23c%25d.db?mode=rw"));
        let url = Place::parse("sqlite:stoa-data/stoa.db").map(|place| place.connect_url()).ok();
        assert_eq!(url.as_deref(), Some("sqlite:stoa-data/stoa.db?mode=rw"));
    }

    #[test]
    fn a_url_that_is_none_is_refused_by_name() {
        assert_eq!(
            shown("stoa.db"),
            "cannot open the store `stoa.db`: a store URL is sqlite:<path> or postgres://<user>@<host>/<database>"
        );
        assert!(shown("sqlite:").contains("the path is missing"));
        assert!(shown("sqlite::memory:").contains("name a file"));
    }
}
