//! Whether somebody speaks on the phone, as a trait. It neither dials nor answers.

use std::time::Duration;

use crate::fault::{Cancel, Fault, Probe};

/// What is known of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// Nobody speaks; a call that only comes in is none yet.
    None,
    /// A call is dialled, connected or held.
    Ongoing,
}

/// Something that knows of calls.
pub trait Calls: Send {
    /// The driver's name for `homingd doctor`.
    fn name(&self) -> &'static str;

    /// Whether it could be asked.
    fn probe(&self) -> Probe;

    /// Whether a call is going on, within `deadline`. It may be asked once a second.
    ///
    /// # Errors
    /// [`Fault::Absent`] when nobody knows; [`Fault::TimedOut`], [`Fault::Cancelled`] and the like.
    fn state(&mut self, deadline: Duration, cancel: &Cancel) -> Result<CallState, Fault>;
}
