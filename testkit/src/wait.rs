//! Waiting for a condition with a bound, instead of sleeping.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// A bound for what takes a moment: longer than it takes on a loaded machine, for it only ends failing tests.
pub const LONG: Duration = Duration::from_secs(20);

/// Looks again and again until `probe` succeeds, at most for `bound`.
///
/// # Errors
/// After `bound`, with `what` was waited for and the probe's last error.
pub async fn until<T>(what: &str, bound: Duration, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + bound;
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => bail!("waited {bound:?} for {what}; last: {error:#}"),
            Err(_) => sleep(INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bound_ends_the_wait_with_the_last_error() {
        let waited: Result<()> = until("a miracle", Duration::ZERO, async || bail!("none yet")).await;
        assert_eq!(waited.unwrap_err().to_string(), "waited 0ns for a miracle; last: none yet");
    }
}
