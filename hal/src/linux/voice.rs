//! A connection to ModemManager for as long as somebody deals with a call. Which calls are placed, answered or ended is decided elsewhere.

use std::time::{Duration, Instant};

use super::calls::{CALL, MOST_CALLS, VOICE, voices};
use super::dbus::value::Value;
use super::dbus::{Bus, Callee, Limit};
use super::modem::{SERVICE, property};
use crate::fault::{Cancel, Fault, Roots};

/// `MMCallState` (ModemManager-enums.h): made and not started.
const UNKNOWN: i32 = 0;
/// Connected.
pub(super) const ACTIVE: i32 = 4;
/// Over.
pub(super) const TERMINATED: i32 = 7;
/// Time between two looks at a call that shall end.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a call that was told to start may stay unstarted before it is taken for one that never will.
const SETTLED: Duration = Duration::from_secs(3);

/// The connection, with whom it is to and how long it may take.
pub(super) struct Line<'a> {
    pub(super) bus: Bus,
    pub(super) owner: String,
    pub(super) limit: Limit<'a>,
}

impl<'a> Line<'a> {
    /// On the system bus below `roots`.
    pub(super) fn open(
        roots: &Roots,
        deadline: Duration,
        cancel: &'a Cancel,
    ) -> Result<Self, Fault> {
        let limit = Limit {
            until: Instant::now() + deadline,
            cancel,
        };
        let mut bus = Bus::open(roots, limit)?;
        let owner = bus.owner(SERVICE, limit)?;
        Ok(Self { bus, owner, limit })
    }
}

impl Line<'_> {
    pub(super) fn ask(
        &mut self,
        (path, interface): (&str, &str),
        method: &str,
        body: Vec<Value>,
    ) -> Result<Value, Fault> {
        let callee = Callee {
            service: &self.owner,
            path,
            interface,
        };
        self.bus.call(callee, method, body, self.limit)
    }

    pub(super) fn of_call(&mut self, path: &str, name: &str) -> Result<Value, Fault> {
        property(&mut self.bus, (&self.owner, path), (CALL, name), self.limit)
    }

    /// A state, reason or direction; `None` where the call is gone.
    pub(super) fn number_of_call(&mut self, path: &str, name: &str) -> Result<Option<i32>, Fault> {
        match self.of_call(path, name) {
            Ok(value) => Ok(value.as_i32()),
            Err(Fault::Absent(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The modems that can speak, in the order of their names; a probe and a call begin at the same.
    pub(super) fn modems(&mut self) -> Result<Vec<String>, Fault> {
        let mut modems = voices(&mut self.bus, &self.owner, self.limit)?;
        modems.sort();
        match modems.is_empty() {
            true => Err(Fault::Absent("no modem of ModemManager's can speak".into())),
            false => Ok(modems),
        }
    }

    /// The calls of a modem, as paths.
    pub(super) fn calls(&mut self, modem: &str) -> Result<Vec<String>, Fault> {
        let calls = self.ask((modem, VOICE), "ListCalls", Vec::new())?;
        let paths = calls.elements().iter().filter_map(Value::as_text);
        Ok(paths.take(MOST_CALLS).map(str::to_owned).collect())
    }

    /// Takes a call off the list; one that is on is ended by it, too.
    pub(super) fn delete(&mut self, modem: &str, call: &str) -> Result<(), Fault> {
        let path = Value::Text('o', call.to_owned());
        match self.ask((modem, VOICE), "DeleteCall", vec![path]) {
            Ok(_) | Err(Fault::Absent(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Hangs up until the call is over.
    pub(super) fn end(&mut self, modem: &str, call: &str) -> Result<(), Fault> {
        let began = Instant::now();
        loop {
            // It refuses where the call is not started yet or over already; the state tells which.
            let hung_up = self.ask((call, CALL), "Hangup", Vec::new());
            if let Err(Fault::Cancelled(_) | Fault::Denied(_)) = hung_up {
                return hung_up.map(drop);
            }
            match self.number_of_call(call, "State")? {
                None => return Ok(()),
                Some(TERMINATED) => {
                    // It is over; a list that keeps it harms nobody.
                    let _ = self.delete(modem, call);
                    return Ok(());
                }
                Some(UNKNOWN) if began.elapsed() >= SETTLED => return self.delete(modem, call),
                Some(_) => {}
            }
            if Instant::now() >= self.limit.until {
                return Err(Fault::TimedOut("the call does not end".into()));
            }
            self.limit.cancel.rest(Instant::now() + AGAIN)?;
        }
    }
}
