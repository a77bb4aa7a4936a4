//! NMEA 0183 sentences of a satellite receiver into readings, one for each epoch. Pure; a sentence without a right checksum says nothing.

use std::time::Duration;

use crate::capability::gate::Reading;

/// One knot in m/s: a nautical mile (1,852 m) an hour.
const KNOT_M_S: f64 = 1852.0 / 3600.0;
/// Milliseconds in a day.
const DAY_MS: i64 = 86_400_000;
/// 2026-01-01, before the first version of this program: a receiver that shows less has lost count of the GPS weeks.
const EARLIEST_RIGHT_TIME_MS: i64 = 1_767_225_600_000;

/// Whether a sentence of the epoch denied that there is a fix.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Fixed {
    #[default]
    Unsaid,
    Yes,
    No,
}

/// What the sentences of one instant have said so far.
#[derive(Clone, Copy, Default)]
struct Epoch {
    /// Time of day, milliseconds.
    time_ms: i64,
    /// Milliseconds since 1970 at the day's beginning.
    day_ms: Option<i64>,
    fixed: Fixed,
    place: Option<(f64, f64)>,
    hdop: Option<f64>,
    satellites: Option<u8>,
    altitude_m: Option<f64>,
    speed_m_s: Option<f64>,
    course_deg: Option<f64>,
    /// Sentences with motion (RMC) and with quality (GGA, GNS) were seen.
    motion: bool,
    quality: bool,
    /// Its reading was returned.
    given: bool,
}

/// Collects the sentences of each epoch.
#[derive(Default)]
pub struct NmeaReader {
    epoch: Option<Epoch>,
}

/// Positions are personal: debug output never carries one.
impl std::fmt::Debug for NmeaReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NmeaReader(redacted)")
    }
}

impl NmeaReader {
    /// A reader that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one sentence (without its line feed) that arrived `at`. It returns the reading of an epoch once motion and
    /// quality are both known, or once the next epoch begins.
    pub fn take(&mut self, line: &[u8], at: Duration) -> Option<Reading> {
        let (kind, fields) = sentence(line)?;
        let time_ms = time_of_day_ms(fields.get(1)?)?;
        let before = self.epoch.filter(|epoch| epoch.time_ms != time_ms);
        if self.epoch.is_none() || before.is_some() {
            self.epoch = Some(Epoch {
                time_ms,
                ..Epoch::default()
            });
        }
        let epoch = self.epoch.as_mut()?;
        match kind {
            Kind::Motion => epoch.motion(&fields),
            Kind::Fix => epoch.fix(&fields),
            Kind::Modes => epoch.modes(&fields),
        }
        if epoch.motion && epoch.quality && !epoch.given {
            epoch.given = true;
            return epoch.reading(at);
        }
        // A receiver that leaves out one of the two is heard an epoch later.
        before
            .filter(|before| !before.given)
            .and_then(|before| before.reading(at))
    }

    /// The reading of the epoch in progress, where no further sentence is to be expected.
    pub fn finish(&mut self, at: Duration) -> Option<Reading> {
        let epoch = self.epoch.as_mut()?;
        let given = std::mem::replace(&mut epoch.given, true);
        epoch.reading(at).filter(|_| !given)
    }
}

impl Epoch {
    fn say(&mut self, fixed: bool) {
        self.fixed = match (self.fixed, fixed) {
            (Fixed::No, _) | (_, false) => Fixed::No,
            (_, true) => Fixed::Yes,
        };
    }

    /// RMC: time, status, latitude, N/S, longitude, E/W, speed in knots, course, date, variation, E/W, mode.
    fn motion(&mut self, fields: &[&str]) {
        self.motion = true;
        let mode = fields.get(12).copied().unwrap_or("");
        self.say(fields.get(2) == Some(&"A") && !matches!(mode, "N" | "E" | "M" | "S"));
        self.place = place(fields, 3).or(self.place);
        self.speed_m_s = number(fields, 7).map(|knots| knots * KNOT_M_S);
        self.course_deg = number(fields, 8);
        self.day_ms = fields.get(9).and_then(|date| day_ms(date));
    }

    /// GGA: time, latitude, N/S, longitude, E/W, quality, satellites, dilution, altitude, M.
    fn fix(&mut self, fields: &[&str]) {
        // 0 is no fix; 6 to 8 are estimated, typed in, simulated.
        let quality = fields.get(6).copied().unwrap_or("");
        self.say(matches!(quality, "1" | "2" | "3" | "4" | "5"));
        self.quality(fields);
    }

    /// GNS: as GGA, but with a letter for each constellation in place of the quality.
    fn modes(&mut self, fields: &[&str]) {
        let modes = fields.get(6).copied().unwrap_or("");
        self.say(modes.contains(['A', 'D', 'P', 'R', 'F']));
        self.quality(fields);
    }

