//! Questions and answers of geolocation, word for word; it must not ask anybody.

use super::*;

fn point(name: &str, mac: &str, percent: u8) -> Option<AccessPoint> {
    let values = [
        ("Ssid", Value::Bytes(name.as_bytes().to_vec())),
        ("HwAddress", Value::text(mac)),
        ("Strength", Value::Byte(percent)),
    ];
    let entry = |(key, value)| {
        let value = Value::Variant(Box::new(value));
        Value::Entry(Box::new((Value::text(key), value)))
    };
    AccessPoint::read(&Value::Array("{sv}".into(), values.map(entry).into()))
}

fn around() -> Around {
    Around {
        cells: Cell::read("262,02,1F,2A3B4C,C35", 1 << 14)
            .into_iter()
            .collect(),
        access_points: [
            point("home", "AC:DE:48:00:11:22", 40),
            point("cafe", "AC:DE:48:00:11:23", 90),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

#[test]
fn a_question_names_cells_and_the_strongest_access_points_and_never_a_networks_name() {
    let question = String::from_utf8(around().question().unwrap()).unwrap();
    assert_eq!(
        question,
        r#"{"considerIp":false,"cellTowers":[{"radioType":"lte","mobileCountryCode":262,"mobileNetworkCode":2,"locationAreaCode":3125,"cellId":2767692}],"wifiAccessPoints":[{"macAddress":"ac:de:48:00:11:23","signalStrength":-55},{"macAddress":"ac:de:48:00:11:22","signalStrength":-80}]}"#
    );
    assert!(!around().to_string().contains("ac:de"), "redacted");
}

#[test]
fn access_points_that_opt_out_hide_their_name_or_move_about_are_not_told() {
    for (name, mac) in [
        ("home_nomap", "AC:DE:48:00:11:22"),
        ("", "AC:DE:48:00:11:22"),
        ("phone", "AE:DE:48:00:11:22"),
        ("group", "AD:DE:48:00:11:22"),
        ("zero", "00:00:00:00:00:00"),
        ("short", "AC:DE:48"),
        ("words", "no address"),
    ] {
        assert!(point(name, mac, 50).is_none(), "{name} {mac}");
    }
}

#[test]
fn a_cell_is_read_by_its_technology_and_an_unregistered_modem_has_none() {
    let read =
        |text, bits| Cell::read(text, bits).map(|cell| (cell.radio_type, cell.location_area_code));
    assert_eq!(read("262,02,1F,2A3B4C,C35", 1 << 5), Some(("wcdma", 31)));
    assert_eq!(read("262,02,1F,2A3B4C,C35", 0), Some(("gsm", 31)));
    for text in ["", "262,02", "0,0,0,0,0", "a,b,c,d,e", "262,02,1F,,C35"] {
        assert_eq!(read(text, 1 << 14), None, "{text}");
    }
}

#[test]
fn too_little_is_no_question() {
    let mut little = around();
    little.cells.clear();
    little.access_points.truncate(1);
    assert_eq!(little.question(), None);
}

#[test]
fn an_answer_has_the_source_that_it_rests_on_and_its_radius() {
    let answer = br#"{"location":{"lat":52.5163,"lng":-13.3777},"accuracy":31.2}"#;
    let fix = around().fix(answer).unwrap();
    assert_eq!(fix.position.latitude_e7, 525_163_000);
    assert_eq!(fix.position.longitude_e7, -133_777_000);
    assert_eq!(fix.position.accuracy_dm, 320);
    assert_eq!(fix.position.source, PositionSource::Wifi);
    let area = br#"{"location":{"lat":52.5,"lng":13.4},"accuracy":9000,"fallback":"lacf"}"#;
    assert_eq!(
        around().fix(area).unwrap().position.source,
        PositionSource::Cell
    );
}

#[test]
fn an_answer_that_is_none_or_rests_on_the_address_is_refused() {
    for answer in [
        "",
        "{}",
        r#"{"error":{"code":404,"message":"Not found"}}"#,
        r#"{"location":{"lat":91,"lng":0},"accuracy":5}"#,
        r#"{"location":{"lat":0,"lng":0},"accuracy":5}"#,
        r#"{"location":{"lat":1e999,"lng":0},"accuracy":5}"#,
        r#"{"location":{"lat":52,"lng":13},"accuracy":-1}"#,
        r#"{"location":{"lat":52,"lng":13},"accuracy":400000}"#,
        r#"{"location":{"lat":52,"lng":13},"accuracy":25000,"fallback":"ipf"}"#,
    ] {
        let refused = around().fix(answer.as_bytes());
        assert!(matches!(refused, Err(Fault::Broken(_))), "{answer}");
    }
}
