//! The simulated sound card and the ear beside it: what is heard comes from the samples that were really written, and from mixer and route at the moment each of them played. It plays nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Samples per second, Hz: what phone codecs run at natively.
pub const SAMPLE_RATE: u32 = 48_000;
/// How much sound may wait before a writer is held up: two ALSA periods of 100 ms.
pub const QUEUE: Duration = Duration::from_millis(200);
/// How far back the ear listens.
pub const EAR: Duration = Duration::from_secs(1);
/// Level from which a ringing phone is heard, dBFS: phone loudspeakers reach about 100 dB SPL at 10 cm at full scale, 80 dB at one metre; 20 dB less is a conversation, which is found in a quiet room.
pub const HEARD_DBFS: f64 = -20.0;
/// What stands for silence, dBFS: below the 96 dB that 16 bits can express.
pub const SILENCE_DBFS: f64 = -120.0;
/// Samples whose energy is kept as one number: 10 ms.
const BLOCK: usize = 480;

/// Where the sound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The loudspeaker.
    Speaker,
    /// A plugged headset: the room hears nothing.
    Headset,
}

/// Mute or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum Mute {
    /// Silent.
    On,
    /// Sounding.
    Off,
}

impl From<bool> for Mute {
    fn from(on: bool) -> Self {
        match on {
            true => Self::On,
            false => Self::Off,
        }
    }
}

impl From<Mute> for bool {
    fn from(mute: Mute) -> Self {
        mute == Mute::On
    }
}

/// The mixer's and the route's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mixer {
    /// The speaker's volume, 0..=100 percent of amplitude.
    pub volume: u8,
    /// The speaker's mute switch.
    pub mute: Mute,
    /// Where sound goes.
    pub route: Route,
}

impl Mixer {
    /// The factor on amplitude in the room, 0..=1.
    fn gain(self) -> f64 {
        match (self.route, self.mute) {
            (Route::Speaker, Mute::Off) => f64::from(self.volume) / 100.0,
            (Route::Headset, _) | (Route::Speaker, Mute::On) => 0.0,
        }
    }
}

/// Ten milliseconds of sound: when they play, and their mean square at full scale 1.
struct Block {
    plays: Instant,
    mean_square: f64,
    samples: Box<[i16]>,
}

/// Sound without a gap, as it was in the room: after mixer and route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// When its first sample sounded.
    pub plays: Instant,
    /// At [`SAMPLE_RATE`].
    pub samples: Vec<i16>,
}

impl Stretch {
    /// When its last sample has sounded; what follows without a gap begins then.
    #[must_use]
    pub fn ends(&self) -> Instant {
        self.plays + duration_of(self.samples.len())
    }
}

/// The sound card.
pub struct Card {
    /// The mixer's states with their beginnings, oldest first, never empty.
    states: VecDeque<(Instant, Mixer)>,
    blocks: VecDeque<Block>,
    /// Samples of a block that is not full yet.
    rest: Vec<i16>,
    /// When the sound written so far ends.
    ends: Instant,
    written: u64,
    /// Of the blocks that are forgotten, those that nobody could hear.
    hushed: u64,
    muted_by_user: Mute,
}

/// What a person beside the phone would say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// Level over the last second relative to a full-scale square wave, dBFS; −120 is silence.
    pub level_dbfs: f64,
    /// Whether that is loud enough to be found by.
    pub heard: bool,
    /// Whether the person had muted the phone, which the siren overrides and does not forget.
    pub muted_by_user: Mute,
    /// Where sound goes.
    pub route: Route,
    /// Sound that has played since the simulator began, milliseconds.
    pub played_ms: u64,
    /// What of it nobody could hear: muted, turned down to nothing, or in a headset, milliseconds.
    pub hushed_ms: u64,
}

impl Card {
    /// A silent card with the mixer as a person left it.
    #[must_use]
    pub fn new(now: Instant, mixer: Mixer) -> Self {
        Self {
            states: VecDeque::from([(now, mixer)]),
            blocks: VecDeque::new(),
            rest: Vec::new(),
            ends: now,
            written: 0,
            hushed: 0,
            muted_by_user: mixer.mute,
        }
    }

    /// The mixer now.
    #[must_use]
    pub fn mixer(&self) -> Mixer {
        self.states.back().map_or(
            Mixer {
                volume: 0,
                mute: Mute::On,
                route: Route::Speaker,
            },
            |(_, mixer)| *mixer,
        )
    }

    /// Changes the mixer, as any program may.
    pub fn set(&mut self, now: Instant, mixer: Mixer) {
        self.forget(now);
        self.states.push_back((now, mixer));
    }

    /// Changes the mixer as the person holding the phone: a mute of theirs is remembered.
    pub fn set_by_user(&mut self, now: Instant, mixer: Mixer) {
        self.muted_by_user = mixer.mute;
        self.set(now, mixer);
    }

