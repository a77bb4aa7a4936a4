//! The quality gate: which of a receiver's successive readings may be called the phone's position. Pure: no clock, no I/O.
//!
//! The first fix of a real `PinePhone` log carried 62 m/s while the phone lay still, so one reading is never believed alone: two of different epochs have to agree. What stays unconfirmed until the deadline is reported all the same, with a radius that admits the doubt.

use std::fmt;
use std::time::Duration;

use homing_protocol::measure::{Position, PositionSource};

use super::position::Fix;

/// Largest horizontal dilution of precision of a good reading: up to 5 is rated "good" in the customary table (excellent ≤ 2, good ≤ 5, moderate ≤ 10; Langley, "Dilution of Precision", GPS World, May 1999, and the receivers' manuals since).
pub const GOOD_HDOP: f64 = 5.0;
/// Fewest satellites of a good reading: four solve for place and clock, the fifth is the least with which a wrong range shows at all (RAIM fault detection, RTCA DO-229).
pub const GOOD_SATELLITES: u8 = 5;
/// Largest stated radius of a good reading, metres: what US emergency calls ask of a located handset (47 CFR 9.10(h), 50 m).
pub const GOOD_RADIUS_M: f64 = 50.0;
/// Smallest radius that is ever reported, metres: smartphones are off by 4.9 m on average under open sky (GPS.gov, "GPS Accuracy", after van Diggelen and Enge 2015); for a circular normal distribution 95 % lie within 1.95 times the mean error.
pub const SMALLEST_RADIUS_M: f64 = 9.6;
/// Range error of an uncorrected civil receiver at 95 %, metres: gpsd's `H_UERE_NO_DGPS` (include/gpsd.h). Times the dilution it gives a radius where the receiver states none.
pub const RANGE_ERROR_M: f64 = 15.0;
/// Dilution assumed where the receiver states neither radius nor dilution: the upper end of "moderate" in the table of [`GOOD_HDOP`].
pub const ASSUMED_HDOP: f64 = 10.0;
/// Speed over ground beyond which a reading is nonsense, m/s: above the fastest airliner with the jet stream (358 m/s, 801 mph, 2019), below the 515 m/s where civil receivers stop (COCOM limit, 1,000 knots).
pub const FASTEST_M_S: f64 = 400.0;
/// Change of speed that two agreeing readings may show, m/s²: 1 g, which is emergency braking on a dry road.
pub const STRONGEST_BRAKING_M_S2: f64 = 9.81;
/// Noise of a receiver's speed, m/s: a phone at rest indoors is reported with up to walking pace.
pub const SPEED_NOISE_M_S: f64 = 2.0;
/// Factor on the radius of a reading that nobody confirmed: from the 95 % (2.45 σ) of an honest circular error to 4.9 σ, which leaves room for the multipath that a confirmation would have shown.
pub const UNCONFIRMED_FACTOR: f64 = 2.0;
/// Least time between two readings that count as different epochs when the receiver does not date them: half of the 1 Hz at which phone receivers report.
pub const EPOCH_GAP: Duration = Duration::from_millis(500);
/// Mean radius of the Earth, metres (IUGG 1980, R1); the sphere is 0.5 % wrong at worst, which the distances here do not notice.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// One reading as a receiver states it, in the units of everyday; nothing about it has been checked.
#[derive(Clone, Copy, PartialEq)]
pub struct Reading {
    /// When it arrived, since the attempt began (monotonic).
    pub at: Duration,
    /// The receiver's own time, milliseconds since 1970-01-01 UTC.
    pub time_unix_ms: Option<i64>,
    /// Degrees, north positive.
    pub latitude_deg: f64,
    /// Degrees, east positive.
    pub longitude_deg: f64,
    /// Radius of 95 % as the receiver states it, metres.
    pub radius_m: Option<f64>,
    /// Horizontal dilution of precision.
    pub hdop: Option<f64>,
    /// Satellites used in the solution.
    pub satellites: Option<u8>,
    /// Height, metres.
    pub altitude_m: Option<f64>,
    /// Speed over ground, m/s.
    pub speed_m_s: Option<f64>,
    /// Course over ground, degrees from true north.
    pub course_deg: Option<f64>,
}

/// Positions are personal: debug output never carries one.
impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reading(at {:?}, redacted)", self.at)
    }
}

/// What the gate thinks of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Two good readings agree: this is the phone's position, nothing more is needed.
    Confirmed(Fix),
    /// Plausible and kept, but not confirmed yet.
    Waiting,
    /// Impossible, for this reason; it leaves no trace.
    Rejected(&'static str),
}

