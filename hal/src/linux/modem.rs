//! The position from ModemManager. It switches the modem's receiver on for a search alone: what others have switched on stays on, what it added is taken away again, and no position is ever broadcast on the bus.

mod note;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::dbus::value::Value;
use super::dbus::{Bus, Callee, Limit};
use super::nmea::NmeaReader;
use super::search::Search;
use crate::capability::gate::Reading;
use crate::capability::position::{Fix, PositionSource};
use crate::fault::{Cancel, Fault, Probe, Roots};
use note::Note;

/// ModemManager's name on the bus.
pub(super) const SERVICE: &str = "org.freedesktop.ModemManager1";
const ROOT: &str = "/org/freedesktop/ModemManager1";
pub(super) const MODEM: &str = "org.freedesktop.ModemManager1.Modem";
pub(super) const LOCATION: &str = "org.freedesktop.ModemManager1.Modem.Location";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECTS: &str = "org.freedesktop.DBus.ObjectManager";

/// `MM_MODEM_LOCATION_SOURCE_GPS_RAW` and its like: bits of the source mask (ModemManager-enums.h).
pub(super) const CELL: u32 = 1;
const GPS_RAW: u32 = 1 << 1;
const GPS_NMEA: u32 = 1 << 2;
const GPS_UNMANAGED: u32 = 1 << 4;

/// Time between two looks at the receiver, which measures once a second.
const POLL: Duration = Duration::from_secs(1);
/// Looks between two questions whether the receiver is still on: others set the same mask.
const LOOKS_PER_CHECK: u32 = 3;
/// How long switching off may keep a search that is over: the request is sent by then, and the modem obeys it by itself.
const OFF_TIME: Duration = Duration::from_secs(1);
/// How long a probe may take.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// The driver.
#[derive(Debug)]
pub struct ModemManager {
    roots: Roots,
    note: Option<PathBuf>,
}

/// A modem with a receiver, and how its owner has set it.
struct Receiver {
    /// ModemManager's unique name on the bus.
    owner: String,
    path: String,
    model: String,
    capabilities: u32,
    enabled: u32,
    signals: bool,
}

/// One time at the modem: on, look, off.
struct Session<'a> {
    driver: &'a ModemManager,
    bus: Bus,
    found: Receiver,
    wanted: u32,
    /// What has to be undone at its end.
    owed: Note,
    /// Whether every request to switch on was answered; one that was not may still be obeyed after we have left.
    all_answered: bool,
    limit: Limit<'a>,
}

impl ModemManager {
    /// A driver on the system bus below `roots`. `note` is the file in which it remembers what it switched on while it
    /// searches, for whoever comes after a crash; without one a crash leaves the receiver on.
    #[must_use]
    pub fn new(roots: &Roots, note: Option<PathBuf>) -> Self {
        Self {
            roots: roots.clone(),
            note,
        }
    }

    /// Switches off what a search that did not live to do so left on. Nothing is asked where none did.
    ///
    /// # Errors
    /// ModemManager could not be asked, or refused; the note stays.
    pub fn put_back(&self, cancel: &Cancel) -> Result<(), Fault> {
        let Some(note) = self.note.as_deref().and_then(Note::load) else {
            return Ok(());
        };
        let limit = Limit {
            until: Instant::now() + PROBE_TIME,
            cancel,
        };
        let mut bus = Bus::open(&self.roots, limit)?;
        let owner = bus.owner(SERVICE, limit)?;
        // A ModemManager that was started since has forgotten it by itself.
        if note.is_of(bus.guid(), &owner) {
            match receiver(&mut bus, owner, Some(&note.path), limit) {
                // The modem is gone, and its receiver with it.
                Err(Fault::Absent(_)) => {}
                found => found?.switch_off(&mut bus, &note, limit)?,
            }
        }
        self.forget();
        Ok(())
    }

