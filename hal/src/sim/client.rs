//! The simulated phone's drivers: every capability trait over the control socket of `homing-sim`. Nothing is simulated here.

mod dialler;
mod lockdown;
mod panel;
mod sound;

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use homing_protocol::measure::{self, Charging, Metered, NetworkKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::request::{Carrier, Flow, How, Price};
use super::wire::Inbox;
use crate::capability::gate::{Gate, Reading, Verdict};
use crate::capability::identity::{DeviceIdentity, Identity};
use crate::capability::network::{Network, NetworkEvent, NetworkPath};
use crate::capability::position::{Fix, PositionSource};
use crate::capability::power::Power;
use crate::fault::{Cancel, Fault, Probe};

pub use dialler::{SimDialler, SimIncoming};
pub use lockdown::SimLockdown;
pub use panel::{SimPanel, SimTouch};
pub use sound::{SimAttention, SimSiren, SimSoundCard};

/// How long the simulator may take for an answer, beyond what the request itself asks for; a `slow` of two seconds fits.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Longest single wait for a change of the network or of a call; the wait goes on in a new request.
const CHANGE_WAIT: Duration = Duration::from_secs(60);

/// One lazily opened connection.
#[derive(Debug)]
struct Line {
    path: PathBuf,
    open: Option<(UnixStream, Inbox)>,
}

impl Line {
    fn new(path: &Path) -> Self {
        Self {
            path: path.into(),
            open: None,
        }
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T, Fault> {
        self.ask_until(request, &[], Instant::now() + ANSWER_TIME, &Cancel::new())
    }

    /// One request, with raw bytes behind it, and its answer.
    fn ask_until<T: DeserializeOwned>(
        &mut self,
        request: &Value,
        raw: &[u8],
        until: Instant,
        cancel: &Cancel,
    ) -> Result<T, Fault> {
        // Whatever fails, the connection is given up: an answer that comes late must not be taken for another's.
        let (mut stream, mut inbox) = match self.open.take() {
            Some(open) => open,
            None => (self.connect()?, Inbox::new()),
        };
        let mut bytes = format!("{request}\n").into_bytes();
        bytes.extend_from_slice(raw);
        send(&mut stream, &bytes, until, cancel)?;
        let line = loop {
            match inbox.line() {
                Ok(Some(line)) => break line,
                Ok(None) => {}
                Err(error) => return Err(Fault::from_io("reading from the simulator", &error)),
            }
            cancel.wait_readable(stream.as_fd(), until)?;
            match inbox.fill(&mut stream) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(Fault::Broken("the simulator closed the connection".into()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::from_io("reading from the simulator", &error)),
            }
        };
        self.open = Some((stream, inbox));
        read_answer(&line)
    }

    fn connect(&self) -> Result<UnixStream, Fault> {
        let connected = UnixStream::connect(&self.path).and_then(|stream| {
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        connected.map_err(|error| {
            Fault::from_io(
                &format!("connecting to the simulator at {}", self.path.display()),
                &error,
            )
        })
    }
}

fn send(
    stream: &mut UnixStream,
    mut bytes: &[u8],
    until: Instant,
    cancel: &Cancel,
) -> Result<(), Fault> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                cancel.wait_writable(stream.as_fd(), until)?
            }
            Err(error) => return Err(Fault::from_io("writing to the simulator", &error)),
        }
    }
    Ok(())
}

fn read_answer<T: DeserializeOwned>(line: &str) -> Result<T, Fault> {
    #[derive(Deserialize)]
    struct Trouble {
        error: String,
        fault: Option<How>,
    }
    if let Ok(Trouble { error, fault }) = serde_json::from_str(line) {
        let error = format!("simulated: {error}");
        return Err(match fault {
            Some(How::Absent) => Fault::Absent(error),
            Some(How::Busy) => Fault::Busy(error),
            Some(How::Denied) => Fault::Denied(error),
            Some(How::Broken | How::None | How::Slow) | None => Fault::Broken(error),
        });
    }
    serde_json::from_str(line)
        .map_err(|error| Fault::Broken(format!("the simulator's answer cannot be read: {error}")))
}

/// What a probe says after one harmless request.
fn probed(path: &Path, get: &str) -> Probe {
    match Line::new(path).ask::<Value>(&json!({"get": get})) {
        Ok(_) => Probe::Ready {
            detail: format!("simulated at {}", path.display()),
        },
        Err(fault) => Probe::Unsupported {
            reason: fault.to_string(),
        },
    }
}

/// The simulated receiver, asked directly.
#[derive(Debug)]
pub struct SimPosition {
    path: PathBuf,
}

/// The simulated battery.
#[derive(Debug)]
pub struct SimPower {
    line: Line,
}

/// The simulated network.
#[derive(Debug)]
pub struct SimNetwork {
    line: Line,
    /// The network's version that was last seen.
    seen: Option<u64>,
}

/// The simulated model and system.
#[derive(Debug)]
pub struct SimIdentity {
    line: Line,
}

macro_rules! over_socket {
    ($($driver:ident { $($field:ident: $value:expr),+ })+) => { $(
        impl $driver {
            /// A driver over the control socket at this path; nothing is opened yet.
            #[must_use]
            pub fn new(socket: &Path) -> Self {
                let open: fn(&Path) -> Self = |path| Self { $($field: $value(path)),+ };
                open(socket)
            }
        }
    )+ };
}
over_socket! {
    SimPosition { path: Path::to_path_buf }
    SimPower { line: Line::new }
    SimNetwork { line: Line::new, seen: |_: &Path| None }
    SimIdentity { line: Line::new }
}

