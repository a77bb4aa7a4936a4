//! The Voice interface of the tests' ModemManager: calls that are made, started, answered and ended, with its own rules for each. It hears nothing.

use std::collections::BTreeMap;

use homing_hal::linux::dbus::value::Value;

use crate::bus::{Answer, properties, variant};

const CALLS: &str = "/org/freedesktop/ModemManager1/Call/";
const ERROR: &str = "org.freedesktop.ModemManager1.Error.Core.Failed";

/// A call as ModemManager keeps it (`MMCallState`, `MMCallStateReason`, `MMCallDirection`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: String,
    pub(crate) state: i32,
    pub(crate) reason: i32,
    pub(crate) direction: i32,
}

/// What happens to a call that is started.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Network {
    /// It rings.
    #[default]
    Rings,
    /// There is none: the modem says so to `Start`.
    None,
    /// It rings, and `Start` is not answered.
    Silent,
    /// PolicyKit refuses.
    Unauthorized,
}

/// The exchange.
#[derive(Default)]
pub(crate) struct Voice {
    pub(crate) calls: BTreeMap<u32, Call>,
    next: u32,
    pub(crate) emergency_only: bool,
    pub(crate) network: Network,
    /// What the SIM lists; no SIM without.
    pub(crate) sim: Option<Vec<&'static str>>,
    /// Everything that was ever started.
    pub(crate) started: Vec<String>,
}

impl Voice {
    pub(crate) fn paths(&self) -> impl Iterator<Item = Value> {
        // Objects of the passive list have low numbers.
        let paths = self
            .calls
            .keys()
            .map(|number| format!("{CALLS}{}", number + 1000));
        paths.map(|path| Value::Text('o', path))
    }

    /// The newest call comes to stand so.
    pub(crate) fn turn(&mut self, state: i32, reason: i32) {
        let mut newest = self.calls.last_entry().unwrap();
        newest.get_mut().state = state;
        newest.get_mut().reason = reason;
    }

    pub(crate) fn place(&mut self, call: Call) -> String {
        self.next += 1;
        self.calls.insert(self.next, call);
        format!("{CALLS}{}", self.next + 1000)
    }

    /// Somebody calls.
    pub(crate) fn ring(&mut self, number: &str) -> String {
        self.place(Call {
            number: number.into(),
            state: 3,
            reason: 2,
            direction: 1,
        })
    }

    /// The network tells who calls.
    pub(crate) fn name(&mut self, path: &str, number: &str) {
        number.clone_into(&mut self.at(path).unwrap().1.number);
    }

    fn at(&mut self, path: &str) -> Option<(u32, &mut Call)> {
        let number: u32 = path.strip_prefix(CALLS)?.parse().ok()?;
        let number = number.checked_sub(1000)?;
        Some((number, self.calls.get_mut(&number)?))
    }

    /// Properties of the voice interface itself.
    pub(crate) fn told(&self) -> Value {
        properties(vec![("EmergencyOnly", Value::Bool(self.emergency_only))])
    }

    /// `None` for what is not of calls.
    pub(crate) fn answer(
        &mut self,
        path: &str,
        (interface, member): (&str, &str),
        body: &[Value],
    ) -> Option<Answer> {
        let text = |index: usize| body.get(index).and_then(Value::as_text);
        match (interface, member) {
            (".Modem.Voice", "CreateCall") => {
                if self.network == Network::Unauthorized {
                    return Some(crate::bus::UNAUTHORIZED);
                }
                let number = body.first().and_then(|wanted| wanted.get("number"));
                let number = number.and_then(Value::as_text).unwrap().to_owned();
                let path = self.place(Call {
                    number,
                    state: 0,
                    reason: 0,
                    direction: 2,
                });
                Some(Answer::Values(vec![Value::Text('o', path)]))
            }
            (".Modem.Voice", "DeleteCall") => {
                let number = self.at(text(0).unwrap())?.0;
                self.calls.remove(&number);
                Some(Answer::Values(Vec::new()))
            }
            (".Call", "Start") => Some(self.start(path)),
            (".Call", "Accept") => {
                let (_, call) = self.at(path)?;
                if call.state != 3 {
                    return Some(Answer::Error(ERROR, "this call was not ringing"));
                }
                // MM_CALL_STATE_REASON_ACCEPTED.
                (call.state, call.reason) = (4, 3);
                Some(Answer::Values(Vec::new()))
            }
            (".Call", "Hangup") => {
                let (_, call) = self.at(path)?;
                if matches!(call.state, 0 | 7) {
                    return Some(Answer::Error(ERROR, "this call was not active"));
                }
                (call.state, call.reason) = (7, 4);
                Some(Answer::Values(Vec::new()))
            }
            ("org.freedesktop.DBus.Properties", "Get") => self.property(path, text(1)?),
            _ => None,
        }
    }

    fn property(&mut self, path: &str, name: &str) -> Option<Answer> {
        let told = match name {
            "EmergencyOnly" => Value::Bool(self.emergency_only),
            "Sim" => {
                let path = self.sim.as_ref().map_or("/", |_| "/SIM/3");
                Value::Text('o', path.into())
            }
            "EmergencyNumbers" => {
                let listed = self.sim.as_ref()?.iter().map(|number| Value::text(number));
                Value::Array("s".into(), listed.collect())
            }
            _ => {
                let (_, call) = self.at(path)?;
                match name {
                    "State" => Value::Signed('i', call.state.into()),
                    "StateReason" => Value::Signed('i', call.reason.into()),
                    "Direction" => Value::Signed('i', call.direction.into()),
                    "Number" => Value::text(&call.number),
                    _ => return None,
                }
            }
        };
        Some(Answer::Values(vec![variant(told)]))
    }

    fn start(&mut self, path: &str) -> Answer {
        let (only, network) = (self.emergency_only, self.network);
        let Some((_, call)) = self.at(path) else {
            return Answer::Error("org.freedesktop.DBus.Error.UnknownMethod", "no such object");
        };
        if call.state != 0 {
            return Answer::Error(ERROR, "this call was not in unknown state");
        }
        let number = call.number.clone();
        if only && !["112", "911"].contains(&&*number) {
            (call.state, call.reason) = (7, 0);
            return Answer::Error(
                "org.freedesktop.ModemManager1.Error.Core.Unauthorized",
                "only emergency calls allowed",
            );
        }
        // A network that takes nobody but calls for help is one.
        if network == Network::None && !only {
            (call.state, call.reason) = (7, 6);
            return Answer::Error(
                "org.freedesktop.ModemManager1.Error.Connection.NoDialtone",
                "No dialtone",
            );
        }
        (call.state, call.reason) = (1, 1);
        self.started.push(number);
        match network {
            Network::Silent => Answer::Nothing,
            _ => Answer::Values(Vec::new()),
        }
    }
}
