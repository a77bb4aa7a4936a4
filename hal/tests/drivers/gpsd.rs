//! The gpsd driver against a gpsd that misbehaves in every way that was ever seen, and some more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use homing_hal::capability::position::{Fix, PositionSource};
use homing_hal::conformance::{
    a_position_source_without_a_fix, a_working_position_source, an_absent_position_source,
    eventually,
};
use homing_hal::fault::{Cancel, Fault};
use homing_hal::linux::gpsd::{Gpsd, GpsdAddress};

use crate::phone::FakeGpsd;
use crate::port::free_port;

const SKY: &str = r#"{"class":"SKY","hdop":0.9,"satellites":[{"PRN":1,"used":true},{"PRN":2,"used":true},{"PRN":3,"used":true},{"PRN":4,"used":true},{"PRN":5,"used":true},{"PRN":6,"used":true}]}"#;

fn tpv(second: u32, lat: &str) -> String {
    format!(
        r#"{{"class":"TPV","mode":3,"time":"2026-11-22T10:00:{second:02}.000Z","lat":{lat},"lon":13.4,"speed":0.1,"eph":12.0}}"#
    )
}

/// What a healthy gpsd would send next.
fn good(stream: &mut TcpStream) {
    let _ = writeln!(stream, "{SKY}\n{}\n{}", tpv(1, "52.5"), tpv(2, "52.5"));
}

/// Keeps the connection open until the client hangs up.
fn until_hung_up(stream: &mut TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

fn driver(fake: &FakeGpsd) -> Gpsd {
    Gpsd::new(GpsdAddress::Tcp(fake.address))
}

fn locate(fake: &FakeGpsd, deadline_ms: u64) -> Result<Fix, Fault> {
    driver(fake).locate(Duration::from_millis(deadline_ms), &Cancel::new())
}

fn is_confirmed(fix: Result<Fix, Fault>) {
    let fix = fix.unwrap();
    assert_eq!(fix.position.latitude_e7, 525_000_000);
    assert_eq!(fix.position.accuracy_dm, 120);
}

/// The driver has to find the phone although this was sent first, on the same connection.
fn survives(first: &[u8]) {
    let first = first.to_vec();
    let fake = FakeGpsd::start(move |stream, _| {
        let _ = stream.write_all(&first);
        good(stream);
        until_hung_up(stream);
    });
    is_confirmed(locate(&fake, 10_000));
}

#[test]
fn a_healthy_gpsd_conforms() {
    let fake = FakeGpsd::start(|stream, _| {
        good(stream);
        until_hung_up(stream);
    });
    a_working_position_source(&mut driver(&fake), (52.5, 13.4), Duration::from_secs(10));
}

#[test]
fn an_absent_gpsd_conforms() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    an_absent_position_source(&mut Gpsd::new(GpsdAddress::Tcp(nobody)));
}

#[test]
fn an_absent_unix_socket_conforms() {
    let folder = tempfile::tempdir().unwrap();
    an_absent_position_source(&mut Gpsd::new(GpsdAddress::Unix(
        folder.path().join("gpsd.sock"),
    )));
}

#[test]
fn a_gpsd_that_hangs_ends_at_the_deadline() {
    let fake = FakeGpsd::start(|stream, _| until_hung_up(stream));
    a_position_source_without_a_fix(&mut driver(&fake));
}