    fn probed(&self) -> Result<String, Fault> {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + PROBE_TIME,
            cancel: &cancel,
        };
        let mut bus = Bus::open(&self.roots, limit)?;
        let owner = bus.owner(SERVICE, limit)?;
        let found = receiver(&mut bus, owner, None, limit)?;
        found.usable()?;
        // It powers nothing, and tells whether we may ask; switching on rests on the same rule of polkit.
        let _ = found.look(&mut bus, limit)?;
        Ok(format!("ModemManager's {}", found.model))
    }

    /// One session: on, look, off.
    fn session(
        &self,
        search: &mut Search,
        nmea: &mut NmeaReader,
        cancel: &Cancel,
    ) -> Result<Fix, Fault> {
        let limit = Limit {
            until: search.until(),
            cancel,
        };
        let mut bus = Bus::open(&self.roots, limit)?;
        let owner = bus.owner(SERVICE, limit)?;
        let left_on = self.note.as_deref().and_then(Note::load);
        let left_on = left_on.filter(|note| note.is_of(bus.guid(), &owner));
        let found = receiver(&mut bus, owner, None, limit)?;
        let wanted = found.usable()?;
        search.reached();
        // What an earlier search of ours left on is ours to switch off.
        let left_on = left_on.filter(|note| note.path == found.path);
        let owed = left_on.unwrap_or_else(|| Note {
            bus: bus.guid().to_owned(),
            owner: found.owner.clone(),
            path: found.path.clone(),
            added: 0,
            signals: false,
        });
        let mut session = Session {
            driver: self,
            bus,
            found,
            wanted,
            owed,
            all_answered: true,
            limit,
        };
        let ended = session.fix(search, nmea);
        let Session {
            bus,
            owed,
            all_answered,
            ..
        } = session;
        // After a fault the connection may be out of step.
        let in_step = ended.is_ok().then_some(bus);
        if owed.added != 0 && self.switched_off(in_step, &owed) && all_answered {
            self.forget();
        }
        ended
    }

    /// Takes away what was added, whoever has ended the search; whether that was done.
    fn switched_off(&self, bus: Option<Bus>, owed: &Note) -> bool {
        let cancel = Cancel::new();
        let limit = Limit {
            until: Instant::now() + OFF_TIME,
            cancel: &cancel,
        };
        let off = || {
            let mut bus = match bus {
                Some(bus) => bus,
                None => Bus::open(&self.roots, limit)?,
            };
            // Others may have switched something on or off meanwhile.
            let now = receiver(&mut bus, owed.owner.clone(), Some(&owed.path), limit)?;
            now.switch_off(&mut bus, owed, limit)
        };
        match off() {
            // Where the modem has gone, its receiver has gone with it.
            Ok(()) | Err(Fault::Absent(_)) => true,
            Err(fault) => {
                tracing::warn!(%fault, "the modem's receiver may still be on");
                false
            }
        }
    }

    fn remember(&self, owed: &Note) {
        let Some(path) = &self.note else { return };
        if let Err(error) = owed.store(path) {
            tracing::debug!(%error, "a crash would leave the modem's receiver on");
        }
    }

    fn forget(&self) {
        if let Some(path) = &self.note {
            Note::remove(path);
        }
    }
}

impl PositionSource for ModemManager {
    fn name(&self) -> &'static str {
        "modem-manager"
    }

    fn probe(&self) -> Probe {
        match self.probed() {
            Ok(detail) => Probe::Ready { detail },
            Err(fault) => Probe::Unsupported {
                reason: fault.to_string(),
            },
        }
    }

    fn locate(&mut self, deadline: Duration, cancel: &Cancel) -> Result<Fix, Fault> {
        let mut nmea = NmeaReader::new();
        Search::new("modem-manager", deadline)
            .over(cancel, |search| self.session(search, &mut nmea, cancel))
    }
}

