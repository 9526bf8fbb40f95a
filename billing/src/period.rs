//! Billing periods: calendar months in UTC.
//!
//! Every tenant's month begins and ends at the same moment everywhere, so that a sum over a period is a sum
//! over whole usage windows. Deliberately absent: other time zones and anniversary dates.

use std::fmt;
use std::str::FromStr;

use model::Timestamp;
use time::{Date, OffsetDateTime};

/// One calendar month in UTC, written `2026-11`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: i32,
    /// 1 to 12.
    month: u8,
}

/// A text or a moment that is no billing month.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a month: write it as 2026-11, from 1970-01 to 9998-12")]
pub struct MonthError(String);

/// Years that a month may lie in: the epoch's, and one less than four digits can write, so that the month
/// after can be written too.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9998;

impl Month {
    /// The month that `moment` lies in.
    ///
    /// # Errors
    /// [`MonthError`] for moments before 1970 or after 9998.
    pub fn containing(moment: Timestamp) -> Result<Self, MonthError> {
        let wrong = || MonthError(moment.to_string());
        let date = OffsetDateTime::from_unix_timestamp(moment.unix_seconds()).map_err(|_| wrong())?;
        Self::new(date.year(), date.month().into()).ok_or_else(wrong)
    }

    fn new(year: i32, month: u8) -> Option<Self> {
        (YEARS.contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
    }

    /// Its first moment.
    #[must_use]
    pub fn start(self) -> Timestamp {
        first_moment(self.year, self.month)
    }

    /// The first moment of the month after: usage of the month lies before it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        match self.month {
            12 => first_moment(self.year + 1, 1),
            month => first_moment(self.year, month + 1),
        }
    }

    /// The month after; none after 9998.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.month {
            12 => Self::new(self.year + 1, 1),
            month => Self::new(self.year, month + 1),
        }
    }

    /// The month before; none before 1970.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.month {
            1 => Self::new(self.year - 1, 12),
            month => Self::new(self.year, month - 1),
        }
    }
}

fn first_moment(year: i32, month: u8) -> Timestamp {
    let date =
        time::Month::try_from(month).ok().and_then(|month| Date::from_calendar_date(year, month, 1).ok());
    let seconds = date.map_or(0, |date| date.midnight().assume_utc().unix_timestamp());
    Timestamp::from_unix_seconds(seconds)
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let digits = |part: &str, length: usize| {
            (part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| part.parse().ok())?
        };
        text.split_once('-')
            .and_then(|(year, month)| Some((digits(year, 4)?, u8::try_from(digits(month, 2)?).ok()?)))
            .and_then(|(year, month)| Self::new(year, month))
            .ok_or_else(|| MonthError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        for text in ["2026-01", "2026-02", "2028-02", "2026-11", "2026-12"] {
            assert_eq!(Some(month(text).end()), month(text).next().map(Month::start), "{text}");
            assert_eq!(month(text).next().and_then(Month::previous), Some(month(text)), "{text}");
        }
        assert_eq!(month("2028-02").start().to_string(), "2028-02-01T00:00:00Z");
        assert_eq!(month("2028-02").end().since(month("2028-02").start()).as_secs(), 29 * 24 * 3600);
    }

    #[test]
    fn the_last_millisecond_still_belongs_to_the_month() {
        let end = month("2026-11").end();
        assert_eq!(Month::containing(end), Ok(month("2026-12")));
        assert_eq!(Month::containing(end.minus(std::time::Duration::from_millis(1))), Ok(month("2026-11")));
    }

    #[test]
    fn what_is_no_month_is_named() {
        for text in
            ["2026-13", "2026-1", "26-01", "2026-00", "9999-01", "1969-12", "+026-01", "2026-01-01", ""]
        {
            assert_eq!(text.parse::<Month>(), Err(MonthError(text.to_owned())));
        }
        assert!(Month::containing(Timestamp::from_unix_millis(i64::MAX)).is_err());
        assert!(Month::containing(Timestamp::from_unix_millis(-1)).is_err());
    }

    #[test]
    fn a_month_is_written_as_it_is_read() {
        assert_eq!(month("2026-03").to_string(), "2026-03");
        assert_eq!((month("9998-12").next(), month("1970-01").previous()), (None, None));
    }
}
