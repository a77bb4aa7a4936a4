//! Lengths of time as people write them: `90s`, `5m`, `24h`, `7d`. Reads no clock.
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time from the command line, whole seconds, at most 10 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

/// Longer makes no sense anywhere here and keeps sums far from overflow.
const LONGEST_S: u64 = 10 * 365 * 86_400;

/// Why a text is no length of time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotASpan {
    /// No number in front, or no known unit behind.
    #[error("expected a number and a unit, as in 90s, 5m, 24h or 7d")]
    Form,
    /// Beyond ten years.
    #[error("longer than ten years")]
    TooLong,
}

impl FromStr for Span {
    type Err = NotASpan;
    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let seconds: u64 = match text.get(digits.len()..) {
            Some("s") => 1,
            Some("m") => 60,
            Some("h") => 3_600,
            Some("d") => 86_400,
            _ => return Err(NotASpan::Form),
        };
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(NotASpan::Form);
        }
        let number: u64 = digits.parse().map_err(|_| NotASpan::TooLong)?;
        match number.checked_mul(seconds) {
            Some(total) if total <= LONGEST_S => Ok(Self(Duration::from_secs(total))),
            _ => Err(NotASpan::TooLong),
        }
    }
}

/// The largest unit that divides it, as it could have been typed.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_secs();
        let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
        match units
            .into_iter()
            .find(|(unit, _)| total > 0 && total.is_multiple_of(*unit))
        {
            Some((unit, letter)) => write!(f, "{}{letter}", total / unit),
            None => write!(f, "{total}s"),
        }
    }
}

/// How long ago, for people: one number, rounded down (`3 s`, `12 min`, `5 h`, `9 days`).
pub(crate) fn ago(age: Duration) -> String {
    match age.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3_600 => format!("{} min", s / 60),
        s @ 3_600..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_and_a_unit_is_a_length_of_time() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("24h", 86_400),
            ("7d", 604_800),
            ("0s", 0),
        ] {
            assert_eq!(
                text.parse(),
                Ok(Span(Duration::from_secs(seconds))),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for text in [
            "", "5", "m", "5 m", "-5m", "+5m", "5.5m", "5mm", "5M", "٣m", "1h30m",
        ] {
            assert_eq!(text.parse::<Span>(), Err(NotASpan::Form), "{text}");
        }
        for text in ["3651d", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(text.parse::<Span>(), Err(NotASpan::TooLong), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_the_same(seconds in 0..=LONGEST_S) {
            let span = Span(Duration::from_secs(seconds));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Span>();
        }
    }
}