impl Session<'_> {
    /// Looks until two readings agree. Where others switch the receiver off meanwhile, it is switched on again.
    fn fix(&mut self, search: &mut Search, nmea: &mut NmeaReader) -> Result<Fix, Fault> {
        let limit = self.limit;
        // What a receiver that was on before shows at first may be hours old.
        let mut seen = match self.found.enabled & self.wanted {
            0 => None,
            _ => self.found.look(&mut self.bus, limit)?.map(|shown| {
                let _ = shown.reading(nmea, search.elapsed());
                shown.instant
            }),
        };
        self.switch_on()?;
        for looks in 1_u32.. {
            if let Some(shown) = self.found.look(&mut self.bus, limit)?
                && seen.as_ref() != Some(&shown.instant)
            {
                if let Some(fix) = shown
                    .reading(nmea, search.elapsed())
                    .and_then(|reading| search.offer(reading))
                {
                    return Ok(fix);
                }
                seen = Some(shown.instant);
            }
            limit
                .cancel
                .rest((Instant::now() + POLL).min(limit.until))?;
            if Instant::now() >= limit.until {
                break;
            }
            if looks.is_multiple_of(LOOKS_PER_CHECK) {
                let (owner, path) = (self.owed.owner.clone(), Some(&*self.owed.path));
                self.found = receiver(&mut self.bus, owner, path, limit)?;
                self.switch_on()?;
            }
        }
        Err(Fault::TimedOut("ModemManager: no fix".into()))
    }

    /// Switches on what is wanted and off; from now on it is ours to switch off.
    fn switch_on(&mut self) -> Result<(), Fault> {
        let missing = self.wanted & !self.found.enabled;
        if missing == 0 {
            return Ok(());
        }
        self.owed.added |= missing;
        self.owed.signals |= self.found.signals;
        self.driver.remember(&self.owed);
        self.all_answered = false;
        self.found
            .switch_on(&mut self.bus, self.wanted, self.limit)?;
        self.all_answered = true;
        Ok(())
    }
}

/// What a receiver shows.
struct Shown {
    nmea: Option<String>,
    raw: Option<Reading>,
    /// Stands for the instant that it describes.
    instant: String,
}

impl Receiver {
    /// The sources to switch on: sentences, else ModemManager's own numbers.
    fn usable(&self) -> Result<u32, Fault> {
        if self.enabled & GPS_UNMANAGED != 0 {
            let why = "the modem's receiver is set to be read by another program".to_owned();
            return Err(Fault::Busy(why));
        }
        Ok(match self.capabilities & GPS_NMEA {
            0 => GPS_RAW,
            nmea => nmea,
        })
    }

    fn callee(&self) -> Callee<'_> {
        Callee {
            service: &self.owner,
            path: &self.path,
            interface: LOCATION,
        }
    }

    /// Switches on `bits`; meanwhile no position is signalled, whoever wanted signals of a coarser source.
    fn switch_on(&self, bus: &mut Bus, bits: u32, limit: Limit<'_>) -> Result<(), Fault> {
        let body = vec![Value::number(self.enabled | bits), Value::Bool(false)];
        self.set_up(bus, body, limit)
    }

    /// Switches off what was added, said also where it looks off: a request of ours that was not answered may be on its way.
    fn switch_off(&self, bus: &mut Bus, owed: &Note, limit: Limit<'_>) -> Result<(), Fault> {
        let mask = Value::number(self.enabled & !owed.added);
        let signals = Value::Bool(self.signals || owed.signals);
        self.set_up(bus, vec![mask, signals], limit)
    }

    /// `Setup` replaces the whole mask and whether positions are signalled.
    fn set_up(&self, bus: &mut Bus, body: Vec<Value>, limit: Limit<'_>) -> Result<(), Fault> {
        bus.call(self.callee(), "Setup", body, limit).map(drop)
    }

    fn look(&self, bus: &mut Bus, limit: Limit<'_>) -> Result<Option<Shown>, Fault> {
        let found = location(bus, (&self.owner, &self.path), limit)?;
        let nmea = shown(&found, GPS_NMEA).and_then(Value::as_text);
        let nmea = nmea.filter(|text| !text.is_empty());
        let raw = shown(&found, GPS_RAW);
        let instant = match (nmea, raw) {
            (Some(text), _) => text,
            (None, Some(raw)) => raw.get("utc-time").and_then(Value::as_text).unwrap_or(""),
            (None, None) => return Ok(None),
        };
        Ok(Some(Shown {
            instant: instant.to_owned(),
            nmea: nmea.map(str::to_owned),
            raw: raw.and_then(numbers),
        }))
    }
}

