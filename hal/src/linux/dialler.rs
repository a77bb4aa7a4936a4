//! Calls for help through ModemManager's Voice interface. It dials the two numbers that every network takes for one, and no other.

use std::time::Duration;

use super::calls::{CALL, GOES_ON, VOICE};
use super::dbus::value::Value;
use super::modem::{MODEM, property};
use super::voice::{ACTIVE, Line, TERMINATED};
use crate::capability::call::{Dialler, EmergencyNumber, Progress};
use crate::fault::{Cancel, Fault, Probe, Roots};

const SIM: &str = "org.freedesktop.ModemManager1.Sim";
/// `MM_CALL_STATE_REASON_TERMINATED`: ended as calls end; other reasons tell what went wrong.
const ENDED_WELL: i32 = 4;
/// `MM_CALL_DIRECTION_OUTGOING`.
const OUTGOING: i32 = 2;
/// How long a probe may take.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// The driver.
pub struct ModemDialler {
    roots: Roots,
    call: Option<Placed>,
}

/// A call of ours.
#[derive(Clone)]
struct Placed {
    /// ModemManager's unique name: after its restart the path may be another's call.
    owner: String,
    modem: String,
    path: String,
    number: EmergencyNumber,
    /// Whether it was ever seen connected.
    connected: bool,
}

impl ModemDialler {
    /// A driver on the system bus below `roots`; nothing is opened yet.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            roots: roots.clone(),
            call: None,
        }
    }

    /// The call of ours, or one that a process before us began.
    fn ongoing(&mut self, line: &mut Line<'_>) -> Result<Option<Placed>, Fault> {
        // What another ModemManager knew has ended with it.
        let ours = self.call.take().filter(|call| call.owner == line.owner);
        match ours {
            Some(call) => Ok(Some(call)),
            None => line.for_help(),
        }
    }
}

