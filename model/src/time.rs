//! A moment: milliseconds since the Unix epoch, RFC 3339 in JSON.
//!
//! A plain integer, so that every store and the wire agree to the millisecond. Time zones, calendars and
//! leap seconds are deliberately absent; months are the business of billing.

use std::fmt;
use std::time::Duration;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. In JSON an RFC 3339 text in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a moment: write it as 2026-11-22T18:30:00Z")]
pub struct TimestampError(String);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the Unix epoch, saturating.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds since the epoch; moments before it count as 0.
    #[must_use]
    pub fn unix_millis_unsigned(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    /// The moment `by` later, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The moment `by` earlier, saturating.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The start of the window of length `width` that this moment lies in, counted from the epoch.
    /// A width under a millisecond leaves the moment as it is.
    #[must_use]
    pub fn floor_to(self, width: Duration) -> Self {
        match i64::try_from(width.as_millis()) {
            Ok(width) if width > 0 => Self(self.0.div_euclid(width).saturating_mul(width)),
            _ => self,
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ms since 1970", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError(text.to_owned()))?;
        let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).map(Self).map_err(|_| TimestampError(text.to_owned()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> Self {
        moment.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_round_trips_to_the_millisecond() {
        let moment = Timestamp::from_unix_millis(1_795_371_000_123);
        assert_eq!(moment.to_string().parse(), Ok(moment));
        assert_eq!("2026-11-22T19:30:00+01:00".parse(), "2026-11-22T18:30:00Z".parse::<Timestamp>());
    }

    #[test]
    fn a_text_that_is_no_moment_is_named() {
        let error = "tomorrow".parse::<Timestamp>().map_err(|e| e.to_string());
        assert_eq!(error, Err("`tomorrow` is not a moment: write it as 2026-11-22T18:30:00Z".to_owned()));
    }

    #[test]
    fn windows_are_counted_from_the_epoch() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            Timestamp::from_unix_millis(119_999).floor_to(minute),
            Timestamp::from_unix_millis(60_000)
        );
        assert_eq!(Timestamp::from_unix_millis(-1).floor_to(minute), Timestamp::from_unix_millis(-60_000));
    }
}
