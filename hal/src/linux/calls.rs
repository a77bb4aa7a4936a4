//! Calls as ModemManager knows them. Its one connection to the bus lasts as long as it is asked again and again.

use std::time::{Duration, Instant};

use super::dbus::value::Value;
use super::dbus::{Bus, Callee, Limit};
use super::modem::{SERVICE, objects, property};
use crate::capability::call::{CallState, Calls};
use crate::fault::{Cancel, Fault, Probe, Roots};

pub(super) const VOICE: &str = "org.freedesktop.ModemManager1.Modem.Voice";
pub(super) const CALL: &str = "org.freedesktop.ModemManager1.Call";
/// `MMCallState` of a call in which somebody listens: dialling, ringing out, active (ModemManager-enums.h).
/// 3, ringing in, is no call yet: the siren and the ring tone look for the same person. In 5 and 6, held and waiting,
/// nobody listens, and a call can be left so for hours.
pub(super) const GOES_ON: [i32; 3] = [1, 2, 4];
/// How long a probe may take.
const PROBE_TIME: Duration = Duration::from_secs(3);
/// Calls that are looked at: networks allow seven at once (3GPP TS 22.030).
pub(super) const MOST_CALLS: usize = 16;

/// The driver.
pub struct ModemCalls {
    roots: Roots,
    open: Option<(Bus, String)>,
}

impl ModemCalls {
    /// A driver on the system bus below `roots`; nothing is opened yet.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            roots: roots.clone(),
            open: None,
        }
    }

    fn connect(&self, limit: Limit<'_>) -> Result<(Bus, String), Fault> {
        let mut bus = Bus::open(&self.roots, limit)?;
        let owner = bus.owner(SERVICE, limit)?;
        Ok((bus, owner))
    }
}

/// The modems that can speak.
pub(super) fn voices(bus: &mut Bus, owner: &str, limit: Limit<'_>) -> Result<Vec<String>, Fault> {
    let objects = objects(bus, owner, limit)?;
    let voices = objects
        .entries()
        .filter(|(_, interfaces)| interfaces.get(VOICE).is_some())
        .filter_map(|(path, _)| path.as_text().map(str::to_owned));
    Ok(voices.collect())
}

fn state(bus: &mut Bus, owner: &str, limit: Limit<'_>) -> Result<CallState, Fault> {
    for modem in voices(bus, owner, limit)? {
        let callee = Callee {
            service: owner,
            path: &modem,
            interface: VOICE,
        };
        let calls = bus.call(callee, "ListCalls", Vec::new(), limit)?;
        let calls = calls.elements().iter().filter_map(Value::as_text);
        for call in calls.take(MOST_CALLS) {
            let state = match property(bus, (owner, call), (CALL, "State"), limit) {
                Ok(state) => state,
                // It has ended in between.
                Err(Fault::Absent(_)) => continue,
                Err(fault) => return Err(fault),
            };
            if state.as_i32().is_some_and(|state| GOES_ON.contains(&state)) {
                return Ok(CallState::Ongoing);
            }
        }
    }
    Ok(CallState::None)
}

impl Calls for ModemCalls {
    fn name(&self) -> &'static str {
        "modem-manager"
    }

    fn probe(&self) -> Probe {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + PROBE_TIME,
            cancel: &cancel,
        };
        let found = self.connect(limit).and_then(|(mut bus, owner)| {
            let modems = voices(&mut bus, &owner, limit)?.len();
            match modems {
                0 => Err(Fault::Absent("no modem of ModemManager's can speak".into())),
                _ => Ok("ModemManager's list of calls".to_owned()),
            }
        });
        match found {
            Ok(detail) => Probe::Ready { detail },
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn state(&mut self, deadline: Duration, cancel: &Cancel) -> Result<CallState, Fault> {
        let limit = Limit {
            until: Instant::now() + deadline,
            cancel,
        };
        let (mut bus, owner) = match self.open.take() {
            Some(open) => open,
            None => self.connect(limit)?,
        };
        // After any fault the connection is made anew: ModemManager may have been started again.
        let state = state(&mut bus, &owner, limit)?;
        self.open = Some((bus, owner));
        Ok(state)
    }
}
