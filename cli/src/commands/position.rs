//! A position of a phone, for people and for programs. Asks no phone and stores nothing.
use super::Context;
use crate::clock::UnixMs;
use crate::duration::ago;
use crate::error::Error;
use crate::output::{Tone, harmless};
use crate::store::{DeviceRow, Store};
use homing_protocol::measure::{Position, PositionSource};
use serde_json::{Value, json};
use std::time::Duration;

/// A position with the number under which the phone reported it.
pub(super) struct Found {
    pub(super) number: u64,
    position: Position,
}

/// The newest stored position, or the one with this number.
pub(super) fn position(
    store: &Store,
    row: &DeviceRow,
    number: Option<u64>,
) -> Result<Option<Found>, Error> {
    let account = store.account()?;
    let Some(phone) = row.phone(account.id, &account.root)? else {
        return Ok(None);
    };
    let Some(bytes) = store.report(row.id, number)? else {
        return Ok(None);
    };
    let report = phone.hear_report(&bytes, &account.client.reading)?;
    let index = number.map_or(report.positions.len() as u64 - 1, |number| {
        number - report.first
    });
    let position = usize::try_from(index)
        .ok()
        .and_then(|index| report.positions.get(index).copied());
    Ok(position.map(|position| Found {
        number: report.first + index,
        position,
    }))
}

impl Found {
    /// Its age now, seconds: the phone's word on it is from when it reported, by now it is older.
    fn age_s(&self) -> u64 {
        let told = u64::from(self.position.age_s);
        let time = self.position.time_unix_ms.map(UnixMs);
        time.map_or(told, |time| {
            u64::try_from(UnixMs::now().0.saturating_sub(time.0) / 1_000)
                .unwrap_or(0)
                .max(told)
        })
    }

    /// One line: where, how exact, when.
    pub(super) fn line(&self, context: &Context) -> String {
        let position = &self.position;
        let place = format!(
            "{}, {}",
            degrees(position.latitude_e7),
            degrees(position.longitude_e7)
        );
        let when = position.time_unix_ms.map(UnixMs).map_or_else(
            || "at an unknown time".to_owned(),
            |time| format!("at {}", time.short(UnixMs::now())),
        );
        format!(
            "{} ± {} m (95 %), {when}, {} ago, source {}",
            context.out.toned(Tone::Good, &place),
            position.accuracy_dm.div_ceil(10),
            ago(Duration::from_secs(self.age_s())),
            source(position.source),
        )
    }

    /// Where it lies on a map.
    pub(super) fn link(&self) -> String {
        let (latitude, longitude) = (
            degrees(self.position.latitude_e7),
            degrees(self.position.longitude_e7),
        );
        format!(
            "https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=17/{latitude}/{longitude}"
        )
    }

    /// As `--json` prints it.
    pub(super) fn json(&self, row: &DeviceRow) -> Value {
        let position = &self.position;
        json!({
            "device": row.id.to_string(),
            "name": row.name,
            "number": self.number,
            "time": position.time_unix_ms.map(|time| UnixMs(time).rfc3339()),
            "age_s": self.age_s(),
            "latitude": f64::from(position.latitude_e7) / 1e7,
            "longitude": f64::from(position.longitude_e7) / 1e7,
            "accuracy_m": f64::from(position.accuracy_dm) / 10.0,
            "altitude_m": position.altitude_dm.map(|value| f64::from(value) / 10.0),
            "speed_m_s": position.speed_cm_s.map(|value| f64::from(value) / 100.0),
            "course_deg": position.course_cdeg.map(|value| f64::from(value) / 100.0),
            "source": source(position.source),
        })
    }

    pub(super) fn print(&self, context: &Context, row: &DeviceRow) -> Result<(), Error> {
        let (line, link) = (self.line(context), self.link());
        let text = format!("{}: {line}\n{link}", harmless(&row.name));
        context.out.both(&text, &self.json(row))
    }
}

/// The word for where a position comes from.
pub(crate) fn source(source: PositionSource) -> &'static str {
    match source {
        PositionSource::Gnss => "gnss",
        PositionSource::Wifi => "wifi",
        PositionSource::Cell => "cell",
        PositionSource::LastKnown => "last-known",
    }
}

/// Scaled integers as decimal degrees, exactly.
pub(crate) fn degrees(e7: i32) -> String {
    let sign = if e7 < 0 { "-" } else { "" };
    let whole = e7.unsigned_abs();
    format!("{sign}{}.{:07}", whole / 10_000_000, whole % 10_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_of_any_time_whatever_is_shown() {
        for time in [i64::MIN, -1, 0, 253_402_300_799_999, i64::MAX] {
            let found = Found {
                number: 1,
                position: Position {
                    time_unix_ms: Some(time),
                    latitude_e7: i32::MIN,
                    longitude_e7: i32::MAX,
                    accuracy_dm: u32::MAX,
                    altitude_dm: None,
                    speed_cm_s: None,
                    course_cdeg: None,
                    source: PositionSource::Gnss,
                    age_s: u32::MAX,
                },
            };
            assert!(found.age_s() >= u64::from(u32::MAX));
            assert!(!UnixMs(time).short(UnixMs::now()).is_empty());
            assert!(!ago(Duration::from_secs(found.age_s())).is_empty());
        }
    }

    #[test]
    fn degrees_are_printed_exactly() {
        for (e7, text) in [
            (525_200_066, "52.5200066"),
            (-1, "-0.0000001"),
            (0, "0.0000000"),
            (-1_800_000_000, "-180.0000000"),
        ] {
            assert_eq!(degrees(e7), text);
        }
    }
}
