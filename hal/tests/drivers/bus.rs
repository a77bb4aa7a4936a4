//! A message bus of the test's own, and on it a ModemManager that speaks the real one's interfaces and does what a test says.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use homing_hal::fault::{Cancel, Roots};
use homing_hal::linux::dbus::message::{Kind, Message, PROLOGUE};
use homing_hal::linux::dbus::value::Value;
use homing_hal::linux::dbus::{self, Limit};
use tempfile::TempDir;

use crate::phone::Process;
use crate::voice::Voice;

pub(crate) const GPS_RAW: u32 = 1 << 1;
pub(crate) const GPS_NMEA: u32 = 1 << 2;
pub(crate) const CELL: u32 = 1;
const MODEM: &str = "/org/freedesktop/ModemManager1/Modem/";

/// A real dbus-daemon at the place of the system's, below a folder of its own.
pub(crate) struct Bus {
    _daemon: Process,
    pub(crate) folder: TempDir,
}

impl Bus {
    /// `None`, said aloud, where no dbus-daemon is installed.
    pub(crate) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("dbus")).unwrap();
        let socket = folder.path().join("dbus/system_bus_socket");
        let config = folder.path().join("bus.conf");
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
            <allow receive_sender="*"/></policy></busconfig>"#,
            socket.display()
        );
        fs::write(&config, text).unwrap();
        let named = std::env::var_os("HOMING_TEST_DBUS_DAEMON");
        let is_promised = named.is_some();
        let started = Command::new(named.unwrap_or_else(|| "dbus-daemon".into()))
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            assert!(!is_promised, "HOMING_TEST_DBUS_DAEMON does not start");
            eprintln!("SKIPPED: no dbus-daemon, nothing was tested on a real bus");
            return None;
        };
        let stdout = child.stdout.take().unwrap();
        let daemon = Process(child);
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert!(line.contains("unix:path="), "{line}");
        Some(Self {
            _daemon: daemon,
            folder,
        })
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots {
            run: self.folder.path().into(),
            ..Roots::default()
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("dbus/system_bus_socket")
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    /// The number that the bus gave itself.
    pub(crate) fn guid(&self) -> String {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + Duration::from_secs(30),
            cancel: &cancel,
        };
        let bus = dbus::Bus::at(&self.socket(), limit).unwrap();
        bus.guid().to_owned()
    }

    pub(crate) fn note(&self) -> PathBuf {
        self.folder.path().join("receiver.json")
    }
}

/// What the modem does when it is asked.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Works,
    /// It answers nothing about its receiver and its calls.
    Hangs,
    /// It does not even answer to being set up.
    HangsAtSetup,
    Unauthorized,
    WrongState,
}

/// The modem as it stands.
pub(crate) struct Modem {
    pub(crate) capabilities: Value,
    pub(crate) enabled: u32,
    pub(crate) signals: bool,
    pub(crate) mood: Mood,
    /// What `GetLocation` gives for a source that is on, by how often it was asked.
    pub(crate) shows: fn(u32, u32) -> Option<Value>,
    pub(crate) looks: u32,
    /// Every `Setup`.
    pub(crate) setups: Vec<(u32, bool)>,
    /// The states of the calls (`MMCallState`).
    pub(crate) calls: Vec<i32>,
    /// Calls that are placed here.
    pub(crate) voice: Voice,
    /// The number in its path, which grows whenever a modem comes back.
    pub(crate) index: u32,
}

impl Default for Modem {
    fn default() -> Self {
        Self {
            capabilities: Value::number(CELL | GPS_RAW | GPS_NMEA),
            enabled: CELL,
            signals: false,
            mood: Mood::Works,
            shows: |_, _| None,
            looks: 0,
            setups: Vec::new(),
            calls: Vec::new(),
            voice: Voice::default(),
            index: 0,
        }
    }
}

type Shared = Arc<Mutex<Modem>>;

/// What is answered: values, an error's name with its text, or nothing at all.
pub(crate) enum Answer {
    Values(Vec<Value>),
    Error(&'static str, &'static str),
    Nothing,
}

pub(crate) const UNAUTHORIZED: Answer = Answer::Error(
    "org.freedesktop.ModemManager1.Error.Core.Unauthorized",
    "PolicyKit authorization failed",
);

pub(crate) fn variant(value: Value) -> Value {
    Value::Variant(Box::new(value))
}

/// A dictionary whose values are of this type.
pub(crate) fn dictionary(kind: &str, entries: Vec<(Value, Value)>) -> Value {
    let entries = entries
        .into_iter()
        .map(|entry| Value::Entry(Box::new(entry)));
    Value::Array(kind.into(), entries.collect())
}

