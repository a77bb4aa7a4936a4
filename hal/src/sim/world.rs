//! The simulated phone's state and what time does to it. It has no I/O: instants come in as values.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::call::Call;
use super::card::{Card, Mixer, Mute, Route};
use super::request::{Attraction, Capability, Carrier, Fail, Flow, How, Lock, Price, Session, Set};
use super::screen::Screen;
use super::track::{Motion, Place, Track, noise_m};
use crate::capability::attention::Pulse;
use crate::capability::touch::Input;

/// Factor from the standard deviation on each axis to the circle of 95 % (√(−2 ln 0.05), Rayleigh).
const CIRCLE_95: f64 = 2.448;
/// How late a slow capability answers when nobody says.
const SLOW: Duration = Duration::from_secs(2);

/// What the receiver states at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statement {
    /// Where it believes to be, and how it moves.
    pub motion: Motion,
    /// Radius of 95 %, metres.
    pub radius_m: f64,
    /// Horizontal dilution of precision.
    pub hdop: f64,
    /// Satellites used.
    pub satellites: u8,
    /// Whole seconds since the world began: the epoch.
    pub epoch: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Sky {
    Open,
    Roof,
}

struct Receiver {
    sky: Sky,
    /// Since when the sky is as it is.
    since: Instant,
    noise_m: f64,
    first_fix: Duration,
    hdop: f64,
    satellites: u8,
}

/// A vibrator or a torch.
#[derive(Clone, Copy, Default, Serialize)]
struct Pulsing {
    on: bool,
    /// How many pulses have begun.
    pulses: u64,
}

struct Battery {
    percent: f64,
    charging: Flow,
    percent_per_hour: f64,
    since: Instant,
}

/// The phone.
pub struct World {
    began: Instant,
    seed: u64,
    track: Track,
    set_out: Instant,
    receiver: Receiver,
    battery: Battery,
    carrier: Carrier,
    price: Price,
    /// Counts the network's changes.
    network_version: u64,
    faults: BTreeMap<Capability, (How, Duration)>,
    /// The sound card.
    pub card: Card,
    /// Whether a siren gets the lock of the card's controls.
    pub lock: Lock,
    /// The panel, touch and keys.
    pub screen: Screen,
    /// The modem's newest call.
    pub call: Call,
    vibrator: Pulsing,
    torch: Pulsing,
    session: Session,
    /// The session as a lockdown found it, while one is in place.
    locked: Option<Session>,
    boot_id: String,
}

impl World {
    /// A phone that lies at `place` under an open sky, three quarters charged, on Wi-Fi, its speaker at 60 %. Times begin at `now`.
    #[must_use]
    pub fn new(seed: u64, place: Place, now: Instant) -> Self {
        let mixer = Mixer {
            volume: 60,
            mute: Mute::Off,
            route: Route::Speaker,
        };
        Self {
            began: now,
            seed,
            track: Track::at(place),
            set_out: now,
            receiver: Receiver {
                sky: Sky::Open,
                since: now,
                noise_m: 3.0,
                first_fix: Duration::from_secs(1),
                hdop: 0.9,
                satellites: 9,
            },
            battery: Battery {
                percent: 75.0,
                charging: Flow::Discharging,
                percent_per_hour: 0.0,
                since: now,
            },
            carrier: Carrier::Wifi,
            price: Price::No,
            network_version: 0,
            faults: BTreeMap::new(),
            card: Card::new(now, mixer),
            lock: Lock::Granted,
            screen: Screen::default(),
            call: Call::default(),
            vibrator: Pulsing::default(),
            torch: Pulsing::default(),
            session: Session::Open,
            locked: None,
            boot_id: format!("00000000-0000-4000-8000-{:012x}", seed & 0xffff_ffff_ffff),
        }
    }

