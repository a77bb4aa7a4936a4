//! Whether somebody speaks on the phone, and who calls for help from it, as traits. Nothing here answers a call, nor dials any other number.

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

/// A number that every network takes for a call for help, from any phone and without a SIM (3GPP TS 22.101, 10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmergencyNumber {
    /// 112, everywhere.
    OneOneTwo,
    /// 911, where the SIM names it alone.
    NineOneOne,
}

impl EmergencyNumber {
    /// Both; the first is dialled unless the SIM says otherwise.
    pub const ALL: [Self; 2] = [Self::OneOneTwo, Self::NineOneOne];

    /// As it is dialled.
    #[must_use]
    pub fn digits(self) -> &'static str {
        match self {
            Self::OneOneTwo => "112",
            Self::NineOneOne => "911",
        }
    }

    /// The one among [`EmergencyNumber::ALL`] that is written so.
    #[must_use]
    pub fn of(digits: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|number| number.digits() == digits)
    }
}

/// How a call for help stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is dialled, rings or is connected.
    Ongoing,
    /// Somebody was reached, or it was ended here; now it is over.
    Ended,
    /// It ended and reached nobody.
    Failed,
}

/// Something that calls for help.
pub trait Dialler: Send {
    /// The driver's name.
    fn name(&self) -> &'static str;

    /// Whether it would work here; it dials nothing.
    fn probe(&self) -> Probe;

    /// Begins a call and says to which number. One that an earlier process began is gone on with instead.
    ///
    /// # Errors
    /// [`Fault::Absent`] where nothing can call, [`Fault::Denied`], [`Fault::Broken`] for a modem that refuses;
    /// [`Fault::TimedOut`], [`Fault::Cancelled`]: the call may be on then, and [`hang_up`](Dialler::hang_up) ends it.
    fn dial(&mut self, deadline: Duration, cancel: &Cancel) -> Result<EmergencyNumber, Fault>;

    /// How the call stands that [`dial`](Dialler::dial) began. It may be asked once a second.
    ///
    /// # Errors
    /// As [`Calls::state`]; nothing is known of the call then.
    fn progress(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Progress, Fault>;

    /// Ends the call, whoever began it; nothing where there is none.
    ///
    /// # Errors
    /// The call may still be on.
    fn hang_up(&mut self, deadline: Duration, cancel: &Cancel) -> Result<(), Fault>;
}
