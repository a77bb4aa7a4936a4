//! The position from the cell and the Wi-Fi access points around the phone, as a last source: coarse, and told by a service that the owner has chosen. It sends no network's name, and nothing at all that its service was not chosen for.

mod question;

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::dbus::value::Value;
use super::dbus::{Bus, Callee, Limit};
use super::modem;
use crate::capability::position::{Fix, PositionSource, Turn};
use crate::capability::resolve::Resolve;
use crate::fault::{Cancel, Fault, Probe, Roots};
use question::{AccessPoint, Around, Cell};

const NETWORK_MANAGER: &str = "org.freedesktop.NetworkManager";
const NETWORK_ROOT: &str = "/org/freedesktop/NetworkManager";
const DEVICE: &str = "org.freedesktop.NetworkManager.Device";
const WIRELESS: &str = "org.freedesktop.NetworkManager.Device.Wireless";
const ACCESS_POINT: &str = "org.freedesktop.NetworkManager.AccessPoint";
/// `NM_DEVICE_TYPE_WIFI` (nm-dbus-interface.h).
const WIFI: u32 = 2;
/// How long a scan takes: some 25 channels, a tenth of a second each, and the driver's own pace.
const SCAN_TIME: Duration = Duration::from_secs(4);
/// Time for looking around without the scan.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// Access points that are looked at; a question names fewer.
const MOST_ACCESS_POINTS: usize = 64;
/// Questions that may be on their way at a time: one whose search is over lasts until its name is looked up or its deadline passes.
const MOST_QUESTIONS: usize = 4;

static QUESTIONS: AtomicUsize = AtomicUsize::new(0);

/// The driver.
pub struct Surroundings {
    roots: Roots,
    service: Arc<dyn Resolve>,
}

impl Surroundings {
    /// A driver on the system bus below `roots` that asks `service`.
    #[must_use]
    pub fn new(roots: &Roots, service: Box<dyn Resolve>) -> Self {
        Self {
            roots: roots.clone(),
            service: service.into(),
        }
    }

    fn around(&self, limit: Limit<'_>, scan: Scan) -> Result<Around, Fault> {
        let mut bus = Bus::open(&self.roots, limit)?;
        let mut around = Around {
            cells: Vec::new(),
            access_points: Vec::new(),
        };
        or_less("cells", cells(&mut bus, limit, &mut around.cells))?;
        let points = access_points(&mut bus, limit, scan, &mut around.access_points);
        or_less("access points", points)?;
        Ok(around)
    }
}

/// A question on its way.
struct Asking;

