//! Calls for help by the simulated phone's modem, and calls that it hears come in, over the control socket. Nothing is simulated here.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{ANSWER_TIME, CHANGE_WAIT, Line, probed};
use crate::capability::call::{Dialler, EmergencyNumber, Expected, IncomingCalls, Progress, Ring};
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
            CallStands::None | CallStands::Ringing | CallStands::Ended | CallStands::Failed => {
                Progress::Ended
            }
        })
    }

    fn hang_up(&mut self, deadline: Duration, cancel: &Cancel) -> Result<(), Fault> {
        self.ask::<Value>(&json!({"do": "hang_up"}), deadline, cancel)
            .map(drop)
    }
}

/// The simulated modem, as somebody who is called.
#[derive(Debug)]
pub struct SimIncoming {
    path: PathBuf,
}

impl SimIncoming {
    /// A driver over the control socket at this path; nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            path: socket.into(),
        }
    }

    /// Does something with the call, where it is the expected one's.
    fn act(
        &self,
        word: &str,
        from: &Expected,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<(), Fault> {
        let mut line = Line::new(&self.path);
        let until = Instant::now() + deadline;
        let call: Call = line.ask_until(&json!({"get": "calls"}), &[], until, cancel)?;
        match ring(&call, from) {
            Ring::None => Ok(()),
            Ring::Ringing | Ring::Connected => line
                .ask_until::<Value>(&json!({"do": word}), &[], until, cancel)
                .map(drop),
        }
    }
}

fn ring(call: &Call, from: &Expected) -> Ring {
    let is_expected = call.incoming && call.number.as_deref().is_some_and(|told| from.is(told));
    match call.state {
        CallStands::Ringing if is_expected => Ring::Ringing,
        CallStands::Connected if is_expected => Ring::Connected,
        _ => Ring::None,
    }
}

impl IncomingCalls for SimIncoming {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn next(&self, from: &Expected, seen: Ring, cancel: &Cancel) -> Result<Ring, Fault> {
        let mut line = Line::new(&self.path);
        let until = Instant::now() + ANSWER_TIME;
        let mut call: Call = line.ask_until(&json!({"get": "calls"}), &[], until, cancel)?;
        loop {
            let now = ring(&call, from);
            if now != seen {
                return Ok(now);
            }
            let ms = u64::try_from(CHANGE_WAIT.as_millis()).unwrap_or(u64::MAX);
            let request = json!({"do": "await_call", "seen": call.version, "ms": ms});
            let until = Instant::now() + CHANGE_WAIT + ANSWER_TIME;
            call = line.ask_until(&request, &[], until, cancel)?;
        }
    }

    fn answer(&self, from: &Expected, deadline: Duration, cancel: &Cancel) -> Result<(), Fault> {
        self.act("answer", from, deadline, cancel)
    }

    fn hang_up(&self, from: &Expected, deadline: Duration, cancel: &Cancel) -> Result<(), Fault> {
        self.act("hang_up", from, deadline, cancel)
    }
}