    /// Changes the world.
    ///
    /// # Errors
    /// A sentence, when a value makes no sense; nothing is changed then.
    pub fn set(&mut self, set: Set, now: Instant) -> Result<(), String> {
        match set {
            Set::Position { .. } => self.set_position(&set, now),
            Set::Track {
                points,
                speed_m_s,
                repeat,
            } => {
                self.track = Track::along(points, speed_m_s, repeat)?;
                self.set_out = now;
                Ok(())
            }
            Set::Network { kind, metered } => {
                self.carrier = kind.unwrap_or(self.carrier);
                self.price = metered.unwrap_or(self.price);
                self.network_version += 1;
                Ok(())
            }
            Set::Battery {
                percent,
                charging,
                percent_per_hour,
            } => self.set_battery(percent, charging, percent_per_hour, now),
            Set::Mixer { volume, mute, lock } => {
                let mixer = self.card.mixer();
                let volume = volume.unwrap_or(mixer.volume);
                if volume > 100 {
                    return Err("the volume is a percentage: 0…100".into());
                }
                let mute = mute.unwrap_or(mixer.mute);
                self.lock = lock.unwrap_or(self.lock);
                self.card.set_by_user(
                    now,
                    Mixer {
                        volume,
                        mute,
                        ..mixer
                    },
                );
                Ok(())
            }
            Set::Route { to } => {
                let mixer = self.card.mixer();
                self.card.set(now, Mixer { route: to, ..mixer });
                Ok(())
            }
            Set::Session { to } => {
                self.session = to;
                self.screen.session_changed();
                Ok(())
            }
            Set::Call { to } => self.call.turn(to),
            Set::Ring { from } => self.call.ring(from),
            Set::Touch { x, y, phase } => self.screen.touched(x, y, phase),
            Set::Key { press } => {
                self.screen.input(Input::Key(press));
                Ok(())
            }
        }
    }

    fn set_position(&mut self, set: &Set, now: Instant) -> Result<(), String> {
        let Set::Position {
            lat,
            lon,
            indoors,
            noise_m,
            first_fix_ms,
            hdop,
            satellites,
        } = *set
        else {
            return Ok(());
        };
        let positive =
            |value: Option<f64>| value.is_none_or(|value| value.is_finite() && value >= 0.0);
        if !positive(noise_m) || !positive(hdop) {
            return Err("noise and dilution are numbers from 0 up".into());
        }
        match (lat, lon) {
            (Some(lat), Some(lon)) => {
                let place = Place::from([lat, lon]);
                if !place.is_on_earth() {
                    return Err("that is not on Earth: latitude −90…90, longitude −180…180".into());
                }
                self.track = Track::at(place);
            }
            (None, None) => {}
            _ => return Err("a place needs both lat and lon".into()),
        }
        let receiver = &mut self.receiver;
        receiver.noise_m = noise_m.unwrap_or(receiver.noise_m);
        receiver.hdop = hdop.unwrap_or(receiver.hdop);
        receiver.satellites = satellites.unwrap_or(receiver.satellites);
        receiver.first_fix = first_fix_ms.map_or(receiver.first_fix, Duration::from_millis);
        let sky = match indoors {
            Some(true) => Sky::Roof,
            Some(false) => Sky::Open,
            None => receiver.sky,
        };
        if sky != receiver.sky {
            receiver.sky = sky;
            receiver.since = now;
        }
        Ok(())
    }

