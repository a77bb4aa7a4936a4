//! Calls that come in, as ModemManager hears them. It tells of one number's alone, and sleeps until something happens to a call.

use std::time::{Duration, Instant};

use super::calls::CALL;
use super::dbus::{Bus, Limit};
use super::modem::SERVICE;
use super::voice::{ACTIVE, Line};
use crate::capability::call::{Expected, IncomingCalls, Ring};
use crate::fault::{Cancel, Fault, Roots};

/// `MM_CALL_STATE_RINGING_IN` (ModemManager-enums.h).
const RINGING_IN: i32 = 3;
/// `MM_CALL_DIRECTION_INCOMING`.
const INCOMING: i32 = 1;
/// What may mean that a call came, went or changed, or learned its number; and that there is a ModemManager again.
const NEWS: [&str; 4] = [
    "type='signal',sender='org.freedesktop.ModemManager1',interface='org.freedesktop.ModemManager1.Modem.Voice'",
    "type='signal',sender='org.freedesktop.ModemManager1',interface='org.freedesktop.ModemManager1.Call'",
    "type='signal',sender='org.freedesktop.ModemManager1',interface='org.freedesktop.DBus.Properties',\
     path_namespace='/org/freedesktop/ModemManager1/Call'",
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.freedesktop.ModemManager1'",
];
/// How long one look at all calls may take.
const LOOK_TIME: Duration = Duration::from_secs(10);
/// When a look that brought no answer is tried again, although nothing has happened.
const AGAIN: Duration = Duration::from_secs(60);
/// Until something happens: longer than any phone is lost.
const EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The driver.
#[derive(Debug)]
pub struct ModemIncoming {
    roots: Roots,
}

/// A call of the expected number.
struct Found {
    modem: String,
    path: String,
    ring: Ring,
}

impl ModemIncoming {
    /// A driver on the system bus below `roots`; nothing is opened yet.
    #[must_use]
    pub fn new(roots: &Roots) -> Self {
        Self {
            roots: roots.clone(),
        }
    }
}

impl Line<'_> {
    fn coming_in(&mut self, from: &Expected) -> Result<Option<Found>, Fault> {
        for modem in self.modems()? {
            for path in self.calls(&modem)? {
                let ring = match self.number_of_call(&path, "State")? {
                    Some(RINGING_IN) => Ring::Ringing,
                    Some(ACTIVE) => Ring::Connected,
                    _ => continue,
                };
                if self.number_of_call(&path, "Direction")? != Some(INCOMING) {
                    continue;
                }
                let number = match self.of_call(&path, "Number") {
                    // It has ended in between.
                    Err(Fault::Absent(_)) => continue,
                    number => number?,
                };
                if number.as_text().is_some_and(|number| from.is(number)) {
                    return Ok(Some(Found { modem, path, ring }));
                }
            }
        }
        Ok(None)
    }
}

/// How the call stands; without a ModemManager or a modem there is none.
fn look(mut bus: Bus, from: &Expected, cancel: &Cancel) -> (Bus, Result<Ring, Fault>) {
    let limit = Limit {
        until: Instant::now() + LOOK_TIME,
        cancel,
    };
    let owner = match bus.owner(SERVICE, limit) {
        Ok(owner) => owner,
        Err(Fault::Absent(_)) => return (bus, Ok(Ring::None)),
        Err(fault) => return (bus, Err(fault)),
    };
    let mut line = Line { bus, owner, limit };
    let ring = match line.coming_in(from) {
        Ok(found) => Ok(found.map_or(Ring::None, |found| found.ring)),
        Err(Fault::Absent(_)) => Ok(Ring::None),
        Err(fault) => Err(fault),
    };
    (line.bus, ring)
}

impl IncomingCalls for ModemIncoming {
    fn name(&self) -> &'static str {
        "modem-manager"
    }

    fn next(&self, from: &Expected, seen: Ring, cancel: &Cancel) -> Result<Ring, Fault> {
        let limit = Limit {
            until: Instant::now() + LOOK_TIME,
            cancel,
        };
        let mut bus = Bus::open(&self.roots, limit)?;
        // Before the first look: what happens after it is heard of.
        for rule in NEWS {
            bus.hear(rule, limit)?;
        }
        loop {
            let (after, ring) = look(bus, from, cancel);
            bus = after;
            let patience = match ring {
                Ok(ring) if ring != seen => return Ok(ring),
                Ok(_) => EVER,
                // A modem that is just being reset, or refuses: the bus is there, and so may the modem be in a while.
                Err(Fault::TimedOut(_) | Fault::Busy(_) | Fault::Denied(_)) => AGAIN,
                Err(fault) => return Err(fault),
            };
            let limit = Limit {
                until: Instant::now() + patience,
                cancel,
            };
            match bus.stirred(limit) {
                Ok(()) | Err(Fault::TimedOut(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    fn answer(&self, from: &Expected, deadline: Duration, cancel: &Cancel) -> Result<(), Fault> {
        let mut line = Line::open(&self.roots, deadline, cancel)?;
        match line.coming_in(from)? {
            Some(call) if call.ring == Ring::Ringing => {
                line.ask((&call.path, CALL), "Accept", Vec::new()).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn hang_up(&self, from: &Expected, deadline: Duration, cancel: &Cancel) -> Result<(), Fault> {
        let mut line = match Line::open(&self.roots, deadline, cancel) {
            // Without ModemManager there is no call of its.
            Err(Fault::Absent(_)) => return Ok(()),
            line => line?,
        };
        match line.coming_in(from) {
            Ok(Some(call)) => line.end(&call.modem, &call.path),
            Ok(None) | Err(Fault::Absent(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }
}