    /// Queues samples behind those already written; returns when the writer may go on.
    pub fn write(&mut self, now: Instant, samples: &[i16]) -> Instant {
        self.forget(now);
        if self.ends < now {
            // The queue ran dry: there was silence until now.
            self.rest.clear();
            self.ends = now;
        }
        for sample in samples {
            self.rest.push(*sample);
            if self.rest.len() == BLOCK {
                self.finish_block();
            }
        }
        let waiting = duration_of(self.rest.len());
        (self.ends + waiting).checked_sub(QUEUE).unwrap_or(now)
    }

    fn finish_block(&mut self) {
        let square = |sample: &i16| (f64::from(*sample) / 32_768.0).powi(2);
        let sum: f64 = self.rest.iter().map(square).sum();
        self.blocks.push_back(Block {
            plays: self.ends,
            mean_square: sum / (BLOCK as f64),
            samples: self.rest.as_slice().into(),
        });
        self.rest.clear();
        self.ends += duration_of(BLOCK);
        self.written += BLOCK as u64;
    }

    /// Drops what has not played yet: the writer is gone.
    pub fn stop(&mut self, now: Instant) {
        self.rest.clear();
        let kept = self
            .blocks
            .iter()
            .take_while(|block| block.plays <= now)
            .count();
        self.written = self
            .written
            .saturating_sub(((self.blocks.len() - kept) * BLOCK) as u64);
        self.blocks.truncate(kept);
        self.ends = self.ends.min(now);
    }

    /// What is heard in the room now.
    #[must_use]
    pub fn heard(&self, now: Instant) -> Heard {
        let energy: f64 = self
            .blocks
            .iter()
            .filter(|block| block.plays <= now && now.duration_since(block.plays) <= EAR)
            .map(|block| block.mean_square * self.gain_at(block.plays).powi(2))
            .sum();
        let mean_square = energy * duration_of(BLOCK).as_secs_f64() / EAR.as_secs_f64();
        let level_dbfs = match mean_square > 0.0 {
            true => (10.0 * mean_square.log10()).max(SILENCE_DBFS),
            false => SILENCE_DBFS,
        };
        let waiting = self.blocks.iter().filter(|block| block.plays > now).count() * BLOCK;
        let played = self.written.saturating_sub(waiting as u64);
        let hushed = self
            .blocks
            .iter()
            .filter(|block| block.plays <= now && self.is_hushed(block))
            .count() as u64;
        Heard {
            level_dbfs,
            heard: level_dbfs >= HEARD_DBFS,
            muted_by_user: self.muted_by_user,
            route: self.mixer().route,
            played_ms: played * 1000 / u64::from(SAMPLE_RATE),
            hushed_ms: (self.hushed + hushed) * BLOCK as u64 * 1000 / u64::from(SAMPLE_RATE),
        }
    }

    /// What began to sound in the room from one moment on and up to another, oldest first; of what is longer ago than two
    /// seconds nothing is known any more.
    #[must_use]
    pub fn room(&self, from: Instant, now: Instant) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        let sounded = |block: &&Block| block.plays >= from && block.plays <= now;
        for block in self.blocks.iter().filter(sounded) {
            if self.is_hushed(block) {
                continue;
            }
            let gain = self.gain_at(block.plays);
            #[expect(clippy::cast_possible_truncation, reason = "a gain is at most 1")]
            let heard = block
                .samples
                .iter()
                .map(|sample| (f64::from(*sample) * gain) as i16);
            match stretches.last_mut() {
                Some(last) if last.ends() == block.plays => {
                    last.samples.extend(heard);
                }
                _ => stretches.push(Stretch {
                    plays: block.plays,
                    samples: heard.collect(),
                }),
            }
        }
        stretches
    }

    /// Whether a block plays to nobody.
    fn is_hushed(&self, block: &Block) -> bool {
        self.gain_at(block.plays) <= 0.0
    }

    fn gain_at(&self, instant: Instant) -> f64 {
        let state = self
            .states
            .iter()
            .rev()
            .find(|(since, _)| *since <= instant);
        state
            .or(self.states.front())
            .map_or(0.0, |(_, mixer)| mixer.gain())
    }

    /// Forgets what no ear reaches any more, so that nothing grows.
    fn forget(&mut self, now: Instant) {
        let old = |instant: Instant| now.saturating_duration_since(instant) > EAR * 2;
        while let Some(block) = self.blocks.front().filter(|block| old(block.plays)) {
            self.hushed += u64::from(self.is_hushed(block));
            self.blocks.pop_front();
        }
        while self.states.get(1).is_some_and(|(since, _)| old(*since)) {
            self.states.pop_front();
        }
    }
}