pub(crate) fn properties(entries: Vec<(&str, Value)>) -> Value {
    let entries = entries.into_iter();
    let entries = entries.map(|(name, value)| (Value::text(name), variant(value)));
    dictionary("{sv}", entries.collect())
}

const PREFIX: &str = "org.freedesktop.ModemManager1";

impl Modem {
    /// Interfaces with their properties, as the object manager tells them.
    fn interfaces(&self) -> Value {
        let location = properties(vec![
            ("Capabilities", self.capabilities.clone()),
            ("SupportedAssistanceData", Value::number(0)),
            ("Enabled", Value::number(self.enabled)),
            ("SignalsLocation", Value::Bool(self.signals)),
        ]);
        let modem = properties(vec![
            ("Model", Value::text("EG25-G")),
            ("AccessTechnologies", Value::number(1 << 14)),
            ("Ports", Value::Array("(su)".into(), Vec::new())),
        ]);
        let named = |name: &str| Value::text(&format!("{PREFIX}.{name}"));
        dictionary(
            "{sa{sv}}",
            vec![
                (named("Modem"), modem),
                (named("Modem.Location"), location),
                (named("Modem.Voice"), self.voice.told()),
            ],
        )
    }

    fn answer(&mut self, present: bool, call: &Message) -> Answer {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let (path, member) = (text(&call.path), text(&call.member));
        let interface = text(&call.interface);
        let argument = |index: usize| call.body.get(index);
        let modem = format!("{MODEM}{}", self.index);
        let asked = (
            interface.strip_prefix(PREFIX).unwrap_or(&interface),
            &*member,
        );
        if let Some(answer) = self.voice.answer(&path, asked, &call.body) {
            return answer;
        }
        match asked {
            ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects") => {
                let modem = (Value::Text('o', modem), self.interfaces());
                let modems = if present { vec![modem] } else { Vec::new() };
                Answer::Values(vec![dictionary("{oa{sa{sv}}}", modems)])
            }
            (".Modem.Location", "Setup") if path == modem && present => self.set_up(
                argument(0).and_then(Value::as_u32).unwrap(),
                argument(1).is_some_and(Value::is_true),
            ),
            (".Modem.Location", "GetLocation") if path == modem && present => self.look(),
            (".Modem.Voice", "ListCalls") if self.mood == Mood::Hangs => Answer::Nothing,
            (".Modem.Voice", "ListCalls") => {
                let calls = (0..self.calls.len()).map(|index| {
                    Value::Text('o', format!("/org/freedesktop/ModemManager1/Call/{index}"))
                });
                let calls = calls.chain(self.voice.paths());
                Answer::Values(vec![Value::Array("o".into(), calls.collect())])
            }
            ("org.freedesktop.DBus.Properties", "Get") => {
                let index = path
                    .rsplit('/')
                    .next()
                    .and_then(|index| index.parse::<usize>().ok());
                match index.and_then(|index| self.calls.get(index)) {
                    Some(state) => {
                        Answer::Values(vec![variant(Value::Signed('i', (*state).into()))])
                    }
                    None => {
                        Answer::Error("org.freedesktop.DBus.Error.UnknownMethod", "no such object")
                    }
                }
            }
            _ => Answer::Error("org.freedesktop.DBus.Error.UnknownMethod", "no such method"),
        }
    }

    fn set_up(&mut self, sources: u32, signals: bool) -> Answer {
        match self.mood {
            Mood::HangsAtSetup => Answer::Nothing,
            Mood::Unauthorized => UNAUTHORIZED,
            Mood::WrongState => Answer::Error(
                "org.freedesktop.ModemManager1.Error.Core.WrongState",
                "device not yet enabled",
            ),
            Mood::Works | Mood::Hangs => {
                self.setups.push((sources, signals));
                self.enabled = sources;
                self.signals = signals;
                Answer::Values(Vec::new())
            }
        }
    }

    fn look(&mut self) -> Answer {
        match self.mood {
            Mood::Hangs => return Answer::Nothing,
            Mood::Unauthorized => return UNAUTHORIZED,
            Mood::Works | Mood::HangsAtSetup | Mood::WrongState => {}
        }
        self.looks += 1;
        let shown = [CELL, GPS_RAW, GPS_NMEA]
            .into_iter()
            .filter(|source| self.enabled & source != 0)
            .filter_map(|source| {
                let shown = (self.shows)(source, self.looks)?;
                Some((Value::number(source), variant(shown)))
            });
        Answer::Values(vec![dictionary("{uv}", shown.collect())])
    }
}

/// A ModemManager with one modem, or with none.
pub(crate) struct FakeModemManager {
    modem: Shared,
    stream: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    name: String,
}

