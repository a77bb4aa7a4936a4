//! What is around the phone as a question in the customary JSON form of geolocation services, and their answer as a fix. Pure.

use std::fmt;

use super::super::dbus::value::Value;
use crate::capability::gate::SMALLEST_RADIUS_M;
use crate::capability::position::Fix;
use crate::fault::Fault;
use homing_protocol::measure::{Position, PositionSource};
use serde::{Deserialize, Serialize};

/// Access points in a question, the strongest ones: more change no answer.
const MOST_TOLD: usize = 20;
/// A single access point may be on a bus; services ask for two.
const FEWEST_ACCESS_POINTS: usize = 2;
/// Largest radius that is an answer, metres: a cell reaches 35 km (3GPP TS 45.010, timing advance); more is a country.
const LARGEST_RADIUS_M: f64 = 35_000.0;

/// One access point. Its name is never told.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessPoint {
    mac_address: String,
    /// dBm.
    signal_strength: i32,
}

/// The cell that a modem is registered in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cell {
    radio_type: &'static str,
    mobile_country_code: u16,
    mobile_network_code: u16,
    location_area_code: u32,
    cell_id: u64,
}

/// Everything around.
pub(super) struct Around {
    pub(super) cells: Vec<Cell>,
    pub(super) access_points: Vec<AccessPoint>,
}

/// What is around tells where the phone is: shown is only how much there is.
impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cells, points) = (self.cells.len(), self.access_points.len());
        write!(f, "{cells} cells and {points} access points around")
    }
}

impl AccessPoint {
    /// From NetworkManager's properties; `None` for one that moves about or does not wish to be known.
    pub(super) fn read(properties: &Value) -> Option<Self> {
        let name = properties
            .get("Ssid")
            .and_then(Value::as_bytes)
            .unwrap_or_default();
        // The customary mark of those who opt out; who hides the name has opted out too.
        if name.is_empty() || name.ends_with(b"_nomap") {
            return None;
        }
        let mac = properties.get("HwAddress")?.as_text()?;
        let bytes: Option<Vec<u8>> = mac
            .split(':')
            .map(|part| u8::from_str_radix(part, 16).ok())
            .collect();
        // The bit of addresses that were made up: phones that share their connection have such.
        let fixed = bytes.filter(|bytes| bytes.len() == 6 && bytes.iter().any(|byte| *byte != 0));
        fixed.filter(|bytes| bytes.first().is_some_and(|first| first & 0b11 == 0))?;
        let percent = properties.get("Strength")?.as_u32()?.min(100);
        Some(Self {
            mac_address: mac.to_ascii_lowercase(),
            // NetworkManager's own scale: 100 % are −50 dBm or more, 0 % are −100 dBm.
            signal_strength: i32::try_from(percent).ok()? / 2 - 100,
        })
    }
}

impl Cell {
    /// From ModemManager's `MCC,MNC,LAC,CI,TAC` (the last three in hexadecimal digits) and its access technologies.
    pub(super) fn read(text: &str, technologies: u32) -> Option<Self> {
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let hexadecimal = |index: usize| u64::from_str_radix(fields.get(index)?, 16).ok();
        // MM_MODEM_ACCESS_TECHNOLOGY_*: 5G is bit 15, LTE 14, UMTS to HSPA+ 5 to 9.
        let (radio_type, area) = match technologies {
            bits if bits & 1 << 15 != 0 => ("nr", hexadecimal(4)),
            bits if bits & 1 << 14 != 0 => ("lte", hexadecimal(4)),
            bits if bits & 0b11_1110_0000 != 0 => ("wcdma", hexadecimal(2)),
            _ => ("gsm", hexadecimal(2)),
        };
        let cell_id = hexadecimal(3).filter(|id| *id != 0)?;
        Some(Self {
            radio_type,
            mobile_country_code: fields.first()?.parse().ok().filter(|code| *code != 0)?,
            mobile_network_code: fields.get(1)?.parse().ok()?,
            location_area_code: u32::try_from(area?).ok()?,
            cell_id,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    /// The address that the question comes from is that of a mobile network's gateway, far away.
    consider_ip: bool,
    cell_towers: &'a [Cell],
    wifi_access_points: Vec<&'a AccessPoint>,
}

#[derive(Deserialize)]
struct Answer {
    location: Location,
    accuracy: f64,
    fallback: Option<String>,
}

#[derive(Deserialize)]
struct Location {
    lat: f64,
    lng: f64,
}

impl Around {
    /// The question; `None` when there is too little to ask about.
    pub(super) fn question(&self) -> Option<Vec<u8>> {
        let points = self.told();
        if points.is_empty() && self.cells.is_empty() {
            return None;
        }
        serde_json::to_vec(&Question {
            consider_ip: false,
            cell_towers: &self.cells,
            wifi_access_points: points,
        })
        .ok()
    }

    fn told(&self) -> Vec<&AccessPoint> {
        if self.access_points.len() < FEWEST_ACCESS_POINTS {
            return Vec::new();
        }
        let mut points: Vec<_> = self.access_points.iter().collect();
        points.sort_by_key(|point| (-point.signal_strength, &point.mac_address));
        points.dedup_by_key(|point| &point.mac_address);
        points.truncate(MOST_TOLD);
        points
    }

    /// The service's answer as a fix.
    ///
    /// # Errors
    /// [`Fault::Broken`] when it is none, or none that rests on what was asked about.
    pub(super) fn fix(&self, answer: &[u8]) -> Result<Fix, Fault> {
        let broken = |why: &str| Fault::Broken(format!("the geolocation service's answer {why}"));
        let answer: Answer =
            serde_json::from_slice(answer).map_err(|_| broken("cannot be read"))?;
        if answer.fallback.as_deref() == Some("ipf") {
            return Err(broken("rests on the network's address alone"));
        }
        let Location { lat, lng } = answer.location;
        // No number that is none passes a range.
        let on_earth = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lng);
        if !on_earth || (lat == 0.0 && lng == 0.0) {
            return Err(broken("is no place on Earth"));
        }
        if !(0.0..=LARGEST_RADIUS_M).contains(&answer.accuracy) {
            return Err(broken("has no radius that could help to find a phone"));
        }
        let by_cell = self.told().is_empty() || answer.fallback.is_some();
        Ok(Fix {
            satellites: None,
            position: Position {
                // Now; the phone's clock is not this driver's to read.
                time_unix_ms: None,
                latitude_e7: scaled(lat, 1e7),
                longitude_e7: scaled(lng, 1e7),
                accuracy_dm: scaled(answer.accuracy.max(SMALLEST_RADIUS_M).ceil(), 10.0)
                    .unsigned_abs(),
                altitude_dm: None,
                speed_cm_s: None,
                course_cdeg: None,
                source: match by_cell {
                    true => PositionSource::Cell,
                    false => PositionSource::Wifi,
                },
                age_s: 0,
            },
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the values were checked to lie within the Earth's degrees and a cell's reach"
)]
fn scaled(value: f64, scale: f64) -> i32 {
    (value * scale).round() as i32
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;
