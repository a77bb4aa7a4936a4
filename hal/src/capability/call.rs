//! Whether somebody speaks on the phone, who calls for help from it, and whose call it takes, as traits. No other number is dialled, and nobody else's call is answered or even told of.

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

/// The number of the one person whose calls are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(String);

/// Digits that must agree where one number is written with its country and another without: as many as the loose comparison of
/// Android's `PhoneNumberUtils.compare` wants.
const AGREEING: usize = 7;

impl Expected {
    /// Reads a number as people write it, `+49 (30) 90-1820`; `None` for what is none, such as an address.
    #[must_use]
    pub fn of(written: &str) -> Option<Self> {
        let is_number = written
            .chars()
            .all(|letter| letter.is_ascii_digit() || "+-()/. \u{a0}\u{2011}".contains(letter));
        let digits = significant(written);
        (is_number && digits.len() >= AGREEING).then_some(Self(digits))
    }

    /// Whether a network's word for who calls means this number. Whoever tells a network another number than their own is believed:
    /// all they win is to be spoken to.
    #[must_use]
    pub fn is(&self, told: &str) -> bool {
        let told = significant(told);
        let (long, short) = match told.len() > self.0.len() {
            true => (&told, &self.0),
            false => (&self.0, &told),
        };
        short.len() >= AGREEING && long.ends_with(short.as_str())
    }
}

/// The digits without what only says whether a country or an area follows.
fn significant(number: &str) -> String {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').to_owned()
}

/// How the expected call stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ring {
    /// There is none.
    #[default]
    None,
    /// It rings here.
    Ringing,
    /// It was answered and goes on.
    Connected,
}

/// Something that hears calls come in. Any thread may ask it, and several at once.
pub trait IncomingCalls: Send + Sync {
    /// The driver's name.
    fn name(&self) -> &'static str;

    /// Waits until the call of this number stands otherwise than was seen, without a wake-up before something happens to a call.
    ///
    /// # Errors
    /// [`Fault::Cancelled`]; any other fault: nobody can be asked now. A modem that is not there yet is no fault.
    fn next(&self, from: &Expected, seen: Ring, cancel: &Cancel) -> Result<Ring, Fault>;

    /// Answers the call of this number; where none rings any more, nothing.
    ///
    /// # Errors
    /// [`Fault::Absent`] where nothing can call, [`Fault::Denied`], [`Fault::Broken`] for a modem that refuses,
    /// [`Fault::TimedOut`], [`Fault::Cancelled`].
    fn answer(&self, from: &Expected, deadline: Duration, cancel: &Cancel) -> Result<(), Fault>;

    /// Ends the call of this number, ringing or answered; where there is none, nothing.
    ///
    /// # Errors
    /// As [`IncomingCalls::answer`]; the call may still be on.
    fn hang_up(&self, from: &Expected, deadline: Duration, cancel: &Cancel) -> Result<(), Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_with_and_without_its_country_and_nobody_else_s_is() {
        let owner = Expected::of("+49 (30) 90-1820").unwrap();
        for told in ["+4930901820", "004930901820", "030901820", "30901820"] {
            assert!(owner.is(told), "{told}");
        }
        for told in [
            "",
            "901820",
            "+4930901821",
            "+4940901820",
            "112",
            "anonymous",
        ] {
            assert!(!owner.is(told), "{told}");
        }
        for written in ["me@example.org", "", "112", "call 0170 1234567"] {
            assert_eq!(Expected::of(written), None, "{written}");
        }
    }
}
