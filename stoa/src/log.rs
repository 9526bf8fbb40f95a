//! The process's own log, on standard error. Requests have the access log.

use anyhow::Context as _;
use config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;

/// Libraries whose everyday words are not an operator's business.
const QUIET: &str = "pingora_core=error,pingora_proxy=error,hyper=warn,h2=warn,rustls=warn,sqlx=warn,hickory_proto=warn,hickory_resolver=warn";

/// Begins to log.
///
/// # Errors
/// `STOA_LOG` is no filter.
pub(crate) fn begin(log: &Log) -> anyhow::Result<()> {
    let wanted = config::environment::log_filter();
    let filter = wanted.unwrap_or_else(|| format!("{},{QUIET}", log.level.as_str()));
    let filter: EnvFilter = filter
        .parse()
        .with_context(|| format!("STOA_LOG `{filter}` is no filter: write e.g. info,proxy=debug"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
