//! systemd's units, asked for and told over the system bus. It knows the manager's methods and not what a lockdown is.

use crate::fault::Fault;
use crate::linux::dbus::value::Value;
use crate::linux::dbus::{Bus, Callee, Limit};

const MANAGER: Callee<'static> = Callee {
    service: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
/// The number of the signal that ends a process whatever it does.
const SIGKILL: Value = Value::Signed('i', 9);

/// A unit as systemd lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    /// Its state: `active`, `inactive`, `activating` and others.
    pub(super) state: String,
    /// Its state in detail: `running`, `listening`, `exited` and others.
    pub(super) detail: String,
    /// What it is about to do: `start`, `stop` and others; empty is nothing.
    pub(super) job: String,
}

/// systemd over one connection, within one limit.
pub(super) struct Units<'a> {
    pub(super) bus: &'a mut Bus,
    pub(super) limit: Limit<'a>,
}

impl Units<'_> {
    fn call(&mut self, method: &str, body: Vec<Value>) -> Result<Value, Fault> {
        self.bus.call(MANAGER, method, body, self.limit)
    }

    /// Units of these patterns that are up, going up or going down.
    pub(super) fn alive(&mut self, patterns: &[&str]) -> Result<Vec<Unit>, Fault> {
        self.list(
            &["active", "activating", "reloading", "deactivating"],
            patterns,
        )
    }

    /// Loaded units of these patterns in one of these states; of any where none is named.
    pub(super) fn list(&mut self, states: &[&str], patterns: &[&str]) -> Result<Vec<Unit>, Fault> {
        let texts = |words: &[&str]| {
            let words = words.iter().map(|word| Value::text(word));
            Value::Array("s".into(), words.collect())
        };
        let listed = self.call("ListUnitsByPatterns", vec![texts(states), texts(patterns)])?;
        let units = listed.elements().iter().filter_map(|unit| match unit {
            Value::Struct(fields) => Some(Unit {
                name: fields.first()?.as_text()?.to_owned(),
                state: fields.get(3)?.as_text()?.to_owned(),
                detail: fields.get(4)?.as_text()?.to_owned(),
                job: fields.get(8)?.as_text()?.to_owned(),
            }),
            _ => None,
        });
        Ok(units.collect())
    }

    /// Whether this unit is up or on its way: a target comes up when all is up that it wants, however long that takes.
    pub(super) fn is_coming(&mut self, name: &str) -> Result<bool, Fault> {
        let found = self.list(&[], &[name])?;
        Ok(found
            .iter()
            .any(|unit| unit.state == "active" && unit.job != "stop" || unit.job == "start"))
    }

    /// Enqueues its start; `mode` is systemd's: `replace` or `isolate`.
    pub(super) fn start(&mut self, name: &str, mode: &str) -> Result<(), Fault> {
        let body = vec![Value::text(name), Value::text(mode)];
        self.call("StartUnit", body).map(drop)
    }

    /// Enqueues its stop.
    pub(super) fn stop(&mut self, name: &str) -> Result<(), Fault> {
        let body = vec![Value::text(name), Value::text("replace")];
        gone_is_stopped(self.call("StopUnit", body))
    }

    /// Ends all of its processes at once.
    pub(super) fn kill(&mut self, name: &str) -> Result<(), Fault> {
        let body = vec![Value::text(name), Value::text("all"), SIGKILL];
        gone_is_stopped(self.call("KillUnit", body))
    }

    /// The target that the system starts into.
    pub(super) fn default_target(&mut self) -> Result<String, Fault> {
        let name = self.call("GetDefaultTarget", Vec::new())?;
        let name = name.as_text().map(str::to_owned);
        name.ok_or_else(|| Fault::Broken("systemd names no default target".into()))
    }

    /// Lets it read its units anew, generators included. On a slow phone that takes longer than a call may, and goes on by itself.
    pub(super) fn reload(&mut self) -> Result<(), Fault> {
        match self.call("Reload", Vec::new()) {
            Err(Fault::TimedOut(_)) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn gone_is_stopped(said: Result<Value, Fault>) -> Result<(), Fault> {
    match said {
        Err(Fault::Broken(why)) if why.contains(".NoSuchUnit") => Ok(()),
        other => other.map(drop),
    }
}