/// A reading that was kept, and how many later ones agreed with it.
#[derive(Clone, Copy)]
struct Kept {
    reading: Reading,
    support: u32,
}

/// The gate's memory of one attempt: at most two places that contradict each other.
#[derive(Default)]
pub struct Gate {
    held: Option<Kept>,
    rival: Option<Kept>,
}

/// Positions are personal: debug output never carries one.
impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate(holds {})", u8::from(self.held.is_some()))
    }
}

impl Gate {
    /// A gate that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges the next reading.
    pub fn offer(&mut self, reading: Reading) -> Verdict {
        if let Some(reason) = impossible(&reading) {
            return Verdict::Rejected(reason);
        }
        let Some(held) = self.held else {
            self.held = Some(Kept {
                reading,
                support: 0,
            });
            return Verdict::Waiting;
        };
        if same_epoch(&held.reading, &reading) {
            self.held = Some(Kept { reading, ..held });
            return Verdict::Waiting;
        }
        let follows_rival = self.rival.filter(|rival| {
            !same_epoch(&rival.reading, &reading) && agree(&rival.reading, &reading)
        });
        let support = match (agree(&held.reading, &reading), follows_rival) {
            (true, _) => held.support + 1,
            (false, Some(rival)) => rival.support + 1,
            (false, None) => return self.contradict(&held, reading),
        };
        // The place is settled between the two; whoever contradicted it was wrong.
        let before = follows_rival.map_or(held.reading, |rival| rival.reading);
        self.held = Some(Kept { reading, support });
        self.rival = None;
        match good(&before) && good(&reading) {
            true => Verdict::Confirmed(to_fix(&reading, radius_m(&reading), Duration::ZERO)),
            false => Verdict::Waiting,
        }
    }

    /// Keeps a reading that agrees with nothing as the rival, which the next reading may confirm.
    fn contradict(&mut self, held: &Kept, reading: Reading) -> Verdict {
        if held.support == 0 && self.rival.is_none() && !jumps(&held.reading, &reading) {
            // Neither has a witness: the newer one is taken on, the older one stays as the doubt.
            self.rival = self.held;
            self.held = Some(Kept {
                reading,
                support: 0,
            });
            return Verdict::Waiting;
        }
        self.rival = Some(Kept {
            reading,
            support: 0,
        });
        match jumps(&held.reading, &reading) {
            true => Verdict::Rejected("it is further away than anything travels in that time"),
            false => Verdict::Waiting,
        }
    }

    /// The best that was seen by `now` (since the attempt began), for the deadline: the reading with the most witnesses, its radius enlarged for want of confirmation and up to a rival that could be true.
    #[must_use]
    pub fn best(&self, now: Duration) -> Option<Fix> {
        let held = self.held?;
        let mut radius = radius_m(&held.reading) * UNCONFIRMED_FACTOR;
        if let Some(rival) = self.rival
            && !jumps(&held.reading, &rival.reading)
        {
            radius =
                radius.max(distance_m(&held.reading, &rival.reading) + radius_m(&rival.reading));
        }
        Some(to_fix(
            &held.reading,
            radius,
            now.saturating_sub(held.reading.at),
        ))
    }
}

/// Why a reading cannot be true on its own, if it cannot.
fn impossible(reading: &Reading) -> Option<&'static str> {
    if !reading.latitude_deg.is_finite() || !reading.longitude_deg.is_finite() {
        return Some("its place is not a number");
    }
    if reading.latitude_deg.abs() > 90.0 || reading.longitude_deg.abs() > 180.0 {
        return Some("its place is not on Earth");
    }
    if reading.latitude_deg == 0.0 && reading.longitude_deg == 0.0 {
        return Some("receivers without a fix state 0, 0");
    }
    match reading.speed_m_s {
        Some(speed) if !(0.0..=FASTEST_M_S).contains(&speed) => {
            Some("it moves faster than anything that carries a phone")
        }
        _ => None,
    }
}

/// Whether a reading is good by its own statements: no statement counts against it, none at all does.
fn good(reading: &Reading) -> bool {
    let hdop = finite(reading.hdop);
    let stated = finite(reading.radius_m);
    (hdop.is_some() || stated.is_some())
        && hdop.is_none_or(|hdop| hdop <= GOOD_HDOP)
        && stated.is_none_or(|radius| radius <= GOOD_RADIUS_M)
        && reading
            .satellites
            .is_none_or(|used| used >= GOOD_SATELLITES)
}

