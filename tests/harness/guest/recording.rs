//! What QEMU recorded of a guest's sound card: how loud, which tones, for how long muted. It must not know the guest.

use std::path::Path;
use std::time::Duration;

/// A recording, first channel.
#[derive(Debug)]
pub struct Recording {
    rate: u32,
    samples: Vec<i16>,
}

/// How long one judged piece is: short enough for a sweep that rises for 125 ms, long enough for tones 100 Hz apart.
const PIECE: Duration = Duration::from_millis(10);
/// Below this a piece is silent, dB below full scale. A full-scale sine has -3, QEMU's lowest volume some -60.
const SILENT_DBFS: f64 = -20.0;

impl Recording {
    /// Reads a WAV file that may still be growing: QEMU writes the lengths in its header when it ends.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        Self::parse(&bytes).unwrap_or(Self {
            rate: 48_000,
            samples: Vec::new(),
        })
    }

    /// The header is QEMU's own: 44 bytes, 16 bits a sample.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, sound) = bytes.split_at_checked(44)?;
        let channels = u16::from_le_bytes(header.get(22..24)?.try_into().ok()?);
        let rate = u32::from_le_bytes(header.get(24..28)?.try_into().ok()?);
        let frame = usize::from(channels.max(1)) * 2;
        let samples = sound
            .chunks_exact(frame)
            .map(|frame| i16::from_le_bytes([frame[0], frame[1]]))
            .collect();
        Some(Self { rate, samples })
    }

    /// What was recorded since `earlier` was read.
    #[must_use]
    pub fn after(mut self, earlier: &Self) -> Self {
        self.samples
            .drain(..earlier.samples.len().min(self.samples.len()));
        self
    }

    /// How many samples last so long.
    fn count_of(&self, time: Duration) -> usize {
        let count = time.as_micros() * u128::from(self.rate) / 1_000_000;
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    fn pieces(&self) -> impl Iterator<Item = &[i16]> {
        self.samples.chunks_exact(self.count_of(PIECE).max(1))
    }

    /// How much of it is not silent.
    #[must_use]
    pub fn sounding(&self) -> Duration {
        let loud = self
            .pieces()
            .filter(|piece| level_dbfs(piece) > SILENT_DBFS);
        PIECE * u32::try_from(loud.count()).unwrap_or(u32::MAX)
    }

    /// All silence between the first and the last piece that is not silent: a card that stops is not recorded, so this
    /// is sound that was muted.
    #[must_use]
    pub fn muted(&self) -> Duration {
        let (mut muted, mut present, mut began) = (0, 0, false);
        for piece in self.pieces() {
            if level_dbfs(piece) > SILENT_DBFS {
                muted += if began { present } else { 0 };
                (present, began) = (0, true);
            } else {
                present += 1;
            }
        }
        PIECE * muted
    }

    /// The level of all that is not silent, dB below full scale (a full-scale sine: -3.01).
    #[must_use]
    pub fn level_dbfs(&self) -> f64 {
        let loud: Vec<i16> = self
            .pieces()
            .filter(|piece| level_dbfs(piece) > SILENT_DBFS)
            .flatten()
            .copied()
            .collect();
        level_dbfs(&loud)
    }

    /// The strongest tone of each piece that is not silent, Hz, of tones 100 Hz apart from 500 Hz to 8 kHz.
    #[must_use]
    pub fn tones(&self) -> Vec<u32> {
        self.pieces()
            .filter(|piece| level_dbfs(piece) > SILENT_DBFS)
            .filter_map(|piece| {
                let power = |tone: &u32| goertzel(piece, f64::from(*tone), f64::from(self.rate));
                let tones = (500..=8_000).step_by(100);
                tones.max_by(|one, other| power(one).total_cmp(&power(other)))
            })
            .collect()
    }
}

/// Root mean square in decibels below full scale; silence is -120.
fn level_dbfs(samples: &[i16]) -> f64 {
    let power: f64 = samples
        .iter()
        .map(|sample| (f64::from(*sample) / 32_768.0).powi(2))
        .sum();
    (10.0 * (power / samples.len().max(1) as f64).log10()).max(-120.0)
}

/// The power of one tone (Goertzel, 1958).
fn goertzel(samples: &[i16], tone: f64, rate: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * tone / rate).cos();
    let (last, before) = samples.iter().fold((0.0, 0.0), |(last, before), sample| {
        (f64::from(*sample) + coefficient * last - before, last)
    });
    last * last + before * before - coefficient * last * before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, amplitude: f64, milliseconds: u32) -> Vec<i16> {
        let wave = |n: u32| (f64::from(n) * hz / 48_000.0 * std::f64::consts::TAU).sin();
        #[expect(clippy::cast_possible_truncation, reason = "a sine times 32,767 fits")]
        (0..milliseconds * 48)
            .map(|n| (wave(n) * amplitude * 32_767.0) as i16)
            .collect()
    }

    fn recording(parts: &[Vec<i16>]) -> Recording {
        let mut bytes = vec![0; 44];
        bytes[22] = 2;
        bytes[24..28].copy_from_slice(&48_000_u32.to_le_bytes());
        for sample in parts.iter().flatten() {
            bytes.extend([sample.to_le_bytes(), sample.to_le_bytes()].concat());
        }
        Recording::parse(&bytes).unwrap()
    }

    #[test]
    fn a_recording_tells_level_tones_and_what_was_muted() {
        let silence = |milliseconds: usize| vec![0; milliseconds * 48];
        let sound = recording(&[
            silence(200),
            tone(3_000.0, 1.0, 500),
            silence(300),
            tone(2_000.0, 1.0, 500),
            tone(2_000.0, 0.01, 500),
        ]);
        assert!(
            (sound.level_dbfs() + 3.01).abs() < 0.1,
            "{}",
            sound.level_dbfs()
        );
        assert_eq!(sound.muted(), Duration::from_millis(300));
        assert_eq!(sound.sounding(), Duration::from_secs(1));
        let tones = sound.tones();
        assert!(tones[..50].iter().all(|tone| *tone == 3_000), "{tones:?}");
        assert!(tones[50..].iter().all(|tone| *tone == 2_000), "{tones:?}");
    }
}