impl Asking {
    fn begin() -> Result<Self, Fault> {
        let one_more = |asked| (asked < MOST_QUESTIONS).then_some(asked + 1);
        match QUESTIONS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more) {
            Ok(_) => Ok(Self),
            Err(_) => Err(Fault::Busy("earlier questions have no answer yet".into())),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        QUESTIONS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Asks on a thread of its own: the service's name is looked up by calls that nobody can end, and a satellite fix that
/// was found meanwhile does not wait for them.
fn ask(service: Arc<dyn Resolve>, question: Vec<u8>, limit: Limit<'_>) -> Result<Vec<u8>, Fault> {
    let asking = Asking::begin()?;
    let (bell, ring) = io::pipe().map_err(|error| Fault::from_io("making a pipe", &error))?;
    let (result, arrived) = channel();
    let until = limit.until;
    let talk = move || {
        let answer = service.resolve(&question, until);
        drop(asking);
        // Nobody listens any more once the search is over; the pipe's end rings.
        let _ = result.send(answer);
        drop(ring);
    };
    thread::Builder::new()
        .name("question".into())
        .spawn(talk)
        .map_err(|error| Fault::from_io("starting a thread", &error))?;
    limit.cancel.wait_readable(bell.as_fd(), limit.until)?;
    arrived
        .try_recv()
        .unwrap_or_else(|_| Err(Fault::Broken("the question was not asked".into())))
}

/// Whether the radio is asked to look again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    Anew,
    AsKnown,
}

/// Without one of several things the others are still worth telling; where time is over, nothing more is looked at.
fn or_next<T>(found: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match found {
        Err(fault @ (Fault::Cancelled(_) | Fault::TimedOut(_))) => Err(fault),
        Err(fault) => {
            tracing::debug!(%fault, "something around was not told");
            Ok(None)
        }
        Ok(found) => Ok(Some(found)),
    }
}

/// A part of the surroundings is better than none.
fn or_less(what: &str, looked: Result<(), Fault>) -> Result<(), Fault> {
    match looked {
        Err(fault @ Fault::Cancelled(_)) => Err(fault),
        Err(fault) => {
            tracing::debug!(%fault, "no more {what} are known");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

impl PositionSource for Surroundings {
    fn name(&self) -> &'static str {
        "surroundings"
    }

    /// Nothing is sent.
    fn probe(&self) -> Probe {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + LOOK_TIME,
            cancel: &cancel,
        };
        match self.around(limit, Scan::AsKnown) {
            Ok(around) if around.question().is_some() => Probe::Ready {
                detail: format!("{around}, told to {}", self.service.name()),
            },
            Ok(around) => Probe::Unsupported {
                reason: format!("{around}: too little to be told to {}", self.service.name()),
            },
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn turn(&self) -> Turn {
        Turn::Last
    }

    fn locate(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault> {
        let limit = Limit {
            until: Instant::now() + deadline,
            cancel,
        };
        let around = self.around(limit, Scan::Anew)?;
        let question = around.question().ok_or_else(|| {
            Fault::Absent(format!("{around}: too little to tell where the phone is"))
        })?;
        let answer = ask(Arc::clone(&self.service), question, limit)?;
        if cancel.is_cancelled() {
            return Err(Fault::Cancelled("the caller gave up".into()));
        }
        around.fix(&answer)
    }
}

/// The cells that the modems are registered in. Only modems that tell them anyhow are asked: the setting is not ours.
fn cells(bus: &mut Bus, limit: Limit<'_>, cells: &mut Vec<Cell>) -> Result<(), Fault> {
    let owner = bus.owner(modem::SERVICE, limit)?;
    for (path, interfaces) in modem::objects(bus, &owner, limit)?.entries() {
        let enabled = interfaces
            .get(modem::LOCATION)
            .and_then(|location| location.get("Enabled")?.as_u32());
        let (Some(path), true) = (path.as_text(), enabled.unwrap_or(0) & modem::CELL != 0) else {
            continue;
        };
        let Some(found) = or_next(modem::location(bus, (&owner, path), limit))? else {
            continue;
        };
        let technologies = interfaces
            .get(modem::MODEM)
            .and_then(|modem| modem.get("AccessTechnologies")?.as_u32());
        let text = modem::shown(&found, modem::CELL).and_then(Value::as_text);
        cells.extend(text.and_then(|text| Cell::read(text, technologies.unwrap_or(0))));
    }
    Ok(())
}

fn access_points(
    bus: &mut Bus,
    limit: Limit<'_>,
    scan: Scan,
    found: &mut Vec<AccessPoint>,
) -> Result<(), Fault> {
    let owner = bus.owner(NETWORK_MANAGER, limit)?;
    let root = callee(&owner, NETWORK_ROOT, NETWORK_MANAGER);
    let devices = bus.call(root, "GetDevices", Vec::new(), limit)?;
    for device in devices.elements().iter().filter_map(Value::as_text) {
        let kind = modem::property(bus, (&owner, device), (DEVICE, "DeviceType"), limit);
        if or_next(kind)?.and_then(|kind| kind.as_u32()) != Some(WIFI) {
            continue;
        }
        let wireless = callee(&owner, device, WIRELESS);
        if scan == Scan::Anew {
            match bus.call(wireless, "RequestScan", vec![Value::empty_options()], limit) {
                Ok(_) => limit
                    .cancel
                    .rest(limit.until.min(Instant::now() + SCAN_TIME))?,
                // What NetworkManager's own scans have found is a minute or two old.
                Err(fault) => tracing::debug!(%fault, "no scan of our own"),
            }
        }
        let paths = bus.call(wireless, "GetAllAccessPoints", Vec::new(), limit);
        let Some(paths) = or_next(paths)? else {
            continue;
        };
        let paths = paths.elements().iter().filter_map(Value::as_text);
        for path in paths.take(MOST_ACCESS_POINTS) {
            let point = callee(&owner, path, modem::PROPERTIES);
            let asked = bus.call(point, "GetAll", vec![Value::text(ACCESS_POINT)], limit);
            let properties = or_next(asked)?;
            found.extend(properties.as_ref().and_then(AccessPoint::read));
        }
    }
    Ok(())
}

fn callee<'a>(service: &'a str, path: &'a str, interface: &'a str) -> Callee<'a> {
    Callee {
        service,
        path,
        interface,
    }
}