impl FakeModemManager {
    pub(crate) fn start(bus: &Bus, modem: Option<Modem>) -> Self {
        let present = modem.is_some();
        let mut fake = Self {
            modem: Arc::new(Mutex::new(modem.unwrap_or_default())),
            stream: None,
            thread: None,
            name: String::new(),
        };
        fake.appear(bus, present);
        fake
    }

    /// It ends, as a service that crashes.
    pub(crate) fn end(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// It is on the bus (again), under a new unique name.
    pub(crate) fn appear(&mut self, bus: &Bus, present: bool) {
        let (stream, name) = join(bus, PREFIX);
        self.stream = Some(stream.try_clone().unwrap());
        self.name = name;
        let modem = Arc::clone(&self.modem);
        let answer = move |call: &Message| modem.lock().unwrap().answer(present, call);
        self.thread = Some(thread::spawn(move || serve(stream, answer)));
    }

    pub(crate) fn modem(&self) -> MutexGuard<'_, Modem> {
        self.modem.lock().unwrap()
    }

    /// Tells whoever listens of this call, as ModemManager tells of each change.
    pub(crate) fn tell(&self, (path, interface): (&str, &str), member: &str) {
        let signal = Message {
            path: Some(path.into()),
            interface: Some(interface.into()),
            member: Some(member.into()),
            ..Message::new(Kind::Signal, u32::MAX)
        };
        let mut stream = self.stream.as_ref().unwrap();
        stream.write_all(&signal.to_bytes()).unwrap();
    }

    pub(crate) fn unique_name(&self) -> String {
        self.name.clone()
    }
}

impl Drop for FakeModemManager {
    fn drop(&mut self) {
        self.end();
    }
}

fn receive(stream: &mut UnixStream) -> Option<Message> {
    let mut prologue = [0; PROLOGUE];
    stream.read_exact(&mut prologue).ok()?;
    let mut bytes = vec![0; Message::frame(&prologue).unwrap().whole];
    bytes[..PROLOGUE].copy_from_slice(&prologue);
    stream.read_exact(&mut bytes[PROLOGUE..]).ok()?;
    Message::from_bytes(&bytes).unwrap()
}

/// Comes onto the bus under this name; the stream and the unique name.
pub(crate) fn join(bus: &Bus, name: &str) -> (UnixStream, String) {
    const DO_NOT_QUEUE: u32 = 4;
    join_with(bus, name, DO_NOT_QUEUE)
}

/// The same with these flags of `RequestName`.
pub(crate) fn join_with(bus: &Bus, name: &str, flags: u32) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(bus.socket()).unwrap();
    let uid = nix::unistd::geteuid().to_string();
    let digits: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
    write!(stream, "\0AUTH EXTERNAL {digits}\r\nBEGIN\r\n").unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte).unwrap();
    }
    let mut ask = |serial, member: &str, body| {
        let call = Message {
            path: Some("/org/freedesktop/DBus".into()),
            interface: Some("org.freedesktop.DBus".into()),
            member: Some(member.into()),
            destination: Some("org.freedesktop.DBus".into()),
            body,
            ..Message::new(Kind::Call, serial)
        };
        stream.write_all(&call.to_bytes()).unwrap();
        loop {
            let message = receive(&mut stream).unwrap();
            if message.answers == Some(serial) {
                assert_eq!(message.kind, Kind::Return, "{message:?}");
                return message.body;
            }
        }
    };
    let unique = ask(1, "Hello", Vec::new())[0].as_text().unwrap().to_owned();
    let named = ask(
        2,
        "RequestName",
        vec![Value::text(name), Value::number(flags)],
    );
    assert_eq!(named[0].as_u32(), Some(1), "it owns its name");
    (stream, unique)
}

/// Answers calls until the stream ends.
pub(crate) fn serve(mut stream: UnixStream, mut answer: impl FnMut(&Message) -> Answer) {
    let mut serial = 2;
    while let Some(call) = receive(&mut stream) {
        if call.kind != Kind::Call {
            continue;
        }
        serial += 1;
        let (kind, error, body) = match answer(&call) {
            Answer::Nothing => continue,
            Answer::Values(body) => (Kind::Return, None, body),
            Answer::Error(name, text) => {
                let text = vec![Value::text(text)];
                (Kind::Error, Some(name.to_owned()), text)
            }
        };
        let answer = Message {
            answers: Some(call.serial),
            destination: call.sender.clone(),
            error,
            body,
            ..Message::new(kind, serial)
        };
        if stream.write_all(&answer.to_bytes()).is_err() {
            return;
        }
    }
}
