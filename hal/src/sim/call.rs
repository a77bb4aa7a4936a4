//! The simulated modem's call, as values. Nothing is heard of it, and no number but what was dialled or calls is known.

use serde::{Deserialize, Serialize};

use super::request::CallStands;

/// The newest call; its answer to `{"get":"calls"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What was dialled, or who calls.
    pub number: Option<String>,
    /// How it stands.
    pub state: CallStands,
    /// How often a number was dialled.
    pub dialled: u64,
    /// Whether somebody answered it.
    pub answered: bool,
    /// Whether somebody calls the phone, and not the other way round.
    pub incoming: bool,
    /// Grows with every change.
    pub version: u64,
}

impl Call {
    fn is_on(&self) -> bool {
        matches!(self.state, CallStands::Dialling | CallStands::Connected)
    }

    /// A driver dials; a call that is on already goes on instead.
    pub fn dial(&mut self, number: String) {
        if !self.is_on() {
            *self = Self {
                number: Some(number),
                state: CallStands::Dialling,
                dialled: self.dialled + 1,
                answered: false,
                incoming: false,
                version: self.version + 1,
            };
        }
    }

    /// Somebody calls the phone.
    ///
    /// # Errors
    /// A sentence, where the line is taken.
    pub fn ring(&mut self, from: String) -> Result<(), String> {
        if self.is_on() || self.state == CallStands::Ringing {
            return Err("the line is taken".into());
        }
        *self = Self {
            number: Some(from),
            state: CallStands::Ringing,
            dialled: self.dialled,
            answered: false,
            incoming: true,
            version: self.version + 1,
        };
        Ok(())
    }

    /// A driver answers; where nothing rings, nothing.
    pub fn answer(&mut self) {
        if self.state == CallStands::Ringing {
            self.stands(CallStands::Connected);
        }
    }

    /// A driver hangs up.
    pub fn hang_up(&mut self) {
        if self.is_on() || self.state == CallStands::Ringing {
            self.stands(CallStands::Ended);
        }
    }

    fn stands(&mut self, state: CallStands) {
        self.state = state;
        self.answered |= state == CallStands::Connected;
        self.version += 1;
    }

    /// The other side or the network does something with the call.
    ///
    /// # Errors
    /// A sentence, where there is no call, or it cannot come to stand so.
    pub fn turn(&mut self, to: CallStands) -> Result<(), String> {
        match to {
            CallStands::None | CallStands::Dialling | CallStands::Ringing => {
                Err("a call becomes connected, ended or failed".into())
            }
            CallStands::Ended if self.state == CallStands::Ringing => {
                self.stands(to);
                Ok(())
            }
            _ if !self.is_on() => Err("there is no call".into()),
            CallStands::Connected | CallStands::Ended | CallStands::Failed => {
                self.stands(to);
                Ok(())
            }
        }
    }
}
