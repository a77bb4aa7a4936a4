//! Repeated measurements of one thing and what is said about them. It must not drop an outlier.

use serde_json::{Value, json};
use std::time::Duration;

/// Measurements in one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a time, as milliseconds.
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1000.0);
    }

    /// Adds a number in the samples' own unit.
    pub(crate) fn push(&mut self, number: f64) {
        self.0.push(number);
    }

    /// A single measurement.
    pub(crate) fn one(number: f64) -> Self {
        Self(vec![number])
    }

    /// The value below or at which this share (0 to 1) of the measurements lies, by nearest rank; 0 without any.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil().max(1.0);
        // A rank lies within the list's length, which fits.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank is a small positive number"
        )]
        let index = rank as usize - 1;
        sorted.get(index).copied().unwrap_or_default()
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// n, min, median, p99, max, each rounded to what a reader can use.
    pub(crate) fn json(&self) -> Value {
        json!({
            "n": self.0.len(),
            "min": rounded(self.quantile(0.0)),
            "median": rounded(self.median()),
            "p99": rounded(self.quantile(0.99)),
            "max": rounded(self.quantile(1.0)),
        })
    }
}

/// Four significant figures and at most three decimals.
pub(crate) fn rounded(number: f64) -> f64 {
    let decimals = match number.abs() {
        large if large >= 1000.0 => 1.0,
        medium if medium >= 10.0 => 100.0,
        _ => 1000.0,
    };
    (number * decimals).round() / decimals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements_that_were_made() {
        let mut samples = Samples::default();
        for number in (1..=200).rev() {
            samples.0.push(f64::from(number));
        }
        let found = [0.0, 0.5, 0.99, 1.0].map(|share| samples.quantile(share));
        assert_eq!(found, [1.0, 100.0, 198.0, 200.0]);
        assert_eq!(Samples::one(3.0).quantile(0.99), 3.0);
        assert_eq!(Samples::default().median(), 0.0);
    }

    #[test]
    fn a_time_is_kept_in_milliseconds() {
        let mut samples = Samples::default();
        samples.add(Duration::from_micros(1234));
        assert_eq!(samples.json()["max"], 1.234);
    }
}
