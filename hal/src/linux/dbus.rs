//! One connection to a message bus, the system's or a session's, with a deadline on everything; it must not be kept open longer than somebody needs it. What speaks the protocol lies in `dbus/`.

pub mod message;
pub mod value;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use self::message::{Kind, LONGEST, Message, PROLOGUE};
use self::value::Value;
use super::unix;
use crate::fault::{Cancel, Fault, Roots};

/// How long one method call may take. Setting up a modem's receiver sends a few AT commands.
const CALL_TIME: Duration = Duration::from_secs(10);
/// How long the bus may take to greet us.
const GREETING_TIME: Duration = Duration::from_secs(5);
/// Longest line of the greeting, bytes: the specification's answers have some forty.
const LONGEST_LINE: usize = 512;
/// Calls of others that are kept until somebody looks at them. Whoever serves an object looks ten times a second.
const MOST_CALLS: usize = 16;

const DBUS: &str = "org.freedesktop.DBus";

/// A connection. All calls block, within their deadline.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    /// The beginning of a message that has not come whole yet: a deadline in the middle of one loses nothing.
    inbox: Vec<u8>,
    /// What is still to come of a message too long to be held, bytes.
    passing: usize,
    calls: VecDeque<Message>,
    /// Whether a signal came that nobody has heard of yet.
    stirred: bool,
    /// The bus's own number, by its greeting.
    guid: String,
}

/// What came.
enum Arrived {
    Message(Message),
    /// A message of a later version, or longer or otherwise than is taken here. Anybody may send such a signal: it ends nothing.
    Unreadable {
        answers: Option<u32>,
    },
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

    /// Connects to the bus of the session that this process's user has, where a user's systemd puts it (dbus-user-session). A
    /// session without one, as with elogind, has its bus elsewhere, and is not found.
    ///
    /// # Errors
    /// As [`Bus::at`].
    pub fn open_session(roots: &Roots, limit: Limit<'_>) -> Result<Self, Fault> {
        let user = nix::unistd::geteuid().to_string();
        Self::at(&roots.run.join("user").join(user).join("bus"), limit)
    }

    /// Connects to the bus at this socket and says hello.
    ///
    /// # Errors
    /// [`Fault::Absent`] where there is none, [`Fault::TimedOut`] where it does not greet, [`Fault::Denied`] where it
    /// does not want us, [`Fault::Broken`] where it is none, [`Fault::Cancelled`].
    pub fn at(path: &Path, limit: Limit<'_>) -> Result<Self, Fault> {
        let doing = format!("connecting to {}", path.display());
        let stream = unix::connect(path).map_err(|error| Fault::from_io(&doing, &error))?;
        let mut bus = Self {
            stream,
            serial: 0,
            inbox: Vec::new(),
            passing: 0,
            calls: VecDeque::new(),
            stirred: false,
            guid: String::new(),
        };
        let limit = limit.at_most(GREETING_TIME);
        // The kernel tells the bus who we are; the text repeats it in hexadecimal digits of its decimal ones.
        let uid = nix::unistd::geteuid().to_string();
        let digits: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        bus.send(format!("\0AUTH EXTERNAL {digits}\r\n").as_bytes(), limit)?;
        let answer = bus.line(limit)?;
        let mut words = answer.split(' ');
        match words.next() {
            Some("OK") => words.next().unwrap_or_default().clone_into(&mut bus.guid),
            Some("REJECTED") => return Err(Fault::Denied(format!("{doing}: not welcome"))),
            _ => return Err(Fault::Broken(format!("{doing}: that is no message bus"))),
        }
        bus.send(b"BEGIN\r\n", limit)?;
        bus.call(of_the_bus(), "Hello", Vec::new(), limit)?;
        Ok(bus)
    }

