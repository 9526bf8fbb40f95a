//! Values as text at the end of bytes, for what is written once a request: log lines and header fields.
//!
//! The standard library's formatting asks at run time what width, padding and sign are wanted, which took more
//! instructions than everything that was to be written.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use ::time::OffsetDateTime;

use crate::Timestamp;

/// Decimal digits of the largest number.
const MOST_DIGITS: usize = 20;

/// A value that can be written at the end of bytes, as [`std::fmt::Display`] writes it.
pub trait Push {
    /// Appends the text.
    fn push_to(&self, out: &mut Vec<u8>);
}

impl Push for u64 {
    fn push_to(&self, out: &mut Vec<u8>) {
        let (mut digits, mut left) = ([b'0'; MOST_DIGITS], *self);
        let mut begin = MOST_DIGITS - 1;
        for (at, place) in digits.iter_mut().enumerate().rev() {
            begin = at;
            *place = digit(u8::try_from(left % 10).unwrap_or_default());
            left /= 10;
            if left == 0 {
                break;
            }
        }
        out.extend_from_slice(digits.get(begin..).unwrap_or_default());
    }
}

impl Push for u16 {
    fn push_to(&self, out: &mut Vec<u8>) {
        u64::from(*self).push_to(out);
    }
}

impl Push for str {
    fn push_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Push for IpAddr {
    fn push_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(address) => address.push_to(out),
            Self::V6(address) => {
                // Writing to memory cannot fail.
                let _written = write!(out, "{address}");
            }
        }
    }
}

impl Push for Ipv4Addr {
    fn push_to(&self, out: &mut Vec<u8>) {
        for (at, octet) in self.octets().into_iter().enumerate() {
            if at > 0 {
                out.push(b'.');
            }
            u64::from(octet).push_to(out);
        }
    }
}

/// RFC 3339 in UTC, always to the millisecond.
impl Push for Timestamp {
    fn push_to(&self, out: &mut Vec<u8>) {
        let moment = OffsetDateTime::from_unix_timestamp(self.unix_seconds()).ok();
        let year = moment.and_then(|moment| u8::try_from(moment.year() / 100).ok());
        let (Some(moment), Some(century)) = (moment, year) else {
            // Writing to memory cannot fail.
            let _written = write!(out, "{self}");
            return;
        };
        let year = u8::try_from(moment.year() % 100).unwrap_or_default();
        let (hour, minute, second) = moment.to_hms();
        for (value, after) in [
            (century, None),
            (year, Some(b'-')),
            (moment.month().into(), Some(b'-')),
            (moment.day(), Some(b'T')),
            (hour, Some(b':')),
            (minute, Some(b':')),
            (second, Some(b'.')),
        ] {
            out.extend_from_slice(&[digit(value / 10), digit(value % 10)]);
            out.extend(after);
        }
        let millis = self.unix_millis().rem_euclid(1_000);
        let hundredths = u8::try_from(millis / 10).unwrap_or_default();
        let thousandth = u8::try_from(millis % 10).unwrap_or_default();
        out.extend_from_slice(&[digit(hundredths / 10), digit(hundredths % 10), digit(thousandth), b'Z']);
    }
}

const fn digit(value: u8) -> u8 {
    b'0' + value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pushed(value: &(impl Push + ?Sized)) -> String {
        let mut out = Vec::new();
        value.push_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_have_milliseconds_and_end_in_z() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_800_000_000_120, "2027-01-15T08:00:00.120Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(pushed(&Timestamp::from_unix_millis(millis)), text);
        }
    }

    proptest! {
        #[test]
        fn numbers_and_addresses_are_as_everywhere(number in any::<u64>(), address in any::<IpAddr>()) {
            prop_assert_eq!(pushed(&number), number.to_string());
            prop_assert_eq!(pushed(&address), address.to_string());
        }

        #[test]
        fn moments_are_read_back_as_they_were(millis in 0_i64..253_402_300_800_000) {
            let moment = Timestamp::from_unix_millis(millis);
            prop_assert_eq!(pushed(&moment).parse(), Ok(moment));
        }
    }
}
