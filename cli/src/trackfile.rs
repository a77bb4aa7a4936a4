//! A movement history as files that other programs read: GPX 1.1 and GeoJSON (RFC 7946). Times in UTC; doubtful positions are marked, never left out.
use crate::clock::UnixMs;
use crate::commands::track::{History, Point, altitude_m, decimal, properties};
use crate::error::Error;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Name of our own elements in GPX: what GPX 1.1 has no element for (radius in metres, speed, course) goes into `extensions`.
const OURS: &str = "urn:homing:track:1";

/// 180°.
const HALF_TURN_E7: i32 = 1_800_000_000;

/// Text as XML 1.0 may hold it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // Not even as a reference may they stand in a document.
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// The history as GPX 1.1 (<https://www.topografix.com/GPX/1/1/>): one track with one segment.
pub(crate) fn gpx(history: &History) -> String {
    let name = escaped(&history.name);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <gpx version=\"1.1\" creator=\"Homing\" xmlns=\"http://www.topografix.com/GPX/1/1\" xmlns:homing=\"{OURS}\">\n\
         <metadata><name>{name}</name><time>{}</time></metadata>\n\
         <trk><name>{name}</name><trkseg>\n",
        UnixMs::now().rfc3339()
    );
    for point in &history.points {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", track_point(point));
    }
    text.push_str("</trkseg></trk>\n</gpx>\n");
    text
}

/// The children of a point in the order of the schema: ele, time, cmt, src, extensions.
fn track_point(point: &Point) -> String {
    let position = &point.position;
    let said = properties(point);
    let mut text = format!(
        "<trkpt lat=\"{}\" lon=\"{}\">",
        crate::commands::position::degrees(position.latitude_e7),
        crate::commands::position::degrees(east(position.longitude_e7))
    );
    let mut element = |name: &str, value: &Value| {
        let value = match value {
            Value::Null => return,
            Value::String(word) => escaped(word),
            other => other.to_string(),
        };
        let _ = write!(text, "<{name}>{value}</{name}>");
    };
    element("ele", &json!(altitude_m(position)));
    element("time", &date_time(&said["time"]));
    element("cmt", &said["doubt"]);
    element("src", &said["source"]);
    text.push_str("<extensions>");
    let mut element = |name: &str| {
        if !said[name].is_null() {
            let _ = write!(text, "<homing:{name}>{}</homing:{name}>", said[name]);
        }
    };
    for name in ["number", "accuracy_m", "speed_m_s", "course_deg", "age_s"] {
        element(name);
    }
    text.push_str("</extensions></trkpt>");
    text
}

/// The schema's longitudes end before 180°, which is the same meridian as −180°.
const fn east(longitude_e7: i32) -> i32 {
    if longitude_e7 >= HALF_TURN_E7 {
        // A whole turn does not fit into 32 bits.
        longitude_e7 - HALF_TURN_E7 - HALF_TURN_E7
    } else {
        longitude_e7
    }
}

/// The time if it is one by XML Schema (years 0001 to 9999): a receiver may say anything.
fn date_time(said: &Value) -> Value {
    let is_one = |text: &&str| text.ends_with('Z') && !text.starts_with("0000");
    json!(said.as_str().filter(is_one))
}

/// The history as GeoJSON: one point feature for each position. A line would hide the radii and, across the date line, lie.
pub(crate) fn geojson(history: &History) -> Result<String, Error> {
    let features: Vec<Value> = history.points.iter().map(feature).collect();
    let mut text = serde_json::to_string_pretty(&json!({
        "type": "FeatureCollection",
        "features": features,
    }))?;
    text.push('\n');
    Ok(text)
}

