//! What draws hands and eyes to a phone besides its sound: a vibrator, a torch. It keeps no rhythm and decides nothing.

use super::siren::FoundMixer;
use crate::fault::{Fault, Probe};

/// One half of a rhythm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// It shakes, or shines as bright as it may.
    On,
    /// It is as it was found.
    Off,
}

/// A vibrator or a torch. Dropping it ends its pulse.
pub trait Attention: Send {
    /// The driver's name for `homingd doctor`: `vibrator`, `torch`, or the simulator's.
    fn name(&self) -> &'static str;

    /// Whether there is one.
    fn probe(&self) -> Probe;

    /// How it stands now, to be remembered before the first [`Pulse::On`], in case this process is killed. `None` where
    /// the kernel ends the pulse of a process that is gone.
    fn found(&mut self) -> Option<FoundMixer>;

    /// Begins or ends a pulse. Each returns at once; the same again changes nothing.
    ///
    /// # Errors
    /// [`Fault::Absent`] when there is none, [`Fault::Denied`], [`Fault::Broken`].
    fn pulse(&mut self, pulse: Pulse) -> Result<(), Fault>;

    /// Puts back what an earlier process [`found`](Attention::found) and left on when it was killed.
    ///
    /// # Errors
    /// As [`Attention::pulse`]; [`Fault::Broken`] when these are not this driver's words.
    fn put_back(&mut self, found: &str) -> Result<(), Fault>;
}
