//! gpsd's lines into readings: `class` is looked at first, TPV and SKY go into `gpsd_proto`'s types, everything else is ignored. Pure.
//!
//! `gpsd_proto` reads whole responses and fails on what gpsd really sends (`Device.bps` is a `u16` there and 115200 does not fit; TOFF and ERROR are unknown), so DEVICE and its like never reach it.

use std::borrow::Cow;
use std::time::Duration;

use gpsd_proto::{Mode, Sky, Tpv};
use serde::Deserialize;

use super::time;
use crate::capability::gate::Reading;

/// What one line said.
#[derive(Debug)]
pub enum Message {
    /// A time, position and velocity report with a place in it.
    Place(Box<Tpv>),
    /// The receiver reports, and has no fix.
    NoFix,
    /// A view of the sky.
    Sky(SkyView),
    /// gpsd's greeting with its release.
    Version(String),
    /// Anything else, or nothing that can be read.
    Ignored,
}

/// What of the sky matters for a reading's quality.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SkyView {
    /// Horizontal dilution of precision.
    pub hdop: Option<f64>,
    /// Satellites used in the solution; `None` where the list is missing.
    pub satellites: Option<u8>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    class: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Greeting {
    release: Option<String>,
}

/// Reads one line (without its line feed). It never fails: what cannot be read is ignored.
#[must_use]
pub fn parse(line: &[u8]) -> Message {
    // gpsd answers in ASCII; anything else is not for us.
    let Ok(text) = std::str::from_utf8(line) else {
        return Message::Ignored;
    };
    match read(text) {
        Some(message) => message,
        // Numbers that are none are no JSON; the rest of such a line is still worth reading.
        None => read(&without_nan(text)).unwrap_or(Message::Ignored),
    }
}

fn read(text: &str) -> Option<Message> {
    let head: Head<'_> = serde_json::from_str(text).ok()?;
    match &*head.class {
        "TPV" => serde_json::from_str(text).ok().map(place),
        "SKY" => serde_json::from_str(text)
            .ok()
            .map(|sky| Message::Sky(view(&sky))),
        "VERSION" => {
            let greeting: Greeting = serde_json::from_str(text).ok()?;
            Some(Message::Version(
                greeting
                    .release
                    .unwrap_or_else(|| "of unknown release".into()),
            ))
        }
        _ => Some(Message::Ignored),
    }
}

fn place(tpv: Tpv) -> Message {
    match tpv.mode {
        Mode::Fix2d | Mode::Fix3d if tpv.lat.is_some() && tpv.lon.is_some() => {
            Message::Place(Box::new(tpv))
        }
        Mode::NoFix | Mode::Fix2d | Mode::Fix3d => Message::NoFix,
    }
}

fn view(sky: &Sky) -> SkyView {
    SkyView {
        hdop: sky.hdop.map(f64::from),
        satellites: sky.satellites.as_ref().map(|list| {
            let used = list.iter().filter(|satellite| satellite.used).count();
            u8::try_from(used).unwrap_or(u8::MAX)
        }),
    }
}

/// A position report and the sky it was measured under as a reading that arrived `at`; `None` without a place.
#[must_use]
pub fn reading(tpv: &Tpv, sky: SkyView, at: Duration) -> Option<Reading> {
    // epx and epy are 95 % along their axes; the circle around their rectangle holds at least that.
    let from_axes = || Some(f64::from(tpv.epx?).hypot(f64::from(tpv.epy?)));
    Some(Reading {
        at,
        time_unix_ms: tpv.time.as_deref().and_then(time::unix_ms),
        latitude_deg: tpv.lat?,
        longitude_deg: tpv.lon?,
        radius_m: tpv.eph.map(f64::from).or_else(from_axes),
        hdop: sky.hdop,
        satellites: sky.satellites,
        altitude_m: tpv.alt_msl.or(tpv.alt_hae).or(tpv.alt).map(f64::from),
        speed_m_s: tpv.speed.map(f64::from),
        course_deg: tpv.track.map(f64::from),
    })
}

/// The line with each bare `nan` or `inf` outside of strings written as `null`.
fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut quoted = Quoted::No;
    while let Some(first) = rest.chars().next() {
        let word = match quoted {
            Quoted::No => rest
                .split(|c: char| !c.is_ascii_alphabetic() && c != '-')
                .next()
                .unwrap_or(""),
            Quoted::Yes | Quoted::Escape => "",
        };
        let bare = word.trim_start_matches('-').to_ascii_lowercase();
        if matches!(&*bare, "nan" | "inf" | "infinity") {
            out.push_str("null");
            rest = rest.get(word.len()..).unwrap_or("");
            continue;
        }
        quoted = match (quoted, first) {
            (Quoted::No, '"') | (Quoted::Escape, _) => Quoted::Yes,
            (Quoted::Yes, '"') => Quoted::No,
            (Quoted::Yes, '\\') => Quoted::Escape,
            (state, _) => state,
        };
        // A word that is no such number is passed over whole, so that the scan stays linear.
        let taken = word.len().max(first.len_utf8());
        out.push_str(rest.get(..taken).unwrap_or(""));
        rest = rest.get(taken..).unwrap_or("");
    }
    out
}