fn feature(point: &Point) -> Value {
    let position = &point.position;
    // RFC 7946 §3.1.1: longitude, latitude, altitude.
    let mut coordinates = vec![
        decimal(position.longitude_e7),
        decimal(position.latitude_e7),
    ];
    coordinates.extend(altitude_m(position));
    json!({
        "type": "Feature",
        "geometry": { "type": "Point", "coordinates": coordinates },
        "properties": properties(point),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_owner::track::Doubt;
    use homing_protocol::measure::{Position, PositionSource};

    fn history() -> History {
        let position = Position {
            time_unix_ms: Some(1_767_225_600_000),
            latitude_e7: 525_162_700,
            longitude_e7: -1_799_999_999,
            accuracy_dm: 96,
            altitude_dm: Some(345),
            speed_cm_s: Some(140),
            course_cdeg: None,
            source: PositionSource::Gnss,
            age_s: 2,
        };
        let bare = Position {
            time_unix_ms: None,
            altitude_dm: None,
            speed_cm_s: None,
            ..position
        };
        let at = UnixMs(1_767_225_600_000);
        let point = |number, position, doubt| Point {
            number,
            position,
            at,
            doubt,
        };
        History {
            name: "Eva's <phone> & \u{7}co".into(),
            points: vec![
                point(7, position, None),
                point(8, bare, Some(Doubt::TooFast)),
            ],
            gaps: Vec::new(),
        }
    }

    #[test]
    fn gpx_has_its_elements_in_the_order_of_the_schema_and_no_wild_characters() {
        let text = gpx(&history());
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<gpx version=\"1.1\" creator=\"Homing\" xmlns=\"http://www.topografix.com/GPX/1/1\"";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains("<trk><name>Eva's &lt;phone&gt; &amp; \u{fffd}co</name>"));
        assert!(text.contains(
            "<trkpt lat=\"52.5162700\" lon=\"-179.9999999\"><ele>34.5</ele><time>2026-01-01T00:00:00Z</time><src>gnss</src><extensions><homing:number>7</homing:number><homing:accuracy_m>9.6</homing:accuracy_m><homing:speed_m_s>1.4</homing:speed_m_s><homing:age_s>2</homing:age_s></extensions></trkpt>"
        ), "{text}");
        assert!(text.contains("<cmt>impossible-speed</cmt><src>gnss</src>"));
        assert!(text.ends_with("</trkseg></trk>\n</gpx>\n"));
    }

    #[test]
    fn the_ends_of_the_earth_and_of_time_stay_within_the_schemas_bounds() {
        let places = [
            (900_000_000, 1_800_000_000),
            (-900_000_000, -1_800_000_000),
            (1, 1_799_999_999),
        ];
        let times = [
            i64::MIN,
            -62_167_219_200_000,
            -1,
            0,
            253_402_300_799_000,
            i64::MAX,
        ];
        let mut wild = history();
        let first = wild.points[0];
        wild.points.clear();
        for (latitude_e7, longitude_e7) in places {
            wild.points.extend(times.map(|time| Point {
                position: Position {
                    latitude_e7,
                    longitude_e7,
                    time_unix_ms: Some(time),
                    ..first.position
                },
                ..first
            }));
        }
        let text = gpx(&wild);
        let within = |text: &str, start: &str, end: char| -> Vec<String> {
            let parts = text.split(start).skip(1);
            parts
                .map(|part| part.split(end).next().unwrap_or_default().to_owned())
                .collect()
        };
        let numbers = |name: &str| -> Vec<f64> {
            let found = within(&text, name, '"').into_iter();
            found
                .map(|digits| digits.parse().expect("a decimal"))
                .collect()
        };
        assert_eq!(numbers(" lat=\"").len(), 18);
        assert!(
            numbers(" lat=\"")
                .iter()
                .all(|degrees| (-90.0..=90.0).contains(degrees))
        );
        // GPX 1.1, longitudeType: 180 itself is none.
        assert!(
            numbers(" lon=\"")
                .iter()
                .all(|degrees| (-180.0..180.0).contains(degrees))
        );
        let stated = within(&text, "<ele>34.5</ele><time>", '<');
        assert!(
            stated
                .iter()
                .all(|time| time.len() == 20 && time.ends_with('Z')),
            "{stated:?}"
        );
        assert_eq!(stated.len(), 9, "1969, 1970 and 9999 are times: {stated:?}");
        // RFC 7946 §4: WGS 84, −180 to 180.
        let value: Value = serde_json::from_str(&geojson(&wild).expect("text")).expect("JSON");
        for feature in value["features"].as_array().expect("features") {
            let degrees = |index: usize| feature["geometry"]["coordinates"][index].as_f64();
            assert!(degrees(0).is_some_and(|east| east.abs() <= 180.0));
            assert!(degrees(1).is_some_and(|north| north.abs() <= 90.0));
        }
    }

    #[test]
    fn geojson_puts_the_longitude_first_and_everything_else_into_properties() {
        let value: Value = serde_json::from_str(&geojson(&history()).expect("text")).expect("JSON");
        assert_eq!(value["type"], "FeatureCollection");
        let first = &value["features"][0];
        assert_eq!(
            first["geometry"],
            json!({ "type": "Point", "coordinates": [-179.999_999_9, 52.516_27, 34.5] })
        );
        assert_eq!(first["properties"]["accuracy_m"], 9.6);
        assert_eq!(first["properties"]["speed_m_s"], 1.4);
        let second = &value["features"][1];
        assert_eq!(
            second["geometry"]["coordinates"].as_array().map(Vec::len),
            Some(2)
        );
        assert_eq!(second["properties"]["doubt"], "impossible-speed");
        assert_eq!(second["properties"]["time"], Value::Null);
    }
}
