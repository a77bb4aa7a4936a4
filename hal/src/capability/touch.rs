//! Touch and keys of the phone, for the one program that has taken its panel. What is under a finger is decided elsewhere.

use serde::{Deserialize, Serialize};

use crate::fault::{Cancel, Fault, Probe};

/// What a finger does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It comes down.
    Down,
    /// It moves.
    Move,
    /// It is taken away; the place is where it was last.
    Up,
}

/// A key of the phone's case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseKey {
    /// Power.
    Power,
    /// Any other: volume, camera, home.
    Other,
}

/// Something that hands did to the phone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input {
    /// A finger on the panel, the first one where there are several.
    Touch {
        /// What it does.
        phase: Phase,
        /// From the upright panel's left edge, 0 to 1.
        x: f32,
        /// From the upright panel's upper edge, 0 to 1.
        y: f32,
    },
    /// A key was pressed down.
    Key(CaseKey),
}

/// The touch panel and the keys, taken from everybody else.
pub trait Touch: Send {
    /// The driver's name.
    fn name(&self) -> &'static str;

    /// Whether it would work on this phone.
    fn probe(&self) -> Probe;

    /// Takes every device, so that nothing reaches a session any more. Harmless to repeat; devices that came since are taken too.
    ///
    /// # Errors
    /// [`Fault::Absent`] without any device, [`Fault::Denied`] without the right to one that is needed.
    fn take(&mut self) -> Result<(), Fault>;

    /// Waits for the next thing that hands do, without a wake-up before.
    ///
    /// # Errors
    /// [`Fault::Cancelled`]; the devices' own.
    fn next(&mut self, cancel: &Cancel) -> Result<Input, Fault>;

    /// Gives the devices back.
    ///
    /// # Errors
    /// What could not be given back.
    fn release(&mut self) -> Result<(), Fault>;
}
