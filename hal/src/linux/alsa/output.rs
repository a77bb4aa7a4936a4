//! The loudspeaker held for the siren: its stream and its mixer. It decides neither what sounds nor when.

use super::control::Control;
use super::grip::Grip;
use super::pcm::Pcm;
use super::route::Step;
use crate::capability::siren::SirenOutput;
use crate::fault::Fault;

/// A taken loudspeaker.
pub(super) struct AlsaOutput {
    pcm: Pcm,
    grip: Grip<Control>,
}

impl AlsaOutput {
    /// Remembers the mixer as found; it is not touched yet.
    ///
    /// # Errors
    /// As [`Grip::new`].
    pub(super) fn new(pcm: Pcm, control: Control, steps: Vec<Step>) -> Result<Self, Fault> {
        let card = control.id.clone();
        let grip = Grip::new(&card, control, steps)?;
        Ok(Self { pcm, grip })
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

    fn found(&self) -> Option<String> {
        self.grip.found()
    }

    fn take_over(&mut self, found: &str) -> Result<(), Fault> {
        self.grip.take_over(found)
    }

    fn release(mut self: Box<Self>) -> Result<(), Fault> {
        // Silence first: a headset on an ear must not get the last of it.
        let silent = self.pcm.stop();
        let restored = self.grip.release();
        silent.and(restored)
    }
}
