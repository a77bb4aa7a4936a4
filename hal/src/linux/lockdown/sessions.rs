//! The sessions that logind knows, asked for and ended over the system bus. It does not know which are whose.

use std::collections::BTreeSet;

use crate::fault::Fault;
use crate::linux::dbus::value::Value;
use crate::linux::dbus::{Bus, Callee, Limit};

const MANAGER: Callee<'static> = Callee {
    service: "org.freedesktop.login1",
    path: "/org/freedesktop/login1",
    interface: "org.freedesktop.login1.Manager",
};
const USER: &str = "org.freedesktop.login1.User";
/// The number of the signal that ends a process whatever it does.
const SIGKILL: Value = Value::Signed('i', 9);

/// A session as logind lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) uid: u32,
    pub(super) user: String,
}

/// logind over one connection, within one limit.
pub(super) struct Sessions<'a> {
    pub(super) bus: &'a mut Bus,
    pub(super) limit: Limit<'a>,
}

impl Sessions<'_> {
    fn call(&mut self, method: &str, body: Vec<Value>) -> Result<Value, Fault> {
        self.bus.call(MANAGER, method, body, self.limit)
    }

    /// Every session, of whatever kind: on the screen, on a terminal, over the network. A system without logind has none.
    pub(super) fn all(&mut self) -> Result<Vec<Session>, Fault> {
        let listed = match self.call("ListSessions", Vec::new()) {
            Err(Fault::Absent(_)) => return Ok(Vec::new()),
            other => other?,
        };
        let sessions = listed
            .elements()
            .iter()
            .filter_map(|session| match session {
                Value::Struct(fields) => Some(Session {
                    uid: fields.get(1)?.as_u32()?,
                    user: fields.get(2)?.as_text()?.to_owned(),
                }),
                _ => None,
            });
        Ok(sessions.collect())
    }

    /// Users whose services run also without a session (loginctl(1), `enable-linger`).
    pub(super) fn lingering(&mut self) -> Result<Vec<u32>, Fault> {
        let listed = match self.call("ListUsers", Vec::new()) {
            Err(Fault::Absent(_)) => return Ok(Vec::new()),
            other => other?,
        };
        let mut lingering = Vec::new();
        for user in listed.elements() {
            let Value::Struct(fields) = user else {
                continue;
            };
            let uid = fields.first().and_then(Value::as_u32);
            let path = fields.get(2).and_then(Value::as_text);
            let (Some(uid), Some(path)) = (uid, path) else {
                continue;
            };
            let callee = Callee {
                path,
                interface: "org.freedesktop.DBus.Properties",
                ..MANAGER
            };
            let question = vec![Value::text(USER), Value::text("Linger")];
            match self.bus.call(callee, "Get", question, self.limit) {
                Ok(lingers) if lingers.is_true() => lingering.push(uid),
                // Another, or one who has gone meanwhile.
                Ok(_) | Err(Fault::Absent(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(lingering)
    }

    /// Tells all sessions of these users to end.
    pub(super) fn terminate(&mut self, sessions: &[Session]) -> Result<(), Fault> {
        self.each(sessions, "TerminateUser", |uid| vec![uid])
    }

    /// Ends all of these users' processes at once.
    pub(super) fn kill(&mut self, sessions: &[Session]) -> Result<(), Fault> {
        self.each(sessions, "KillUser", |uid| vec![uid, SIGKILL])
    }

    /// One call for each user; a user who has gone meanwhile has no session.
    fn each(
        &mut self,
        sessions: &[Session],
        method: &str,
        body: fn(Value) -> Vec<Value>,
    ) -> Result<(), Fault> {
        let users: BTreeSet<u32> = sessions.iter().map(|session| session.uid).collect();
        let mut first = Ok(());
        for uid in users {
            match self.call(method, body(Value::number(uid))) {
                Ok(_) => {}
                Err(Fault::Broken(why)) if why.contains(".NoSuchUser") => {}
                Err(fault) => first = first.and(Err(fault)),
            }
        }
        first
    }
}
