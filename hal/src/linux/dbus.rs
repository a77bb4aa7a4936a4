//! One connection to the system's message bus with a deadline on everything; it must not be kept open longer than somebody asks, nor start a service. What speaks the protocol lies in `dbus/`.

pub mod message;
pub mod value;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use self::message::{Kind, Message, PROLOGUE};
use self::value::Value;
use super::unix;
use crate::fault::{Cancel, Fault, Roots};

/// How long one method call may take. Setting up a modem's receiver sends a few AT commands.
const CALL_TIME: Duration = Duration::from_secs(10);
/// How long the bus may take to greet us.
const GREETING_TIME: Duration = Duration::from_secs(5);
/// Longest line of the greeting, bytes: the specification's answers have some forty.
const LONGEST_LINE: usize = 512;
/// Messages that are passed over while an answer is waited for: nobody sends us any but the bus its greetings.
const MOST_OTHERS: usize = 64;

const DBUS: &str = "org.freedesktop.DBus";

/// A connection. All calls block, within their deadline.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
}

/// Whom a method call is for.
#[derive(Clone, Copy, Debug)]
pub struct Callee<'a> {
    /// A name on the bus.
    pub service: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
}

/// Until when, and who may end it earlier.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a> {
    /// The deadline.
    pub until: Instant,
    /// The caller's.
    pub cancel: &'a Cancel,
}

impl Limit<'_> {
    /// The same, but not later than `most` from now.
    fn at_most(self, most: Duration) -> Self {
        Self {
            until: self.until.min(Instant::now() + most),
            ..self
        }
    }
}

impl Bus {
    /// Connects to the system bus below `roots`.
    ///
    /// # Errors
    /// As [`Bus::at`].
    pub fn open(roots: &Roots, limit: Limit<'_>) -> Result<Self, Fault> {
        Self::at(&roots.run.join("dbus/system_bus_socket"), limit)
    }

    /// Connects to the bus at this socket and says hello.
    ///
    /// # Errors
    /// [`Fault::Absent`] where there is none, [`Fault::TimedOut`] where it does not greet, [`Fault::Denied`] where it
    /// does not want us, [`Fault::Broken`] where it is none, [`Fault::Cancelled`].
    pub fn at(path: &Path, limit: Limit<'_>) -> Result<Self, Fault> {
        let doing = format!("connecting to {}", path.display());
        let stream = unix::connect(path).map_err(|error| Fault::from_io(&doing, &error))?;
        let mut bus = Self { stream, serial: 0 };
        let limit = limit.at_most(GREETING_TIME);
        // The kernel tells the bus who we are; the text repeats it in hexadecimal digits of its decimal ones.
        let uid = nix::unistd::geteuid().to_string();
        let digits: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.send(format!("\0AUTH EXTERNAL {digits}\r\n").as_bytes(), limit)?;
        let answer = bus.line(limit)?;
        match answer.split(' ').next() {
            Some("OK") => {}
            Some("REJECTED") => return Err(Fault::Denied(format!("{doing}: not welcome"))),
            _ => return Err(Fault::Broken(format!("{doing}: that is no message bus"))),
        }
        bus.send(b"BEGIN\r\n", limit)?;
        bus.call(of_the_bus(), "Hello", Vec::new(), limit)?;
        Ok(bus)
    }

