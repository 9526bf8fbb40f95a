//! The environment, read here and nowhere else. A variable that is empty counts as absent, but for a key.

use model::secret::Secret;

/// `STOA_URL`: address of the admin API for the client commands.
#[must_use]
pub fn url() -> Option<String> {
    variable("STOA_URL")
}

/// `STOA_KEY`: the API key of the client commands. Here an empty variable is not absent: who meant to use a
/// lesser key must not act with the operator's.
#[must_use]
pub fn key() -> Option<Secret> {
    present("STOA_KEY").map(Secret::new)
}

/// `STOA_MASTER_KEY`: the key that seals private keys, 64 hexadecimal digits, in place of the file
/// `master-key` in the data directory.
#[must_use]
pub fn master_key() -> Option<Secret> {
    variable("STOA_MASTER_KEY").map(Secret::new)
}

/// `STOA_LOG`: what is logged, in place of `log.level`; a level or a filter such as `info,proxy=debug`.
#[must_use]
pub fn log_filter() -> Option<String> {
    variable("STOA_LOG")
}

/// The variable `name`, without white space around it, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    present(name).filter(|text| !text.is_empty())
}

/// The variable `name`, without white space around it.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
fn present(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned())
}