impl Line<'_> {
    /// A call for help that goes on, whoever began it.
    fn for_help(&mut self) -> Result<Option<Placed>, Fault> {
        for modem in self.modems()? {
            for path in self.calls(&modem)? {
                let path = path.as_str();
                let state = self.number_of_call(path, "State")?;
                if !state.is_some_and(|state| GOES_ON.contains(&state))
                    || self.number_of_call(path, "Direction")? != Some(OUTGOING)
                {
                    continue;
                }
                let number = self.of_call(path, "Number")?;
                let number = number.as_text().and_then(EmergencyNumber::of);
                if let Some(number) = number {
                    return Ok(Some(Placed {
                        owner: self.owner.clone(),
                        modem,
                        path: path.to_owned(),
                        number,
                        connected: state == Some(ACTIVE),
                    }));
                }
            }
        }
        Ok(None)
    }

    /// 112, unless the SIM lists 911 and not 112. A SIM that is missing, locked or silent changes nothing.
    fn number(&mut self, modem: &str) -> Result<EmergencyNumber, Fault> {
        match self.listed(modem) {
            Err(Fault::Cancelled(why)) => Err(Fault::Cancelled(why)),
            Ok(listed) => {
                let first = EmergencyNumber::ALL
                    .into_iter()
                    .find(|number| listed.iter().any(|listed| listed == number.digits()));
                Ok(first.unwrap_or(EmergencyNumber::OneOneTwo))
            }
            Err(_) => Ok(EmergencyNumber::OneOneTwo),
        }
    }

    /// The SIM's own list, which ModemManager tells since 1.12.
    fn listed(&mut self, modem: &str) -> Result<Vec<String>, Fault> {
        let of_modem = (&*self.owner, modem);
        let sim = property(&mut self.bus, of_modem, (MODEM, "Sim"), self.limit)?;
        let Some(sim) = sim.as_text().filter(|sim| *sim != "/") else {
            return Ok(Vec::new());
        };
        let of_sim = (&*self.owner, sim);
        let name = (SIM, "EmergencyNumbers");
        let listed = property(&mut self.bus, of_sim, name, self.limit)?;
        let listed = listed.inner().elements().iter().filter_map(Value::as_text);
        Ok(listed.map(str::to_owned).collect())
    }

    /// Makes a call; it is not started yet.
    fn create(&mut self, modem: &str, number: EmergencyNumber) -> Result<Placed, Fault> {
        let digits = Value::Variant(Box::new(Value::text(number.digits())));
        let entry = Value::Entry(Box::new((Value::text("number"), digits)));
        let wanted = Value::Array("{sv}".into(), vec![entry]);
        let path = self.ask((modem, VOICE), "CreateCall", vec![wanted])?;
        let path = path
            .as_text()
            .ok_or_else(|| Fault::Broken("ModemManager names no call".into()))?;
        Ok(Placed {
            owner: self.owner.clone(),
            modem: modem.to_owned(),
            path: path.to_owned(),
            number,
            connected: false,
        })
    }

    fn start(&mut self, call: &Placed) -> Result<(), Fault> {
        match self.ask((&call.path, CALL), "Start", Vec::new()) {
            // A modem answers when it has dialled, which may take longer than we wait: its state tells the rest.
            Ok(_) | Err(Fault::TimedOut(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}

impl Dialler for ModemDialler {
    fn name(&self) -> &'static str {
        "modem-manager"
    }

    fn probe(&self) -> Probe {
        let cancel = Cancel::new();
        let found = Line::open(&self.roots, PROBE_TIME, &cancel).and_then(|mut line| {
            let modem = line.modems()?.remove(0);
            let of_modem = (&*line.owner, &*modem);
            let name = (VOICE, "EmergencyOnly");
            let only = property(&mut line.bus, of_modem, name, line.limit);
            Ok(match only.is_ok_and(|only| only.inner().is_true()) {
                true => "ModemManager, registered for emergency calls alone".to_owned(),
                false => "ModemManager".to_owned(),
            })
        });
        match found {
            Ok(detail) => Probe::Ready { detail },
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn dial(&mut self, deadline: Duration, cancel: &Cancel) -> Result<EmergencyNumber, Fault> {
        let mut line = Line::open(&self.roots, deadline, cancel)?;
        self.call = None;
        if let Some(call) = line.for_help()? {
            let number = call.number;
            self.call = Some(call);
            return Ok(number);
        }
        let mut last = Fault::Absent("no modem of ModemManager's can speak".into());
        for modem in line.modems()? {
            let number = line.number(&modem)?;
            let call = match line.create(&modem, number) {
                Ok(call) => call,
                Err(Fault::Cancelled(why)) => return Err(Fault::Cancelled(why)),
                Err(fault) => {
                    last = fault;
                    continue;
                }
            };
            // Whatever comes of it, this is the call that is to be ended.
            self.call = Some(call.clone());
            match line.start(&call) {
                Ok(()) => return Ok(number),
                Err(Fault::Cancelled(why)) => return Err(Fault::Cancelled(why)),
                Err(fault) => {
                    last = fault;
                    let _ = line.delete(&call.modem, &call.path);
                    self.call = None;
                }
            }
        }
        Err(last)
    }

    fn progress(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Progress, Fault> {
        let Some(mut call) = self.call.clone() else {
            return Ok(Progress::Ended);
        };
        let over = |call: &Placed| match call.connected {
            true => Progress::Ended,
            false => Progress::Failed,
        };
        let mut line = match Line::open(&self.roots, deadline, cancel) {
            // The modem's service is gone or another: what it knew is gone with it.
            Ok(line) if line.owner == call.owner => line,
            Ok(_) | Err(Fault::Absent(_)) => {
                self.call = None;
                return Ok(over(&call));
            }
            Err(fault) => return Err(fault),
        };
        match line.number_of_call(&call.path, "State")? {
            None => {
                self.call = None;
                Ok(over(&call))
            }
            Some(TERMINATED) => {
                let why = line.number_of_call(&call.path, "StateReason")?;
                let _ = line.delete(&call.modem, &call.path);
                self.call = None;
                Ok(match why {
                    Some(ENDED_WELL) => Progress::Ended,
                    _ => over(&call),
                })
            }
            Some(state) => {
                call.connected |= state == ACTIVE;
                self.call = Some(call);
                Ok(Progress::Ongoing)
            }
        }
    }

    fn hang_up(&mut self, deadline: Duration, cancel: &Cancel) -> Result<(), Fault> {
        let mut line = match Line::open(&self.roots, deadline, cancel) {
            // Without ModemManager there is no call of its.
            Err(Fault::Absent(_)) => {
                self.call = None;
                return Ok(());
            }
            line => line?,
        };
        let Some(call) = self.ongoing(&mut line)? else {
            return Ok(());
        };
        self.call = Some(call.clone());
        line.end(&call.modem, &call.path)?;
        self.call = None;
        Ok(())
    }
}
