//! The simulated modem's call, as values. Nothing is heard of it, and no number but what was dialled is known.

use serde::{Deserialize, Serialize};

use super::request::CallStands;

/// The newest call; its answer to `{"get":"calls"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What was dialled.
    pub number: Option<String>,
    /// How it stands.
    pub state: CallStands,
    /// How often a number was dialled.
    pub dialled: u64,
    /// Whether somebody answered it.
    pub answered: bool,
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
            };
        }
    }

    /// A driver hangs up.
    pub fn hang_up(&mut self) {
        if self.is_on() {
            self.state = CallStands::Ended;
        }
    }

    /// The other side or the network does something with the call.
    ///
    /// # Errors
    /// A sentence, where there is no call, or it cannot come to stand so.
    pub fn turn(&mut self, to: CallStands) -> Result<(), String> {
        match to {
            CallStands::None | CallStands::Dialling => {
                Err("a call becomes connected, ended or failed".into())
            }
            _ if !self.is_on() => Err("there is no call".into()),
            CallStands::Connected | CallStands::Ended | CallStands::Failed => {
                self.state = to;
                self.answered |= to == CallStands::Connected;
                Ok(())
            }
        }
    }
}
