//! The loudspeaker held for the siren: its stream and its mixer. It decides neither what sounds nor when.

use super::claim::Claim;
use super::control::Control;
use super::grip::Grip;
use super::pcm::Pcm;
use super::route::Step;
use crate::capability::siren::{FoundMixer, SirenOutput};
use crate::fault::Fault;

/// A taken loudspeaker.
pub(super) struct AlsaOutput {
    pcm: Pcm,
    grip: Grip<Control>,
    /// Withdrawn last: by then the card is free and its mixer as before.
    pub(super) claim: Option<Claim>,
}

impl AlsaOutput {
    /// Remembers the mixer as found; it is not touched yet.
    ///
    /// # Errors
    /// As [`Grip::new`].
    pub(super) fn new(pcm: Pcm, control: Control, steps: Vec<Step>) -> Result<Self, Fault> {
        let card = control.id.clone();
        let grip = Grip::new(&card, control, steps)?;
        Ok(Self {
            pcm,
            grip,
            claim: None,
        })
    }
}

impl SirenOutput for AlsaOutput {
    fn sample_rate(&self) -> u32 {
        self.pcm.rate
    }

    fn write(&mut self, samples: &[i16]) -> Result<(), Fault> {
        self.pcm.write(samples)
    }

    fn assert_loud(&mut self) -> Result<(), Fault> {
        self.grip.assert()
    }

    fn unlocked(&self) -> &[String] {
        self.grip.unlocked()
    }

    fn found(&self) -> Option<FoundMixer> {
        self.grip.found()
    }

    fn take_over(&mut self, mixer: &str) -> Result<(), Fault> {
        self.grip.take_over(mixer)
    }

    fn release(mut self: Box<Self>) -> Result<(), Fault> {
        // Silence first: a headset on an ear must not get the last of it.
        if let Err(fault) = self.pcm.stop() {
            tracing::debug!(%fault, "the stream ends with its file");
        }
        self.grip.release()
    }
}
