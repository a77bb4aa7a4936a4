//! Calls for help by the simulated phone's modem, over the control socket. Nothing is simulated here.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Line, probed};
use crate::capability::call::{Dialler, EmergencyNumber, Progress};
use crate::fault::{Cancel, Fault, Probe};
use crate::sim::call::Call;
use crate::sim::request::CallStands;

/// The simulated modem, as somebody to call with.
#[derive(Debug)]
pub struct SimDialler {
    line: Line,
}

impl SimDialler {
    /// A driver over the control socket at this path; nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            line: Line::new(socket),
        }
    }

    fn ask<T: DeserializeOwned>(
        &mut self,
        request: &Value,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<T, Fault> {
        let until = Instant::now() + deadline;
        self.line.ask_until(request, &[], until, cancel)
    }
}

impl Dialler for SimDialler {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.line.path, "calls")
    }

    fn dial(&mut self, deadline: Duration, cancel: &Cancel) -> Result<EmergencyNumber, Fault> {
        let number = EmergencyNumber::OneOneTwo;
        let request = json!({"do": "dial", "number": number.digits()});
        self.ask::<Value>(&request, deadline, cancel)?;
        Ok(number)
    }

    fn progress(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Progress, Fault> {
        let call: Call = self.ask(&json!({"get": "calls"}), deadline, cancel)?;
        Ok(match call.state {
            CallStands::Dialling | CallStands::Connected => Progress::Ongoing,
            CallStands::Failed if !call.answered => Progress::Failed,
            CallStands::None | CallStands::Ended | CallStands::Failed => Progress::Ended,
        })
    }

    fn hang_up(&mut self, deadline: Duration, cancel: &Cancel) -> Result<(), Fault> {
        self.ask::<Value>(&json!({"do": "hang_up"}), deadline, cancel)
            .map(drop)
    }
}