#[test]
fn a_gpsd_that_floods_without_a_fix_ends_at_the_deadline() {
    let fake = FakeGpsd::start(
        |stream, _| while writeln!(stream, r#"{{"class":"TPV","mode":1}}"#).is_ok() {},
    );
    a_position_source_without_a_fix(&mut driver(&fake));
}

#[test]
fn unknown_classes_and_a_device_at_115200_baud_do_not_matter() {
    survives(
        concat!(
            r#"{"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyUSB1","bps":115200}]}"#,
            "\n",
            r#"{"class":"DEVICE","path":"/dev/ttyUSB1","bps":115200}"#,
            "\n",
            r#"{"class":"TOFF","real_sec":1}"#,
            "\n",
            r#"{"class":"ERROR","message":"?"}"#,
            "\n",
            r#"{"class":"RTCM3","type":1005}"#,
            "\n\n[]\n17\n",
        )
        .as_bytes(),
    );
}

#[test]
fn a_line_of_a_megabyte_does_not_matter() {
    let mut long = br#"{"class":"TPV","x":""#.to_vec();
    long.resize(1_000_000, b'a');
    long.push(b'\n');
    survives(&long);
}

#[test]
fn bytes_that_are_no_text_do_not_matter() {
    survives(&[0xff, 0x00, 0xfe, b'\n', 0x80, b'{', b'\n']);
}

#[test]
fn places_that_are_not_numbers_or_not_on_earth_do_not_matter() {
    let lines = [
        tpv(1, "NaN"),
        tpv(2, "nan"),
        tpv(3, "1e999"),
        tpv(4, "91.0"),
        tpv(5, "null"),
        tpv(6, "\"x\""),
    ];
    survives(format!("{}\n", lines.join("\n")).as_bytes());
}

#[test]
fn a_jump_across_the_world_does_not_matter() {
    survives(format!("{SKY}\n{}\n{}\n", tpv(58, "52.5"), tpv(59, "-33.8")).as_bytes());
}

#[test]
fn lines_that_arrive_in_halves_are_joined() {
    let fake = FakeGpsd::start(|stream, _| {
        let _ = stream.set_nodelay(true);
        for byte in format!("{SKY}\n{}\n{}\n", tpv(1, "52.5"), tpv(2, "52.5")).bytes() {
            let _ = stream.write_all(&[byte]);
        }
        until_hung_up(stream);
    });
    is_confirmed(locate(&fake, 10_000));
}

#[test]
fn a_connection_closed_in_mid_line_is_opened_again() {
    let fake = FakeGpsd::start(|stream, number| {
        if number < 2 {
            let _ = write!(stream, "{}", &tpv(1, "52.5")[..40]);
            return;
        }
        good(stream);
        until_hung_up(stream);
    });
    is_confirmed(locate(&fake, 10_000));
}

#[test]
fn readings_over_two_connections_confirm_each_other() {
    let fake = FakeGpsd::start(|stream, number| {
        let second = u32::try_from(number).unwrap() + 1;
        let _ = writeln!(stream, "{SKY}\n{}", tpv(second, "52.5"));
    });
    is_confirmed(locate(&fake, 10_000));
}

#[test]
fn a_single_reading_is_reported_at_the_deadline_with_its_doubt() {
    let fake = FakeGpsd::start(|stream, _| {
        let _ = writeln!(stream, "{SKY}\n{}", tpv(1, "52.5"));
        until_hung_up(stream);
    });
    // Long enough for one reading to come on a crowded machine.
    let began = Instant::now();
    let fix = locate(&fake, 5_000).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(5));
    assert_eq!(fix.position.accuracy_dm, 240);
    assert_eq!(fix.satellites, Some(6));
}

#[test]
fn a_program_of_another_user_in_gpsds_place_is_not_believed() {
    let own = nix::unistd::geteuid();
    // What a thread binds belongs to its user for file systems; only root may take another's.
    let before = nix::unistd::setfsuid(nix::unistd::Uid::from_raw(54_321));
    let mut fake = FakeGpsd::start(|stream, _| {
        good(stream);
        until_hung_up(stream);
    });
    nix::unistd::setfsuid(before);
    if !own.is_root() {
        eprintln!("SKIPPED: only root can listen as another user");
        return;
    }
    let fault = locate(&fake, 10_000).unwrap_err();
    assert!(matches!(fault, Fault::Denied(_)), "{fault:?}");
    assert!(fault.to_string().contains("54321"), "{fault}");
    let probed = driver(&fake).probe().to_string();
    assert!(probed.contains("not believed"), "{probed}");
    assert!(fake.heard().is_empty(), "nothing was said to it");
}

#[test]
fn the_receiver_is_watched_only_while_somebody_asks() {
    let mut fake = FakeGpsd::start(|stream, _| {
        good(stream);
        // What the client says afterwards is read by the fake itself.
    });
    let mut source = driver(&fake);
    let _ = source.probe();
    assert!(fake.heard().is_empty(), "a probe powers nothing");
    source
        .locate(Duration::from_secs(10), &Cancel::new())
        .unwrap();
    eventually("the watch is ended", || fake.heard().len() == 2);
    let heard = fake.heard();
    assert!(
        heard[0].contains(r#""enable":true,"json":true"#),
        "{heard:?}"
    );
    assert!(heard[1].contains(r#""enable":false"#), "{heard:?}");
}
