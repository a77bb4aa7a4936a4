//! The siren's sound as a pure function of time; it must not know the sound card.

use std::f64::consts::TAU;

/// Lowest frequency of the sweep, Hz. Between 2 and 4 kHz a phone's small loudspeaker is most efficient
/// (its resonance lies near 1 kHz, and it rolls off below) and the human ear most sensitive
/// (the dip of the equal-loudness contours in ISO 226:2023 lies at 3 to 4 kHz).
pub const LOWEST_HZ: f64 = 2000.0;
/// Highest frequency of the sweep, Hz; see [`LOWEST_HZ`].
pub const HIGHEST_HZ: f64 = 4000.0;
/// Time from one lowest frequency to the next, seconds: a sound that moves is found by ear where a steady
/// tone hides in a room's standing waves, and four rises a second read as an alarm, not as music.
pub const PERIOD_S: f64 = 0.25;

/// A sine whose frequency rises and falls without a break in its phase, at full scale.
///
/// A sine and not a square wave: the square's 3 dB more lie in harmonics above 6 kHz, which heat the voice
/// coil and are heard by few of the people who search.
#[derive(Clone, Debug)]
pub struct Sweep {
    sample_rate: f64,
    /// Position in the current rise and fall, 0 to 1.
    progress: f64,
    /// Phase of the sine in turns, 0 to 1.
    phase: f64,
}

impl Sweep {
    /// A sweep for a card with this many samples a second, Hz. At 8 kHz and below the upper end would fold
    /// back into lower frequencies; every card since AC'97 offers 44.1 or 48 kHz.
    #[must_use]
    pub fn new(sample_rate: u32) -> Self {
        Self {
            sample_rate: f64::from(sample_rate.max(1)),
            progress: 0.0,
            phase: 0.0,
        }
    }

    /// Fills a block with the samples that follow the last block, full scale `i16`, one channel.
    pub fn fill(&mut self, block: &mut [i16]) {
        for sample in block {
            *sample = full_scale((self.phase * TAU).sin());
            self.phase = (self.phase + self.frequency() / self.sample_rate).fract();
            self.progress = (self.progress + 1.0 / (PERIOD_S * self.sample_rate)).fract();
        }
    }

    /// The present frequency, Hz: up in the first half of a period, down in the second, by equal musical steps.
    fn frequency(&self) -> f64 {
        let height = 1.0 - (2.0 * self.progress - 1.0).abs();
        LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ).powf(height)
    }
}

/// −1…1 as a sample; symmetrical, so that no direct current remains.
fn full_scale(value: f64) -> i16 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a sine times 32767 is within i16"
    )]
    let sample = (value * f64::from(i16::MAX)).round() as i16;
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 3] = [16_000, 44_100, 48_000];

    fn second(rate: u32) -> Vec<i16> {
        let mut block = vec![0; rate as usize];
        Sweep::new(rate).fill(&mut block);
        block
    }

    /// Frequency of each full wave by the time between two rising zero crossings, interpolated, Hz.
    fn frequencies(samples: &[i16], rate: u32) -> Vec<f64> {
        let crossings: Vec<f64> = samples
            .windows(2)
            .enumerate()
            .filter(|(_, pair)| pair[0] < 0 && pair[1] >= 0)
            .map(|(index, pair)| {
                let (before, after) = (f64::from(pair[0]), f64::from(pair[1]));
                f64::from(u32::try_from(index).unwrap()) + before / (before - after)
            })
            .collect();
        crossings
            .windows(2)
            .map(|pair| f64::from(rate) / (pair[1] - pair[0]))
            .collect()
    }

    #[test]
    fn the_peaks_reach_full_scale() {
        for rate in RATES {
            let samples = second(rate);
            assert!(*samples.iter().max().unwrap() > 32_700, "{rate}");
            assert!(*samples.iter().min().unwrap() < -32_700, "{rate}");
        }
    }

    #[test]
    fn the_level_is_that_of_a_full_scale_sine() {
        for rate in RATES {
            let samples = second(rate);
            let power: f64 = samples
                .iter()
                .map(|s| (f64::from(*s) / 32_768.0).powi(2))
                .sum();
            let dbfs = 10.0 * (power / f64::from(rate)).log10();
            assert!((dbfs + 3.01).abs() < 0.1, "{rate}: {dbfs}");
        }
    }

    #[test]
    fn every_wave_lies_between_two_and_four_kilohertz_and_both_ends_are_reached() {
        for rate in [44_100, 48_000] {
            let heard = frequencies(&second(rate), rate);
            let (low, high) = heard
                .iter()
                .fold((f64::MAX, 0.0_f64), |(l, h), f| (l.min(*f), h.max(*f)));
            assert!((1950.0..2100.0).contains(&low), "{rate}: {low}");
            assert!((3900.0..4050.0).contains(&high), "{rate}: {high}");
        }
    }

    #[test]
    fn there_is_no_direct_current() {
        for rate in RATES {
            let sum: i64 = second(rate).into_iter().map(i64::from).sum();
            assert!((sum / i64::from(rate)).abs() < 30, "{rate}: {sum}");
        }
    }

    #[test]
    fn the_sound_does_not_depend_on_how_it_is_cut_into_blocks() {
        let whole = second(48_000);
        let mut pieces = vec![0; whole.len()];
        let mut sweep = Sweep::new(48_000);
        pieces.chunks_mut(4801).for_each(|piece| sweep.fill(piece));
        assert_eq!(whole, pieces);
    }
}
