//! Points in time as restic writes them: RFC 3339 with up to nine digits of a second. Must not ask any clock.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

const SECONDS_PER_DAY: i64 = 86_400;
/// 0000-01-01 and 10000-01-01 in days since 1970-01-01: the years RFC 3339 can write.
const FIRST_DAY: i64 = -719_528;
const END_DAY: i64 = 2_932_897;

/// Seconds since 1970-01-01 UTC and the nanoseconds on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// 0–999,999,999.
    pub nanoseconds: u32,
}

/// A text is not an RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time in the form 2026-11-22T10:15:00.5Z")]
pub struct NotATime;

impl Timestamp {
    /// A point in time; more than 999,999,999 nanoseconds are cut to that.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self {
            seconds,
            nanoseconds: nanoseconds.min(999_999_999),
        }
    }

    /// Whole seconds from `earlier` to this; negative when it is later.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> i64 {
        self.seconds.saturating_sub(earlier.seconds)
    }

    /// A file system may hold years that RFC 3339 cannot write. Like restic, only the year is then changed, to 0 or 9999.
    #[must_use]
    pub fn writable(self) -> Self {
        let day = self.seconds.div_euclid(SECONDS_PER_DAY);
        if (FIRST_DAY..END_DAY).contains(&day) {
            return self;
        }
        let (_, month, of_month) = date(day);
        let year = if day < FIRST_DAY { 0 } else { 9999 };
        // A 29 February that the year lacks becomes 1 March, as in Go.
        let moved = days(year, month, 1) + i64::from(of_month) - 1;
        Self {
            seconds: moved * SECONDS_PER_DAY + self.seconds.rem_euclid(SECONDS_PER_DAY),
            ..self
        }
    }
}

/// Days since 1970-01-01 → year, month, day (Hinnant, "chrono-compatible low-level date algorithms").
fn date(day: i64) -> (i64, u32, u32) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // Both are at most 31.
    (
        year,
        u32::try_from(month).unwrap_or(0),
        u32::try_from(day).unwrap_or(0),
    )
}

/// Year, month, day → days since 1970-01-01.
fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted_month = i64::from((month + 9) % 12);
    let of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.writable();
        let (year, month, day) = date(time.seconds.div_euclid(SECONDS_PER_DAY));
        let second = time.seconds.rem_euclid(SECONDS_PER_DAY);
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )?;
        if time.nanoseconds != 0 {
            let digits = format!("{:09}", time.nanoseconds);
            write!(formatter, ".{}", digits.trim_end_matches('0'))?;
        }
        formatter.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Result<u32, NotATime> {
            let part = bytes.get(from..to).ok_or(NotATime)?;
            part.iter().try_fold(0, |sum, digit| match digit {
                b'0'..=b'9' => Ok(sum * 10 + u32::from(digit - b'0')),
                _ => Err(NotATime),
            })
        };
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
            return Err(NotATime);
        }
        let (month, day) = (number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return Err(NotATime);
        }
        let rest = &bytes[19..];
        let digits = match rest {
            [b'.', fraction @ ..] => fraction.iter().take_while(|c| c.is_ascii_digit()).count(),
            _ => 0,
        };
        if digits > 9 || (digits == 0 && rest.first() == Some(&b'.')) {
            return Err(NotATime);
        }
        let nanoseconds = match digits {
            0 => 0,
            // At most nine digits, so the power fits.
            _ => number(20, 20 + digits)? * 10_u32.pow(9 - u32::try_from(digits).unwrap_or(9)),
        };
        let offset = offset_seconds(&rest[if digits == 0 { 0 } else { digits + 1 }..])?;
        let seconds = days(i64::from(number(0, 4)?), month, day) * SECONDS_PER_DAY
            + i64::from(hour * 3600 + minute * 60 + second);
        Ok(Self::new(seconds - offset, nanoseconds))
    }
}

fn offset_seconds(zone: &[u8]) -> Result<i64, NotATime> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(i64::from(byte - b'0')),
        _ => Err(NotATime),
    };
    match *zone {
        [b'Z'] => Ok(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let minutes = (digit(h1)? * 10 + digit(h2)?) * 60 + digit(m1)? * 10 + digit(m2)?;
            Ok(if sign == b'-' { -minutes } else { minutes } * 60)
        }
        _ => Err(NotATime),
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an RFC 3339 time")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1_000_000_000, 0, "1938-04-24T22:13:20Z"),
            (1_732_272_706, 632_771_680, "2024-11-22T10:51:46.63277168Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
        ] {
            let time = Timestamp::new(seconds, nanoseconds);
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
    }

    #[test]
    fn a_zone_is_taken_off_and_nonsense_is_refused() {
        let berlin: Timestamp = "2024-11-22T11:51:46+01:00".parse().unwrap();
        assert_eq!(berlin.to_string(), "2024-11-22T10:51:46Z");
        for bad in [
            "",
            "2024-11-22",
            "2024-11-22T11:51:46",
            "2024-13-22T11:51:46Z",
            "2024-11-22T11:51:46.Z",
            "2024-11-22T11:51:46.1234567890Z",
            "2024-11-22T11:51:46Zz",
        ] {
            assert_eq!(bad.parse::<Timestamp>(), Err(NotATime), "{bad}");
        }
    }

    #[test]
    fn a_year_beyond_four_digits_is_brought_to_9999() {
        let far = Timestamp::new(8_000_000_000_000, 0).to_string();
        assert!(far.starts_with("9999-"), "{far}");
        let ancient = Timestamp::new(-80_000_000_000_000, 0).to_string();
        assert!(ancient.starts_with("0000-"), "{ancient}");
    }

    proptest::proptest! {
        #[test]
        fn every_writable_time_reads_back(seconds in -62_167_219_200_i64..253_402_300_800, nanoseconds in 0_u32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanoseconds);
            proptest::prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
