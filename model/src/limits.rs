//! How much a tenant and each of its visitors may ask for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A sustained rate with a burst, as a token bucket knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests a minute that may go on for ever; at least 1.
    pub requests_per_minute: u32,
    /// Requests that may come at once after a quiet time; at least 1.
    pub burst: u32,
}

/// The limits in force for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// All visitors of all apps of the tenant together, on one edge.
    pub tenant: Rate,
    /// Each visitor (an IPv4 address, an IPv6 /64) of the tenant.
    pub visitor: Rate,
}

/// Limits that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: it must be from 1 to 60000000")]
pub struct LimitsError {
    /// The field, e.g. `tenant.burst`.
    pub field: &'static str,
    /// What was given.
    pub value: u32,
}

/// Highest value of each number: a million a second.
pub const MAX: u32 = 60_000_000;

/// Safe for a small app and far above what one person does: 1,000 requests a second for a tenant, 50 for a
/// visitor (a page of 100 files loads at once, twice).
impl Default for Limits {
    fn default() -> Self {
        Self {
            tenant: Rate { requests_per_minute: 60_000, burst: 5_000 },
            visitor: Rate { requests_per_minute: 3_000, burst: 200 },
        }
    }
}

impl Rate {
    /// The time one request costs. Zero is read as one a minute, so that it can be no division by zero.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_nanos(60_000_000_000 / u64::from(self.requests_per_minute.max(1)))
    }
}

impl Limits {
    /// Checks the ranges.
    ///
    /// # Errors
    /// [`LimitsError`] names the field and the value.
    pub fn check(&self) -> Result<(), LimitsError> {
        let fields = [
            ("tenant.requests_per_minute", self.tenant.requests_per_minute),
            ("tenant.burst", self.tenant.burst),
            ("visitor.requests_per_minute", self.visitor.requests_per_minute),
            ("visitor.burst", self.visitor.burst),
        ];
        match fields.into_iter().find(|(_, value)| !(1..=MAX).contains(value)) {
            Some((field, value)) => Err(LimitsError { field, value }),
            None => Ok(()),
        }
    }
}