impl PositionSource for SimPosition {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.path, "reading")
    }

    fn locate(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            reading: Option<Told>,
            next_ms: u64,
        }
        let began = Instant::now();
        let until = began + deadline;
        let mut gate = Gate::new();
        // The receiver is powered as long as this connection lives: no longer than this call.
        let mut line = Line::new(&self.path);
        loop {
            let answer: Result<Answer, Fault> =
                line.ask_until(&json!({"get": "reading"}), &[], until, cancel);
            let next = match answer {
                Ok(answer) => {
                    if let Some(told) = answer.reading
                        && let Verdict::Confirmed(fix) = gate.offer(told.reading(began.elapsed()))
                    {
                        return Ok(fix);
                    }
                    Duration::from_millis(answer.next_ms + 1)
                }
                Err(Fault::TimedOut(_)) => Duration::ZERO,
                Err(fault) => return Err(fault),
            };
            cancel.rest((Instant::now() + next).min(until))?;
            if Instant::now() >= until {
                let nothing = || Fault::TimedOut("no fix by the deadline".into());
                return gate.best(began.elapsed()).ok_or_else(nothing);
            }
        }
    }
}

#[derive(Deserialize)]
struct Told {
    time_unix_ms: i64,
    lat: f64,
    lon: f64,
    radius_m: f64,
    hdop: f64,
    satellites: u8,
    speed_m_s: f64,
    course_deg: f64,
}

impl Told {
    fn reading(&self, at: Duration) -> Reading {
        Reading {
            at,
            time_unix_ms: Some(self.time_unix_ms),
            latitude_deg: self.lat,
            longitude_deg: self.lon,
            radius_m: Some(self.radius_m),
            hdop: Some(self.hdop),
            satellites: Some(self.satellites),
            altitude_m: None,
            speed_m_s: Some(self.speed_m_s),
            course_deg: Some(self.course_deg),
        }
    }
}

impl Power for SimPower {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.line.path, "battery")
    }

    fn battery(&mut self) -> Result<measure::Battery, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            percent: f64,
            charging: Flow,
        }
        let answer: Answer = self.line.ask(&json!({"get": "battery"}))?;
        Ok(measure::Battery {
            percent: (0..=100).find(|percent| f64::from(*percent) >= answer.percent),
            charging: match answer.charging {
                Flow::Unknown => Charging::Unknown,
                Flow::Charging => Charging::Charging,
                Flow::Discharging => Charging::Discharging,
                Flow::Full => Charging::Full,
            },
        })
    }
}

#[derive(Deserialize)]
struct NetworkAnswer {
    kind: Carrier,
    metered: Price,
    version: u64,
}

impl Network for SimNetwork {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.line.path, "network")
    }

    fn path_to(&mut self, _address: IpAddr) -> Result<NetworkPath, Fault> {
        let answer: NetworkAnswer = self.line.ask(&json!({"get": "network"}))?;
        let (interface, kind) = match answer.kind {
            Carrier::Wifi => ("wlan0", NetworkKind::Wifi),
            Carrier::Cellular => ("wwan0", NetworkKind::Cellular),
            Carrier::Ethernet => ("eth0", NetworkKind::Ethernet),
            Carrier::Vpn => ("wg0", NetworkKind::Vpn),
            Carrier::Unknown => ("sim0", NetworkKind::Unknown),
            Carrier::None => return Err(Fault::Absent("simulated: no route".into())),
        };
        Ok(NetworkPath {
            interface: interface.into(),
            source: None,
            kind,
            metered: match answer.metered {
                Price::Unknown => Metered::Unknown,
                Price::Yes => Metered::Yes,
                Price::No => Metered::No,
            },
        })
    }

    fn wait_for_change(
        &mut self,
        deadline: Duration,
        cancel: &Cancel,
    ) -> Result<NetworkEvent, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            version: u64,
        }
        let until = Instant::now() + deadline;
        let seen = match self.seen {
            Some(seen) => seen,
            None => {
                self.line
                    .ask::<NetworkAnswer>(&json!({"get": "network"}))?
                    .version
            }
        };
        self.seen = Some(seen);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let wait = left.min(CHANGE_WAIT);
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let request = json!({"do": "await_network", "seen": seen, "ms": ms});
            let answer: Answer =
                self.line
                    .ask_until(&request, &[], Instant::now() + wait + ANSWER_TIME, cancel)?;
            if answer.version != seen {
                self.seen = Some(answer.version);
                return Ok(NetworkEvent::Changed);
            }
            if left <= wait {
                return Ok(NetworkEvent::Quiet);
            }
        }
    }
}

impl Identity for SimIdentity {
    fn name(&self) -> &'static str {
        "simulator"
    }

    fn probe(&self) -> Probe {
        probed(&self.line.path, "identity")
    }

    fn identity(&mut self) -> Result<DeviceIdentity, Fault> {
        #[derive(Deserialize)]
        struct Answer {
            model: String,
            compatible: Vec<String>,
            system: String,
            kernel: String,
            boot_id: String,
        }
        let answer: Answer = self.line.ask(&json!({"get": "identity"}))?;
        Ok(DeviceIdentity {
            model: Some(answer.model),
            compatible: answer.compatible,
            system: Some(answer.system),
            kernel: Some(answer.kernel),
            boot_id: Some(answer.boot_id),
        })
    }
}
