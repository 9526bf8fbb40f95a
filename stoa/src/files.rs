//! File descriptors: a connection needs one, and another one to its backend.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process needs beside connections of visitors: listeners, the store, journals, logs, clients.
const BESIDE: u64 = 256;

/// Raises the soft limit to the hard one, and says so if that is too little for `max_connections`.
pub(crate) fn raise_limit(max_connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of file descriptors could not be raised");
    }
    let connections = u64::try_from(max_connections).unwrap_or(u64::MAX);
    let (least, enough) =
        (connections.saturating_add(BESIDE), connections.saturating_mul(2).saturating_add(BESIDE));
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < least => tracing::warn!(
            limit,
            enough,
            max_connections,
            "file descriptors may run out before connections do: raise the hard limit (LimitNOFILE=, ulimit -Hn) \
             or lower `edge.max_connections`"
        ),
        // Most connections wait for their visitors and have none to a backend.
        Some(limit) if limit < enough => {
            tracing::info!(
                limit,
                enough,
                max_connections,
                "file descriptors may run out before connections do"
            );
        }
        _ => {}
    }
}