    /// The number that this bus gave itself at its start. Unique names are unique only under one: after another start of the phone
    /// or the bus, the same name is somebody else's.
    #[must_use]
    pub fn guid(&self) -> &str {
        &self.guid
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
    /// other error or where the bus is gone; [`Fault::TimedOut`], [`Fault::Cancelled`]. A late answer is passed over.
    pub fn call(
        &mut self,
        callee: Callee<'_>,
        method: &str,
        body: Vec<Value>,
        limit: Limit<'_>,
    ) -> Result<Value, Fault> {
        let limit = limit.at_most(CALL_TIME);
        let serial = self.next_serial();
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
        // Whatever else comes, the deadline ends this.
        loop {
            let mut message = match self.receive(limit).map_err(late)? {
                Arrived::Message(message) => message,
                Arrived::Unreadable { answers } if answers == Some(serial) => {
                    return Err(Fault::Broken(format!("{}: no readable answer", doing())));
                }
                Arrived::Unreadable { .. } => continue,
            };
            let ours = message.answers == Some(serial);
            match message.kind {
                Kind::Return if ours && message.body.len() == 1 => {
                    return Ok(message.body.remove(0));
                }
                Kind::Return if ours => return Ok(Value::Struct(message.body)),
                Kind::Error if ours => return Err(fault(&doing(), &message)),
                Kind::Call if self.calls.len() < MOST_CALLS => self.calls.push_back(message),
                Kind::Signal => self.stirred = true,
                _ => {}
            }
        }
    }

    /// Has signals sent here that fit a rule (D-Bus specification, "Match Rules").
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn hear(&mut self, rule: &str, limit: Limit<'_>) -> Result<(), Fault> {
        self.call(of_the_bus(), "AddMatch", vec![Value::text(rule)], limit)
            .map(drop)
    }

    /// Waits for any signal that has come since this was last asked, also while somebody was called: what is looked at afterwards is
    /// newer than what it told.
    ///
    /// # Errors
    /// [`Fault::TimedOut`], [`Fault::Cancelled`]; [`Fault::Broken`] when the bus is gone.
    pub fn stirred(&mut self, limit: Limit<'_>) -> Result<(), Fault> {
        while !std::mem::take(&mut self.stirred) {
            match self.receive(limit)? {
                Arrived::Message(message) if message.kind == Kind::Call => {
                    if self.calls.len() < MOST_CALLS {
                        self.calls.push_back(message);
                    }
                }
                Arrived::Message(message) => self.stirred = message.kind == Kind::Signal,
                // It may have been one.
                Arrived::Unreadable { .. } => self.stirred = true,
            }
        }
        Ok(())
    }

    /// A call of somebody else's; `None` where none comes before the limit. Each wants to be answered.
    ///
    /// # Errors
    /// [`Fault::Cancelled`]; [`Fault::Broken`] when the bus is gone.
    pub fn next_call(&mut self, limit: Limit<'_>) -> Result<Option<Message>, Fault> {
        loop {
            if let Some(call) = self.calls.pop_front() {
                return Ok(Some(call));
            }
            match self.receive(limit) {
                Ok(Arrived::Message(message)) if message.kind == Kind::Call => {
                    return Ok(Some(message));
                }
                Ok(_) => {}
                Err(Fault::TimedOut(_)) => return Ok(None),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Answers a call, with values or with an error's name.
    ///
    /// # Errors
    /// [`Fault::TimedOut`], [`Fault::Cancelled`]; [`Fault::Broken`] when the bus is gone.
    pub fn answer(
        &mut self,
        call: &Message,
        said: Result<Vec<Value>, &str>,
        limit: Limit<'_>,
    ) -> Result<(), Fault> {
        let (kind, error, body) = match said {
            Ok(body) => (Kind::Return, None, body),
            Err(name) => (Kind::Error, Some(name.to_owned()), Vec::new()),
        };
        let answer = Message {
            answers: Some(call.serial),
            destination: call.sender.clone(),
            error,
            body,
            ..Message::new(kind, self.next_serial())
        };
        self.send(&answer.to_bytes(), limit)
    }

    fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.serial
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

    /// One message. What is too long is passed over piece by piece, never held.
    fn receive(&mut self, limit: Limit<'_>) -> Result<Arrived, Fault> {
        let nonsense = |_| Fault::Broken("the bus talks nonsense".into());
        self.pass(limit)?;
        self.gather(PROLOGUE, limit)?;
        let mut prologue = [0; PROLOGUE];
        prologue
            .iter_mut()
            .zip(&self.inbox)
            .for_each(|(to, from)| *to = *from);
        let frame = Message::frame(&prologue).map_err(nonsense)?;
        let held = match frame.whole <= LONGEST {
            true => frame.whole,
            false => frame.head.min(LONGEST),
        };
        self.gather(held, limit)?;
        let bytes = std::mem::take(&mut self.inbox);
        self.passing = frame.whole - held;
        let message = match self.passing {
            0 => Message::from_bytes(&bytes).ok().flatten(),
            _ => None,
        };
        Ok(match message {
            Some(message) => Arrived::Message(message),
            None => Arrived::Unreadable {
                answers: Message::answered(&bytes),
            },
        })
    }

    /// Reads what is left of a message that is passed over.
    fn pass(&mut self, limit: Limit<'_>) -> Result<(), Fault> {
        while self.passing > 0 {
            let mut piece = [0; 4096];
            let most = self.passing.min(piece.len());
            self.passing -= self.read(piece.get_mut(..most).unwrap_or_default(), limit)?;
        }
        Ok(())
    }

    /// Reads until the inbox holds so many bytes, never more.
    fn gather(&mut self, wanted: usize, limit: Limit<'_>) -> Result<(), Fault> {
        while self.inbox.len() < wanted {
            let mut piece = [0; 4096];
            let missing = (wanted - self.inbox.len()).min(piece.len());
            let length = self.read(piece.get_mut(..missing).unwrap_or_default(), limit)?;
            self.inbox.extend(piece.iter().take(length));
        }
        Ok(())
    }

    /// A line of the greeting, byte for byte: what follows it is not for us yet.
    fn line(&mut self, limit: Limit<'_>) -> Result<String, Fault> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            let length = self.read(&mut byte, limit)?;
            line.extend(byte.iter().take(length));
            if line.len() > LONGEST_LINE {
                return Err(Fault::Broken("the bus talks nonsense".into()));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Some bytes; none where the kernel had none after all.
    fn read(&mut self, place: &mut [u8], limit: Limit<'_>) -> Result<usize, Fault> {
        // Also with bytes at hand: whoever floods us does not outlast the deadline.
        limit
            .cancel
            .wait_readable(self.stream.as_fd(), limit.until)?;
        match self.stream.read(place) {
            Ok(0) => Err(gone(&ErrorKind::UnexpectedEof.into())),
            Ok(length) => Ok(length),
            Err(error) if may_wait(&error) => Ok(0),
            Err(error) => Err(gone(&error)),
        }
    }
}

/// The bus itself, as somebody to call.
#[must_use]
pub fn of_the_bus() -> Callee<'static> {
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