#[derive(Clone, Copy)]
enum Quoted {
    No,
    Yes,
    Escape,
}

#[cfg(test)]
mod tests {
    use super::super::lines::{LINE_LIMIT, LineReader};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_device_at_115200_baud_and_unknown_classes_are_ignored() {
        for line in [
            r#"{"class":"DEVICE","path":"/dev/ttyUSB1","bps":115200}"#,
            r#"{"class":"DEVICES","devices":[{"class":"DEVICE","bps":115200}]}"#,
            r#"{"class":"TOFF","real_sec":1}"#,
            r#"{"class":"ERROR","message":"no"}"#,
            r#"{"class":"FUTURE","x":[1,2,{}]}"#,
            r#"{"class":17}"#,
            r#"[1,2]"#,
            r#"{"class":"TPV""#,
            r#"{"class":"TPV","mode":"three"}"#,
            "",
            "\u{fffd}",
        ] {
            assert!(matches!(parse(line.as_bytes()), Message::Ignored), "{line}");
        }
    }

    #[test]
    fn a_report_of_gpsd_3_22_is_read_with_its_radius() {
        let line = br#"{"class":"TPV","device":"tcp://127.0.0.1:4000","mode":3,"time":"2026-11-22T10:00:00.000Z","ept":0.005,"lat":52.5163,"lon":13.3777,"altHAE":79.2,"altMSL":34.0,"alt":34.0,"epx":8.2,"epy":9.1,"epv":20.1,"track":90.0,"speed":1.4,"climb":0.0,"eps":18.2,"epc":40.2,"eph":17.1,"sep":25.0}"#;
        let Message::Place(tpv) = parse(line) else {
            panic!("no place")
        };
        let sky = SkyView {
            hdop: Some(0.9),
            satellites: Some(9),
        };
        let reading = reading(&tpv, sky, Duration::from_secs(1)).unwrap();
        assert!((reading.latitude_deg - 52.5163).abs() < 1e-9);
        assert!((reading.radius_m.unwrap() - 17.1).abs() < 1e-3);
        assert_eq!(reading.time_unix_ms, Some(1_795_341_600_000));
    }

    #[test]
    fn a_report_with_nan_in_it_keeps_its_other_numbers() {
        let line = br#"{"class":"TPV","device":"nan\"-inf","mode":3,"lat":1.5,"lon":2.5,"speed":nan,"track":-NaN,"eph":Infinity}"#;
        let Message::Place(tpv) = parse(line) else {
            panic!("no place")
        };
        assert_eq!((tpv.lat, tpv.speed, tpv.eph), (Some(1.5), None, None));
        assert_eq!(tpv.device.as_deref(), Some("nan\"-inf"));
    }

    #[test]
    fn a_place_that_is_not_a_number_is_no_fix() {
        let line = br#"{"class":"TPV","mode":3,"lat":nan,"lon":nan}"#;
        assert!(matches!(parse(line), Message::NoFix));
    }

    #[test]
    fn the_sky_gives_dilution_and_used_satellites() {
        let line = br#"{"class":"SKY","hdop":1.2,"satellites":[{"PRN":1,"used":true},{"PRN":2,"used":false}]}"#;
        let Message::Sky(sky) = parse(line) else {
            panic!("no sky")
        };
        assert_eq!(sky.satellites, Some(1));
        assert!((sky.hdop.unwrap() - 1.2).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn arbitrary_streams_never_panic_and_never_hold_more_than_a_line(
            chunks in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..3000),
                    (0_usize..100_000).prop_map(|length| vec![b'{'; length]),
                    "(\\{\"class\":\"(TPV|SKY|DEVICE)\",?[\"a-z0-9:,.\\[\\]{}-]{0,40}\\}?\n?){0,5}".prop_map(String::into_bytes),
                ],
                0..10)
        ) {
            let mut reader = LineReader::new();
            for chunk in chunks {
                reader.push(&chunk, |line| drop(parse(line)));
                prop_assert!(reader.capacity() <= LINE_LIMIT);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&line);
        }

        #[test]
        fn arbitrary_values_in_a_report_never_panic(
            mode in any::<u16>(), lat in any::<f64>(), time in "\\PC{0,30}", eph in "[-naif0-9.eE]{0,6}"
        ) {
            let line = format!(r#"{{"class":"TPV","mode":{mode},"lat":{lat},"lon":1,"time":{time:?},"eph":{eph}}}"#);
            if let Message::Place(tpv) = parse(line.as_bytes()) {
                let _ = reading(&tpv, SkyView::default(), Duration::ZERO);
            }
        }
    }
}