    fn set_battery(
        &mut self,
        percent: Option<f64>,
        charging: Option<Flow>,
        rate: Option<f64>,
        now: Instant,
    ) -> Result<(), String> {
        if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            return Err("a charge is a percentage: 0…100".into());
        }
        if rate.is_some_and(|rate| !rate.is_finite()) {
            return Err("percent_per_hour is a number".into());
        }
        self.battery = Battery {
            percent: percent.unwrap_or_else(|| self.charge(now)),
            charging: charging.unwrap_or(self.battery.charging),
            percent_per_hour: rate.unwrap_or(self.battery.percent_per_hour),
            since: now,
        };
        Ok(())
    }

    fn charge(&self, now: Instant) -> f64 {
        let hours = now.duration_since(self.battery.since).as_secs_f64() / 3600.0;
        (self.battery.percent + self.battery.percent_per_hour * hours).clamp(0.0, 100.0)
    }

    /// Breaks or mends a capability.
    pub fn fail(&mut self, fail: Fail) {
        match fail.how {
            How::None => self.faults.remove(&fail.fail),
            how => self.faults.insert(
                fail.fail,
                (how, fail.ms.map_or(SLOW, Duration::from_millis)),
            ),
        };
        if fail.fail == Capability::Network {
            self.network_version += 1;
        }
    }

    /// How a capability fails now; the duration is that of `slow`.
    #[must_use]
    pub fn fault(&self, capability: Capability) -> Option<(How, Duration)> {
        self.faults.get(&capability).copied()
    }

    /// What the receiver states, if it has a fix: powered since `on`, under an open sky for long enough.
    #[must_use]
    pub fn statement(&self, on: Instant, now: Instant) -> Option<Statement> {
        let searching_since = on.max(self.receiver.since);
        if self.receiver.sky == Sky::Roof || now < searching_since + self.receiver.first_fix {
            return None;
        }
        let epoch = now.duration_since(self.began).as_secs();
        let mut motion = self.motion(now);
        let (east, north) = noise_m(self.seed, epoch, self.receiver.noise_m);
        motion.place = motion.place.moved(east, north);
        Some(Statement {
            motion,
            radius_m: (self.receiver.noise_m * CIRCLE_95).max(1.0),
            hdop: self.receiver.hdop,
            satellites: self.receiver.satellites,
            epoch,
        })
    }

    /// Where the phone truly is.
    #[must_use]
    pub fn motion(&self, now: Instant) -> Motion {
        self.track.after(now.duration_since(self.set_out))
    }

    /// How often the network changed.
    #[must_use]
    pub fn network_version(&self) -> u64 {
        self.network_version
    }

    /// The battery for its driver.
    #[must_use]
    pub fn battery(&self, now: Instant) -> Value {
        json!({"percent": self.charge(now).round(), "charging": self.battery.charging})
    }

    /// The network for its driver.
    #[must_use]
    pub fn network(&self) -> Value {
        json!({"kind": self.carrier, "metered": self.price, "version": self.network_version})
    }

    /// A driver begins or ends a pulse; the same again is no other one.
    pub fn pulse(&mut self, by: Attraction, pulse: Pulse) {
        let pulsing = match by {
            Attraction::Vibrator => &mut self.vibrator,
            Attraction::Torch => &mut self.torch,
        };
        let on = pulse == Pulse::On;
        pulsing.pulses += u64::from(on && !pulsing.on);
        pulsing.on = on;
    }

    /// A lockdown takes the session; what it finds the first time is what it will give back.
    pub fn lock(&mut self) {
        self.locked.get_or_insert(self.session);
        self.session = Session::Ended;
        self.screen.session_changed();
    }

    /// A lockdown gives back what it took.
    pub fn unlock(&mut self) {
        if let Some(found) = self.locked.take() {
            self.session = found;
            self.screen.session_changed();
        }
    }

    /// Whether the user has a session.
    #[must_use]
    pub fn session_now(&self) -> Session {
        self.session
    }

    /// The session for its driver.
    #[must_use]
    pub fn session(&self) -> Value {
        json!({"session": self.session, "locked": self.locked.is_some()})
    }

    /// What phone this is, for its driver.
    #[must_use]
    pub fn identity(&self) -> Value {
        json!({
            "model": "Homing simulated phone",
            "compatible": ["homing,simulated-phone"],
            "system": "Simulated Linux",
            "kernel": "0.0.0-simulated",
            "boot_id": self.boot_id,
        })
    }

    /// Everything, for a person or a test.
    #[must_use]
    pub fn everything(&self, now: Instant) -> Value {
        let motion = self.motion(now);
        let faults: BTreeMap<_, _> = self
            .faults
            .iter()
            .map(|(name, (how, _))| (name, how))
            .collect();
        json!({
            "position": {
                "lat": motion.place.latitude_deg,
                "lon": motion.place.longitude_deg,
                "speed_m_s": motion.speed_m_s,
                "course_deg": motion.course_deg,
                "indoors": self.receiver.sky == Sky::Roof,
                "noise_m": self.receiver.noise_m,
                "first_fix_ms": u64::try_from(self.receiver.first_fix.as_millis()).unwrap_or(u64::MAX),
                "hdop": self.receiver.hdop,
                "satellites": self.receiver.satellites,
            },
            "battery": self.battery(now),
            "network": self.network(),
            "mixer": self.card.mixer(),
            "siren": self.card.heard(now),
            "vibrator": self.vibrator,
            "torch": self.torch,
            "session": self.session,
            "screen": self.screen.described(self.session),
            "call": self.call,
            "identity": self.identity(),
            "faults": faults,
            "seed": self.seed,
        })
    }
}

#[cfg(test)]
mod tests;