    fn quality(&mut self, fields: &[&str]) {
        self.quality = true;
        self.place = place(fields, 2).or(self.place);
        self.satellites = fields.get(7).and_then(|used| used.parse().ok());
        self.hdop = number(fields, 8);
        self.altitude_m = number(fields, 9);
    }

    fn reading(&self, at: Duration) -> Option<Reading> {
        let (latitude_deg, longitude_deg) = self.place.filter(|_| self.fixed == Fixed::Yes)?;
        let time_unix_ms = self.day_ms.map(|day| day + self.time_ms);
        Some(Reading {
            at,
            time_unix_ms: time_unix_ms.filter(|time| *time >= EARLIEST_RIGHT_TIME_MS),
            latitude_deg,
            longitude_deg,
            radius_m: None,
            hdop: self.hdop,
            satellites: self.satellites,
            altitude_m: self.altitude_m,
            speed_m_s: self.speed_m_s,
            course_deg: self.course_deg,
        })
    }
}

/// The sentences that matter; all others pass by.
#[derive(Clone, Copy)]
enum Kind {
    Motion,
    Fix,
    Modes,
}

/// Splits a sentence whose checksum is right; field 0 is its name.
fn sentence(line: &[u8]) -> Option<(Kind, Vec<&str>)> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    // Whatever stands before the dollar sign is the rest of a sentence that was cut.
    let (_, text) = text.rsplit_once('$')?;
    let (body, sum) = text.split_once('*')?;
    let stated = u8::from_str_radix(sum, 16)
        .ok()
        .filter(|_| sum.len() == 2)?;
    if body.bytes().fold(0, |sum, byte| sum ^ byte) != stated {
        return None;
    }
    let fields: Vec<&str> = body.split(',').collect();
    // Two letters for the constellation, three for the kind.
    let name = fields.first().filter(|name| name.len() == 5)?;
    let kind = match name.get(2..)? {
        "RMC" => Kind::Motion,
        "GGA" => Kind::Fix,
        "GNS" => Kind::Modes,
        _ => return None,
    };
    Some((kind, fields))
}

/// A decimal number; neither exponents nor words such as `inf`.
fn number(fields: &[&str], index: usize) -> Option<f64> {
    decimal(fields.get(index)?)
}

fn decimal(text: &str) -> Option<f64> {
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    text.bytes().all(plain).then(|| text.parse().ok()).flatten()
}

/// Latitude, hemisphere, longitude, hemisphere from the field `first` on, in degrees.
fn place(fields: &[&str], first: usize) -> Option<(f64, f64)> {
    let latitude = angle(fields.get(first)?, 90.0)?;
    let longitude = angle(fields.get(first + 2)?, 180.0)?;
    let north = sign(fields.get(first + 1)?, ["N", "S"])?;
    let east = sign(fields.get(first + 3)?, ["E", "W"])?;
    Some((latitude * north, longitude * east))
}

fn sign(letter: &str, [positive, negative]: [&str; 2]) -> Option<f64> {
    match letter {
        _ if letter == positive => Some(1.0),
        _ if letter == negative => Some(-1.0),
        _ => None,
    }
}

/// Degrees from whole degrees with two digits of minutes and their fraction behind them.
fn angle(text: &str, most: f64) -> Option<f64> {
    let point = text.find('.').unwrap_or(text.len());
    let (degrees, minutes) = text.split_at_checked(point.checked_sub(2)?)?;
    let minutes = decimal(minutes).filter(|minutes| (0.0..60.0).contains(minutes))?;
    let degrees = f64::from(degrees.parse::<u16>().ok()?) + minutes / 60.0;
    (degrees <= most).then_some(degrees)
}

/// `hhmmss[.sss]` as milliseconds of the day; a leap second counts as the last millisecond before it.
fn time_of_day_ms(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let [hour, minute, second] = pairs(whole)?;
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    let milliseconds: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let in_range = hour < 24 && minute < 60 && second <= 60 && digits;
    let all = ((hour * 60 + minute) * 60 + second) * 1000 + milliseconds;
    in_range.then_some(all.min(DAY_MS - 1))
}

/// `ddmmyy` as the day's first millisecond since 1970.
fn day_ms(text: &str) -> Option<i64> {
    let [day, month, year] = pairs(text)?;
    super::gpsd::time::unix_ms(&format!("20{year:02}-{month:02}-{day:02}T00:00:00Z"))
}

/// Three numbers of two digits each.
fn pairs(text: &str) -> Option<[i64; 3]> {
    if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let pair = |at: usize| text.get(at..at + 2)?.parse().ok();
    Some([pair(0)?, pair(2)?, pair(4)?])
}

#[cfg(test)]
#[path = "nmea_tests.rs"]
mod tests;