    /// The unique name of whoever is `service` now. Calls go to that name: they start no service, and after a restart of
    /// the service they fail instead of meeting one that knows nothing of them.
    ///
    /// # Errors
    /// [`Fault::Absent`] where nobody is; else as [`Bus::call`].
    pub fn owner(&mut self, service: &str, limit: Limit<'_>) -> Result<String, Fault> {
        let question = vec![Value::text(service)];
        match self.call(of_the_bus(), "GetNameOwner", question, limit) {
            Ok(name) => name
                .as_text()
                .map(str::to_owned)
                .ok_or_else(|| Fault::Broken("the bus names nobody".into())),
            Err(Fault::Absent(_)) => {
                Err(Fault::Absent(format!("{service} is not on the system bus")))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Calls a method and returns what it answers: a single value as it is, several as a structure.
    ///
    /// # Errors
    /// [`Fault::Absent`] where service or object is gone, [`Fault::Denied`], [`Fault::Busy`], [`Fault::Broken`] for any
    /// other error; [`Fault::TimedOut`], [`Fault::Cancelled`]. After the last three the connection is of no use.
    pub fn call(
        &mut self,
        callee: Callee<'_>,
        method: &str,
        body: Vec<Value>,
        limit: Limit<'_>,
    ) -> Result<Value, Fault> {
        let limit = limit.at_most(CALL_TIME);
        self.serial = self.serial.wrapping_add(1).max(1);
        let serial = self.serial;
        let call = Message {
            path: Some(callee.path.into()),
            interface: Some(callee.interface.into()),
            member: Some(method.into()),
            destination: Some(callee.service.into()),
            body,
            ..Message::new(Kind::Call, serial)
        };
        let doing = || format!("asking {} for {method}", callee.service);
        let late = |fault| match fault {
            Fault::TimedOut(_) => Fault::TimedOut(format!("{}: no answer", doing())),
            other => other,
        };
        self.send(&call.to_bytes(), limit).map_err(late)?;
        for _ in 0..MOST_OTHERS {
            let message = self.receive(limit).map_err(late)?;
            let Some(mut message) = message.filter(|message| message.answers == Some(serial))
            else {
                continue;
            };
            return match message.kind {
                Kind::Return if message.body.len() == 1 => Ok(message.body.remove(0)),
                Kind::Return => Ok(Value::Struct(message.body)),
                Kind::Error => Err(fault(&doing(), &message)),
                Kind::Call | Kind::Signal => continue,
            };
        }
        Err(Fault::Broken(format!(
            "{}: only other messages come",
            doing()
        )))
    }

    fn send(&mut self, mut bytes: &[u8], limit: Limit<'_>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
                Err(error) if may_wait(&error) => {
                    limit
                        .cancel
                        .wait_writable(self.stream.as_fd(), limit.until)?;
                }
                Err(error) => return Err(gone(&error)),
            }
        }
        Ok(())
    }

    /// One message; `None` for one of a later version.
    fn receive(&mut self, limit: Limit<'_>) -> Result<Option<Message>, Fault> {
        let nonsense = |_| Fault::Broken("the bus talks nonsense".into());
        let mut prologue = [0; PROLOGUE];
        self.fill(&mut prologue, limit)?;
        let length = Message::length(&prologue).map_err(nonsense)?;
        let mut bytes = vec![0; length];
        let (head, rest) = bytes
            .split_at_mut_checked(PROLOGUE)
            .ok_or_else(|| Fault::Broken("the bus talks nonsense".into()))?;
        head.copy_from_slice(&prologue);
        self.fill(rest, limit)?;
        Message::from_bytes(&bytes).map_err(nonsense)
    }

    /// A line of the greeting, byte for byte: what follows it is not for us yet.
    fn line(&mut self, limit: Limit<'_>) -> Result<String, Fault> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.fill(&mut byte, limit)?;
            line.extend_from_slice(&byte);
            if line.len() > LONGEST_LINE {
                return Err(Fault::Broken("the bus talks nonsense".into()));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn fill(&mut self, mut place: &mut [u8], limit: Limit<'_>) -> Result<(), Fault> {
        while !place.is_empty() {
            // Also with bytes at hand: whoever floods us does not outlast the deadline.
            limit
                .cancel
                .wait_readable(self.stream.as_fd(), limit.until)?;
            match self.stream.read(place) {
                Ok(0) => return Err(gone(&ErrorKind::UnexpectedEof.into())),
                Ok(length) => place = place.split_at_mut(length).1,
                Err(error) if may_wait(&error) => {}
                Err(error) => return Err(gone(&error)),
            }
        }
        Ok(())
    }
}

fn of_the_bus() -> Callee<'static> {
    Callee {
        service: DBUS,
        path: "/org/freedesktop/DBus",
        interface: DBUS,
    }
}

fn may_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn gone(error: &io::Error) -> Fault {
    Fault::Broken(format!("the message bus has gone: {error}"))
}

/// Classifies an error that was answered.
fn fault(doing: &str, message: &Message) -> Fault {
    let name = message
        .error
        .as_deref()
        .unwrap_or("an error without a name");
    let why = message.body.first().and_then(Value::as_text).unwrap_or("");
    let detail = format!("{doing}: {name}: {why}");
    match name.rsplit('.').next().unwrap_or_default() {
        "ServiceUnknown" | "NameHasNoOwner" | "UnknownObject" | "UnknownMethod"
        | "UnknownInterface" | "UnknownProperty" | "Disconnected" => Fault::Absent(detail),
        "AccessDenied" | "AuthFailed" | "Unauthorized" | "NotAuthorized" => Fault::Denied(detail),
        "InProgress" | "Retry" | "LimitsExceeded" => Fault::Busy(detail),
        "NoReply" | "Timeout" => Fault::TimedOut(detail),
        _ => Fault::Broken(detail),
    }
}