/// What a modem shows of its location, for each source that is on.
pub(super) fn location(
    bus: &mut Bus,
    (owner, path): (&str, &str),
    limit: Limit<'_>,
) -> Result<Value, Fault> {
    let callee = Callee {
        service: owner,
        path,
        interface: LOCATION,
    };
    bus.call(callee, "GetLocation", Vec::new(), limit)
}

/// Of that, what one source shows.
pub(super) fn shown(location: &Value, source: u32) -> Option<&Value> {
    let mut entries = location.entries();
    let entry = entries.find(|(key, _)| key.as_u32() == Some(source));
    entry.map(|(_, value)| value)
}

/// ModemManager's own numbers.
fn numbers(raw: &Value) -> Option<Reading> {
    let degrees = |key| raw.get(key).and_then(Value::as_f64);
    Some(Reading {
        at: Duration::ZERO,
        // ModemManager gives the time of day alone.
        time_unix_ms: None,
        latitude_deg: degrees("latitude")?,
        longitude_deg: degrees("longitude")?,
        radius_m: None,
        hdop: None,
        satellites: None,
        altitude_m: degrees("altitude"),
        speed_m_s: None,
        course_deg: None,
    })
}

impl Shown {
    fn reading(&self, nmea: &mut NmeaReader, at: Duration) -> Option<Reading> {
        let Some(text) = &self.nmea else {
            return self.raw.map(|raw| Reading { at, ..raw });
        };
        // ModemManager keeps the newest sentence of each kind; the last whole epoch among them is the newest.
        let mut newest = None;
        for line in text.lines() {
            newest = nmea.take(line.as_bytes(), at).or(newest);
        }
        nmea.finish(at).or(newest)
    }
}

/// Everything that ModemManager knows: object, interface, property.
pub(super) fn objects(bus: &mut Bus, owner: &str, limit: Limit<'_>) -> Result<Value, Fault> {
    let callee = Callee {
        service: owner,
        path: ROOT,
        interface: OBJECTS,
    };
    bus.call(callee, "GetManagedObjects", Vec::new(), limit)
}

/// The first modem with a receiver, or the one at `only`.
fn receiver(
    bus: &mut Bus,
    owner: String,
    only: Option<&str>,
    limit: Limit<'_>,
) -> Result<Receiver, Fault> {
    let objects = objects(bus, &owner, limit)?;
    if objects.elements().is_empty() {
        return Err(Fault::Absent("ModemManager knows no modem".into()));
    }
    let mut all: Vec<(&str, &Value)> = objects
        .entries()
        .filter_map(|(path, interfaces)| Some((path.as_text()?, interfaces)))
        .collect();
    all.sort_by_key(|(path, _)| *path);
    for (path, interfaces) in all {
        let Some(location) = interfaces.get(LOCATION) else {
            continue;
        };
        let number = |name| location.get(name).and_then(Value::as_u32).unwrap_or(0);
        let capabilities = number("Capabilities");
        let is_meant = only.is_none_or(|only| only == path);
        if capabilities & (GPS_NMEA | GPS_RAW) == 0 || !is_meant {
            continue;
        }
        let model = interfaces.get(MODEM).and_then(|modem| modem.get("Model"));
        let model = model.and_then(Value::as_text);
        return Ok(Receiver {
            owner,
            path: path.to_owned(),
            model: model.unwrap_or("modem of unknown model").to_owned(),
            capabilities,
            enabled: number("Enabled"),
            signals: location.get("SignalsLocation").is_some_and(Value::is_true),
        });
    }
    let why = "no modem of ModemManager's has a satellite receiver";
    Err(Fault::Absent(why.into()))
}

/// A property of an object.
///
/// # Errors
/// As [`Bus::call`].
pub(super) fn property(
    bus: &mut Bus,
    (owner, path): (&str, &str),
    (interface, name): (&str, &str),
    limit: Limit<'_>,
) -> Result<Value, Fault> {
    let callee = Callee {
        service: owner,
        path,
        interface: PROPERTIES,
    };
    let question = vec![Value::text(interface), Value::text(name)];
    bus.call(callee, "Get", question, limit)
}
