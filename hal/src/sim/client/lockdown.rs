//! The simulated phone's session, taken and given back over the control socket. Nothing is simulated here.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Line, probed};
use crate::capability::lockdown::{Lockdown, Standing};
use crate::fault::{Fault, Probe};
use crate::sim::request::Session;

/// Who ends the simulated session and lets it begin again. The simulator remembers what was found, as a disk does.
#[derive(Debug)]
pub struct SimLockdown {
    line: Line,
}

impl SimLockdown {
    /// A driver over the control socket at this path; nothing is opened yet.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            line: Line::new(socket),
        }
    }

    fn order(&mut self, what: &str) -> Result<(), Fault> {
        self.line.ask::<Value>(&json!({"do": what})).map(drop)
    }
}

impl Lockdown for SimLockdown {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.line.path, "session")
    }

    fn enter(&mut self) -> Result<(), Fault> {
        self.order("lock")
    }

    fn leave(&mut self) -> Result<(), Fault> {
        self.order("unlock")
    }

    fn standing(&mut self) -> Result<Standing, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            session: Session,
            locked: bool,
        }
        let answer: Answer = self.line.ask(&json!({"get": "session"}))?;
        Ok(match (answer.locked, answer.session) {
            (true, Session::Ended) => Standing::Locked,
            (true, Session::Open) => Standing::Partly("somebody opened a session again".into()),
            (false, _) => Standing::Open,
        })
    }
}