fn duration_of(samples: usize) -> Duration {
    Duration::from_nanos(samples as u64 * 1_000_000_000 / u64::from(SAMPLE_RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: Mixer = Mixer {
        volume: 100,
        mute: Mute::Off,
        route: Route::Speaker,
    };

    fn second(amplitude: f64) -> Vec<i16> {
        let turns = |n: u32| f64::from(n) * 3_000.0 / f64::from(SAMPLE_RATE);
        let wave = |n: u32| (turns(n) * std::f64::consts::TAU).sin() * amplitude;
        #[expect(clippy::cast_possible_truncation, reason = "a sine times 32,767 fits")]
        (0..SAMPLE_RATE)
            .map(|n| (wave(n) * 32_767.0) as i16)
            .collect()
    }

    fn after_a_second(mixer: Mixer, amplitude: f64) -> Heard {
        let now = Instant::now();
        let mut card = Card::new(now, mixer);
        card.write(now, &second(amplitude));
        card.heard(now + EAR)
    }

    #[test]
    fn a_full_scale_tone_is_heard_at_three_decibels_below_full_scale() {
        let heard = after_a_second(LOUD, 1.0);
        assert!(heard.heard);
        assert!(
            (heard.level_dbfs + 3.01).abs() < 0.1,
            "{}",
            heard.level_dbfs
        );
    }

    #[test]
    fn silence_samples_mute_volume_and_headset_each_make_it_unheard() {
        assert!(!after_a_second(LOUD, 0.0).heard);
        assert!(
            !after_a_second(
                Mixer {
                    mute: Mute::On,
                    ..LOUD
                },
                1.0
            )
            .heard
        );
        assert!(!after_a_second(Mixer { volume: 5, ..LOUD }, 1.0).heard);
        assert!(
            !after_a_second(
                Mixer {
                    route: Route::Headset,
                    ..LOUD
                },
                1.0
            )
            .heard
        );
    }

    #[test]
    fn the_mixer_counts_when_a_sample_plays_and_not_when_it_was_written() {
        let now = Instant::now();
        let mut card = Card::new(now, LOUD);
        card.write(now, &second(1.0));
        card.write(now, &second(1.0));
        card.set_by_user(
            now + EAR,
            Mixer {
                mute: Mute::On,
                ..LOUD
            },
        );
        assert!(card.heard(now + EAR).heard);
        // The block that begins with the mute is the first that nobody hears.
        assert_eq!(card.heard(now + EAR).hushed_ms, 10);
        let later = card.heard(now + EAR * 2 + Duration::from_millis(20));
        assert!(!later.heard, "{}", later.level_dbfs);
        assert_eq!((later.played_ms, later.hushed_ms), (2_000, 1_000));
        // What is too old for any ear still counts.
        card.set(now + EAR * 9, LOUD);
        assert_eq!(card.heard(now + EAR * 9).hushed_ms, 1_000);
        assert_eq!(later.muted_by_user, Mute::On);
    }

    #[test]
    fn the_room_holds_what_sounded_in_it_once_and_after_the_mixer() {
        let now = Instant::now();
        let mut card = Card::new(now, Mixer { volume: 50, ..LOUD });
        let tone = second(1.0);
        card.write(now, &tone);
        let half = now + EAR / 2;
        card.set(
            half,
            Mixer {
                route: Route::Headset,
                ..LOUD
            },
        );
        let before = now.checked_sub(EAR).unwrap();
        let room = card.room(before, now + EAR);
        let [stretch] = &room[..] else {
            panic!("one stretch: {}", room.len());
        };
        assert_eq!(
            (stretch.plays, stretch.samples.len()),
            (now, tone.len() / 2)
        );
        assert!(
            stretch
                .samples
                .iter()
                .zip(&tone)
                .all(|(heard, played)| *heard == played / 2),
            "at half volume"
        );
        // Whoever goes on from the end of what they heard hears nothing twice and misses nothing.
        let first = card.room(before, now + Duration::from_millis(100));
        assert_eq!(first[0].samples.len(), 11 * BLOCK);
        let rest = card.room(first[0].ends(), now + EAR);
        assert_eq!(rest[0].plays, first[0].ends());
        assert_eq!(
            [&first[0].samples[..], &rest[0].samples].concat(),
            stretch.samples
        );
        assert!(card.room(half, now + EAR).is_empty());
    }

    #[test]
    fn a_writer_is_held_to_real_time() {
        let now = Instant::now();
        let mut card = Card::new(now, LOUD);
        let go_on = card.write(now, &second(1.0));
        assert_eq!(go_on, now + EAR.checked_sub(QUEUE).unwrap());
        assert!(card.heard(now).played_ms <= 10);
        assert_eq!(card.heard(now + EAR).played_ms, 1_000);
    }

    #[test]
    fn what_was_not_played_when_the_writer_went_is_never_heard() {
        let now = Instant::now();
        let mut card = Card::new(now, LOUD);
        card.write(now, &second(1.0));
        card.stop(now);
        assert!(!card.heard(now + EAR).heard);
        assert!(card.heard(now + EAR).played_ms <= 10);
    }
}
