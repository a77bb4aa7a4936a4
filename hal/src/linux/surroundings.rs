//! The position from the cell and the Wi-Fi access points around the phone, as a last source: coarse, and told by a service that the owner has chosen. It sends no network's name, and nothing at all that its service was not chosen for.

mod question;

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

/// The driver.
pub struct Surroundings {
    roots: Roots,
    service: Box<dyn Resolve>,
}

impl Surroundings {
    /// A driver on the system bus below `roots` that asks `service`.
    #[must_use]
    pub fn new(roots: &Roots, service: Box<dyn Resolve>) -> Self {
        Self {
            roots: roots.clone(),
            service,
        }
    }

    fn around(&self, limit: Limit<'_>, scan: Scan) -> Result<Around, Fault> {
        let mut bus = Bus::open(&self.roots, limit)?;
        let cells = or_nothing("cells", cells(&mut bus, limit))?;
        let access_points = or_nothing("access points", access_points(&mut bus, limit, scan))?;
        Ok(Around {
            cells,
            access_points,
        })
    }
}

/// Whether the radio is asked to look again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    Anew,
    AsKnown,
}

/// One half of the surroundings is better than none.
fn or_nothing<T>(what: &str, found: Result<Vec<T>, Fault>) -> Result<Vec<T>, Fault> {
    match found {
        Err(fault @ Fault::Cancelled(_)) => Err(fault),
        Err(fault) => {
            tracing::debug!(%fault, "no {what} are known");
            Ok(Vec::new())
        }
        Ok(found) => Ok(found),
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
        let answer = self.service.resolve(&question, limit.until)?;
        if cancel.is_cancelled() {
            return Err(Fault::Cancelled("the caller gave up".into()));
        }
        around.fix(&answer)
    }
}

/// The cells that the modems are registered in. Only modems that tell them anyhow are asked: the setting is not ours.
fn cells(bus: &mut Bus, limit: Limit<'_>) -> Result<Vec<Cell>, Fault> {
    let owner = bus.owner(modem::SERVICE, limit)?;
    let mut cells = Vec::new();
    for (path, interfaces) in modem::objects(bus, &owner, limit)?.entries() {
        let enabled = interfaces
            .get(modem::LOCATION)
            .and_then(|location| location.get("Enabled")?.as_u32());
        let (Some(path), true) = (path.as_text(), enabled.unwrap_or(0) & modem::CELL != 0) else {
            continue;
        };
        let found = modem::location(bus, (&owner, path), limit)?;
        let technologies = interfaces
            .get(modem::MODEM)
            .and_then(|modem| modem.get("AccessTechnologies")?.as_u32());
        let text = modem::shown(&found, modem::CELL).and_then(Value::as_text);
        cells.extend(text.and_then(|text| Cell::read(text, technologies.unwrap_or(0))));
    }
    Ok(cells)
}

fn access_points(bus: &mut Bus, limit: Limit<'_>, scan: Scan) -> Result<Vec<AccessPoint>, Fault> {
    let owner = bus.owner(NETWORK_MANAGER, limit)?;
    let root = callee(&owner, NETWORK_ROOT, NETWORK_MANAGER);
    let devices = bus.call(root, "GetDevices", Vec::new(), limit)?;
    let mut found = Vec::new();
    for device in devices.elements().iter().filter_map(Value::as_text) {
        let kind = modem::property(bus, (&owner, device), (DEVICE, "DeviceType"), limit)?;
        if kind.as_u32() != Some(WIFI) {
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
        let paths = bus.call(wireless, "GetAllAccessPoints", Vec::new(), limit)?;
        let paths = paths.elements().iter().filter_map(Value::as_text);
        for path in paths.take(MOST_ACCESS_POINTS) {
            let point = callee(&owner, path, modem::PROPERTIES);
            match bus.call(point, "GetAll", vec![Value::text(ACCESS_POINT)], limit) {
                Ok(properties) => found.extend(AccessPoint::read(&properties)),
                // It has gone out of sight in between.
                Err(Fault::Absent(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(found)
}

fn callee<'a>(service: &'a str, path: &'a str, interface: &'a str) -> Callee<'a> {
    Callee {
        service,
        path,
        interface,
    }
}