/// The radius of 95 % that a reading deserves, metres: the receiver's, else from the dilution, never below what phones reach.
fn radius_m(reading: &Reading) -> f64 {
    let stated = finite(reading.radius_m).filter(|radius| *radius > 0.0);
    let derived = finite(reading.hdop)
        .filter(|hdop| *hdop > 0.0)
        .unwrap_or(ASSUMED_HDOP)
        * RANGE_ERROR_M;
    stated.unwrap_or(derived).max(SMALLEST_RADIUS_M)
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// Whether two readings describe the same instant and so cannot confirm each other.
fn same_epoch(a: &Reading, b: &Reading) -> bool {
    match (a.time_unix_ms, b.time_unix_ms) {
        (Some(a), Some(b)) => a == b,
        _ => b.at.saturating_sub(a.at) < EPOCH_GAP,
    }
}

/// Seconds between two readings by the monotonic clock, at least the epoch gap: delayed lines arrive in bursts.
fn seconds_between(a: &Reading, b: &Reading) -> f64 {
    b.at.abs_diff(a.at).max(EPOCH_GAP).as_secs_f64()
}

/// How far apart two readings may lie by their errors alone, metres: independent errors add as squares.
fn tolerance_m(a: &Reading, b: &Reading) -> f64 {
    radius_m(a).hypot(radius_m(b))
}

/// Whether the way between two readings is longer than anything travels.
fn jumps(a: &Reading, b: &Reading) -> bool {
    distance_m(a, b) > FASTEST_M_S * seconds_between(a, b) + tolerance_m(a, b)
}

/// Whether two readings tell one story: the way between them fits the speeds, and the speeds fit each other.
fn agree(a: &Reading, b: &Reading) -> bool {
    let seconds = seconds_between(a, b);
    let way = distance_m(a, b);
    let (Some(speed_a), Some(speed_b)) = (finite(a.speed_m_s), finite(b.speed_m_s)) else {
        return way
            <= tolerance_m(a, b) + FASTEST_M_S.min(STRONGEST_BRAKING_M_S2 * seconds) * seconds;
    };
    let expected = f64::midpoint(speed_a, speed_b) * seconds;
    (speed_a - speed_b).abs() <= STRONGEST_BRAKING_M_S2 * seconds + SPEED_NOISE_M_S
        && (way - expected).abs() <= tolerance_m(a, b) + SPEED_NOISE_M_S * seconds
}

/// Distance over ground between two readings, metres (haversine on the mean sphere).
#[must_use]
pub fn distance_m(a: &Reading, b: &Reading) -> f64 {
    let (lat_a, lat_b) = (a.latitude_deg.to_radians(), b.latitude_deg.to_radians());
    let half_lat = (lat_b - lat_a) / 2.0;
    let half_lon = (b.longitude_deg - a.longitude_deg).to_radians() / 2.0;
    let chord = half_lat.sin().powi(2) + lat_a.cos() * lat_b.cos() * half_lon.sin().powi(2);
    2.0 * EARTH_RADIUS_M * chord.sqrt().min(1.0).asin()
}

/// A checked reading in the wire's scaled integers.
fn to_fix(reading: &Reading, radius_m: f64, age: Duration) -> Fix {
    let scaled =
        |value: Option<f64>, scale: f64| finite(value).map(|value| (value * scale).round());
    Fix {
        satellites: reading.satellites,
        position: Position {
            time_unix_ms: reading.time_unix_ms,
            latitude_e7: to_i32(reading.latitude_deg * 1e7),
            longitude_e7: to_i32(reading.longitude_deg * 1e7),
            // Rounded up: a radius must not promise more than was measured.
            accuracy_dm: to_u32((radius_m * 10.0).ceil()),
            altitude_dm: scaled(reading.altitude_m, 10.0).map(to_i32),
            speed_cm_s: scaled(reading.speed_m_s, 100.0).map(to_u32),
            course_cdeg: scaled(
                reading.course_deg.map(|course| course.rem_euclid(360.0)),
                100.0,
            )
            .map(|course| u16::try_from(to_u32(course) % 36_000).unwrap_or(0)),
            source: PositionSource::Gnss,
            age_s: u32::try_from(age.as_secs()).unwrap_or(u32::MAX),
        },
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a float-to-integer cast saturates, which is what a scaled measurement wants"
)]
fn to_i32(value: f64) -> i32 {
    value.round() as i32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float-to-integer cast saturates, which is what a scaled measurement wants"
)]
fn to_u32(value: f64) -> u32 {
    value.round() as u32
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
