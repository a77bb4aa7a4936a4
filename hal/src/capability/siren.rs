//! The siren as a trait: a sound card that is opened, made loud, fed and given back. It generates no sound and decides nothing.

use crate::fault::{Fault, Probe};

/// Longest [`FoundMixer::mixer`], bytes: a phone's codec has some 400 elements, each of which takes about twelve.
pub const LONGEST_MIXER: usize = 64 * 1024;

/// One card's mixer as it was before a siren, for whoever comes after that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundMixer {
    /// Which card, as its driver names it, such as `PinePhone`; each card of a phone has another name.
    pub card: String,
    /// How it stood, in the driver's own words: text of at most [`LONGEST_MIXER`] bytes.
    pub mixer: String,
}

/// A sound card with a loudspeaker.
pub trait SoundCard: Send {
    /// The driver's name for `homingd doctor`.
    fn name(&self) -> &'static str;

    /// Whether the loudspeaker could be used.
    fn probe(&self) -> Probe;

    /// What makes the siren weaker than its owner may think, for `homingd doctor`: one sentence each.
    fn weak_points(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes the loudspeaker for the siren alone and remembers the mixer as found. Loudness is not touched yet: see [`SirenOutput::assert_loud`].
    ///
    /// # Errors
    /// [`Fault::Absent`], [`Fault::Busy`] when another stream holds it, [`Fault::Denied`], [`Fault::Broken`].
    fn open(&mut self) -> Result<Box<dyn SirenOutput>, Fault>;

    /// Puts a mixer back that an earlier siren [`found`](SirenOutput::found) and did not live to put back. It needs the
    /// mixer alone: whoever plays by now goes on playing.
    ///
    /// # Errors
    /// [`Fault::Broken`] when these are not this driver's words or a control could not be set; [`Fault::Absent`] when
    /// that card is not here; [`Fault::Busy`] when another siren has it; [`Fault::Denied`].
    fn put_back(&mut self, mixer: &str) -> Result<(), Fault>;
}

/// A loudspeaker held for the siren. Dropping it ends the sound at once and leaves the mixer as it is; [`SirenOutput::release`] is the orderly end.
pub trait SirenOutput: Send {
    /// Samples per second of the one channel, Hz.
    fn sample_rate(&self) -> u32;

    /// Plays mono samples (full scale `i16`), blocking at the pace of real time: it returns once at most a few tenths of a second of sound are waiting.
    ///
    /// # Errors
    /// [`Fault::Broken`] or [`Fault::Absent`] when the card went away: open it anew.
    fn write(&mut self, samples: &[i16]) -> Result<(), Fault>;

    /// Routes to the loudspeaker, turns the volume to its maximum and unmutes, again. The caller repeats it while it plays, because a person or a session daemon may undo it.
    ///
    /// # Errors
    /// As [`SirenOutput::write`].
    fn assert_loud(&mut self) -> Result<(), Fault>;

    /// Controls that another program can still turn, by their names, as of the last [`SirenOutput::assert_loud`]: it
    /// can mute the siren until that is said again. Empty where nobody can.
    fn unlocked(&self) -> &[String];

    /// The mixer as found at [`SoundCard::open`]: what to remember, so that it can be put back although this process is
    /// killed. `None` when there is nothing to put back.
    fn found(&self) -> Option<FoundMixer>;

    /// Takes over the mixer that an earlier holder [`found`](SirenOutput::found) and did not live to put back: from now on
    /// that one is restored by [`SirenOutput::release`], not the loud one found since.
    ///
    /// # Errors
    /// [`Fault::Broken`] when these are not this driver's words; else as [`SirenOutput::write`].
    fn take_over(&mut self, mixer: &str) -> Result<(), Fault>;

    /// Ends the sound and restores the mixer as found at [`SoundCard::open`], or as taken over.
    ///
    /// # Errors
    /// As [`SoundCard::put_back`], and of the mixer alone: a stream that breaks as it ends is silent too. The card is
    /// given up either way.
    fn release(self: Box<Self>) -> Result<(), Fault>;
}
