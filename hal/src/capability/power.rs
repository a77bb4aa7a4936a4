//! The battery as a trait.

use homing_protocol::measure::Battery;

use crate::fault::{Fault, Probe};

/// Something that knows the battery.
pub trait Power: Send {
    /// The driver's name for `homingd doctor`.
    fn name(&self) -> &'static str;

    /// Whether a battery was found.
    fn probe(&self) -> Probe;

    /// The battery now.
    ///
    /// # Errors
    /// [`Fault::Absent`] when there is no battery, else as the system classifies it.
    fn battery(&mut self) -> Result<Battery, Fault>;
}
