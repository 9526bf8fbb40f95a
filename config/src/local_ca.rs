//! `[local_ca]`: the installation's own certificate authority.

use std::time::Duration;

use crate::document::Section;
use crate::error::Faults;

pub(crate) const KEYS: [&str; 1] = ["lifetime_seconds"];
/// 47 days: the most that the Baseline Requirements of the CA/Browser Forum allow from March 2029 on.
const LIFETIME: u64 = 47 * 24 * 3_600;
/// 397 days: what browsers accept of any certificate today.
const MOST: u64 = 397 * 24 * 3_600;
/// Shorter ones are renewed at every look.
const LEAST: u64 = 5;

/// The local certificate authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCa {
    /// How long its certificates are valid; short ones are for tests of renewal.
    pub lifetime: Duration,
}

pub(crate) fn read(section: &Section<'_>, faults: &mut Faults<'_>) -> LocalCa {
    let seconds = section.number("lifetime_seconds", LEAST..=MOST, faults);
    LocalCa { lifetime: Duration::from_secs(seconds.unwrap_or(LIFETIME)) }
}
