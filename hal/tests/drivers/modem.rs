//! The ModemManager driver against a ModemManager that behaves, one that does not, the real one without a modem, and buses that are none.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use homing_hal::capability::position::PositionSource;
use homing_hal::conformance::{
    a_position_source_without_a_fix, a_working_position_source, an_absent_position_source,
    eventually,
};
use homing_hal::fault::{Cancel, Fault, Probe, Roots};
use homing_hal::linux::dbus::value::Value;
use homing_hal::linux::modem::ModemManager;

use crate::bus::{Bus, CELL, FakeModemManager, GPS_NMEA, GPS_RAW, Modem, Mood, dictionary};
use crate::phone::Process;

const PATIENCE: Duration = Duration::from_secs(20);

fn sentence(body: &str) -> String {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

/// What ModemManager shows of a receiver with a fix at 52.5 N, 13.4 E, in the order of a hash table.
fn trace(second: u32) -> Value {
    let gga =
        format!("GPGGA,1000{second:02}.00,5230.00000,N,01324.00000,E,1,09,0.9,34.0,M,45.0,M,,");
    let rmc = format!("GPRMC,1000{second:02}.00,A,5230.00000,N,01324.00000,E,0.1,,231126,,,A");
    let text = sentence(&gga) + &sentence("GPGSV,1,1,01,02,75,040,42") + &sentence(&rmc);
    Value::text(&text)
}

fn fixed(source: u32, look: u32) -> Option<Value> {
    (source == GPS_NMEA).then(|| trace(look % 60))
}

fn driver(bus: &Bus) -> ModemManager {
    ModemManager::new(&bus.roots(), Some(bus.note()))
}

fn short(bus: &Bus, milliseconds: u64) -> Result<i32, Fault> {
    driver(bus)
        .locate(Duration::from_millis(milliseconds), &Cancel::new())
        .map(|fix| fix.position.latitude_e7)
}

/// A modem that shows this.
fn showing(shows: fn(u32, u32) -> Option<Value>) -> Modem {
    Modem {
        shows,
        ..Modem::default()
    }
}

#[test]
fn a_modems_receiver_conforms_is_on_for_the_search_alone_and_signals_no_position() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(showing(fixed)));
    let mut source = driver(&bus);
    assert!(source.probe().to_string().contains("EG25-G"));
    assert!(fake.modem().setups.is_empty(), "a probe powers nothing");
    a_working_position_source(&mut source, (52.5, 13.4), PATIENCE);
    assert_eq!(
        fake.modem().setups,
        [(CELL | GPS_NMEA, false), (CELL, false)]
    );
    assert!(!bus.note().exists());
}

#[test]
fn a_modem_without_a_fix_conforms_and_is_switched_off_after_a_deadline_and_a_cancellation() {
    let Some(bus) = Bus::start() else { return };
    let nothing = |source, _| {
        let denied = sentence("GPRMC,100001.00,V,,,,,,,231126,,,N") + "$GPGGA,\r\nx\r\n";
        (source == GPS_NMEA).then(|| Value::text(&denied))
    };
    let fake = FakeModemManager::start(&bus, Some(showing(nothing)));
    a_position_source_without_a_fix(&mut driver(&bus));
    eventually("it is off", || fake.modem().enabled == CELL);
}

#[test]
fn what_others_have_switched_on_stays_on_and_what_it_showed_before_is_not_believed() {
    let Some(bus) = Bus::start() else { return };
    // Two sentences of two instants, hours old, over and over.
    let stale = |source, look| (source == GPS_NMEA).then(|| trace(if look < 3 { 1 } else { 2 }));
    let modem = Modem {
        enabled: CELL | GPS_NMEA,
        signals: true,
        ..showing(stale)
    };
    let fake = FakeModemManager::start(&bus, Some(modem));
    let ended = short(&bus, 900);
    assert!(matches!(ended, Err(Fault::TimedOut(_))), "{ended:?}");
    assert!(fake.modem().setups.is_empty());
    // Somebody switches on another source while we search.
    let others = |source, look| (source == GPS_NMEA).then(|| trace(look));
    *fake.modem() = showing(others);
    fake.modem().enabled = 0;
    thread::scope(|scope| {
        let search = scope.spawn(|| short(&bus, 20_000));
        eventually("it is on", || fake.modem().enabled == GPS_NMEA);
        fake.modem().enabled |= GPS_RAW;
        assert_eq!(search.join().unwrap(), Ok(525_000_000));
    });
    assert_eq!(fake.modem().enabled, GPS_RAW);
}

#[test]
fn a_receiver_that_others_switch_off_during_a_search_is_switched_on_again_and_off_at_its_end() {
    let Some(bus) = Bus::start() else { return };
    let silent = |_, _| None;
    let modem = Modem {
        signals: true,
        ..showing(silent)
    };
    let fake = FakeModemManager::start(&bus, Some(modem));
    thread::scope(|scope| {
        let search = scope.spawn(|| short(&bus, 30_000));
        eventually("it is on", || fake.modem().enabled & GPS_NMEA != 0);
        assert!(!fake.modem().signals, "positions are broadcast");
        {
            let mut modem = fake.modem();
            modem.enabled = CELL;
            modem.signals = true;
            modem.shows = fixed;
        }
        assert_eq!(search.join().unwrap(), Ok(525_000_000));
    });
    let modem = fake.modem();
    let on = (CELL | GPS_NMEA, false);
    assert_eq!(modem.setups, [on, on, (CELL, true)]);
    assert!(!bus.note().exists());
}

#[test]
fn a_modem_that_gives_numbers_alone_is_believed_once_they_change() {
    let Some(bus) = Bus::start() else { return };
    let raw = |source, look| {
        let utc = if look < 3 { 1 } else { look };
        let numbers = [
            ("utc-time", Value::text(&format!("1000{utc:02}.00"))),
            ("latitude", Value::Double(52.5)),
            ("longitude", Value::Double(13.4)),
        ];
        let entry = |(name, value)| (Value::text(name), Value::Variant(Box::new(value)));
        (source == GPS_RAW).then(|| dictionary("{sv}", numbers.map(entry).into()))
    };
    let modem = Modem {
        capabilities: Value::number(GPS_RAW),
        ..showing(raw)
    };
    let fake = FakeModemManager::start(&bus, Some(modem));
    // Numbers without dilution or satellites stay in doubt.
    assert_eq!(short(&bus, 4_000), Ok(525_000_000));
    assert_eq!(fake.modem().setups[0].0, CELL | GPS_RAW);
}

#[test]
fn without_a_bus_a_modem_manager_a_modem_or_a_receiver_it_is_absent() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = Roots {
        run: folder.path().into(),
        ..Roots::default()
    };
    thread::scope(|scope| {
        scope.spawn(|| an_absent_position_source(&mut ModemManager::new(&nowhere, None)));
        scope.spawn(|| {
            let Some(bus) = Bus::start() else { return };
            an_absent_position_source(&mut driver(&bus));
        });
        for modem in [
            None,
            Some(Modem {
                capabilities: Value::number(CELL),
                ..Modem::default()
            }),
            Some(Modem {
                capabilities: Value::text("a lie"),
                ..Modem::default()
            }),
        ] {
            scope.spawn(move || {
                let Some(bus) = Bus::start() else { return };
                let _fake = FakeModemManager::start(&bus, modem);
                an_absent_position_source(&mut driver(&bus));
            });
        }
    });
}

#[test]
fn a_receiver_that_another_program_reads_or_may_not_be_used_is_left_alone() {
    let Some(bus) = Bus::start() else { return };
    let modem = Modem {
        enabled: CELL | 1 << 4,
        ..showing(fixed)
    };
    let fake = FakeModemManager::start(&bus, Some(modem));
    let ended = short(&bus, 90_000);
    assert!(matches!(ended, Err(Fault::Busy(_))), "{ended:?}");
    *fake.modem() = Modem {
        mood: Mood::Unauthorized,
        ..showing(fixed)
    };
    let said = driver(&bus).probe().to_string();
    assert!(said.starts_with("unsupported: denied"), "{said}");
    let began = Instant::now();
    let ended = short(&bus, 90_000);
    assert!(matches!(ended, Err(Fault::Denied(_))), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(fake.modem().setups.is_empty());
}

#[test]
fn a_modem_that_hangs_lies_or_is_not_ready_ends_at_the_deadline() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    for mood in [Mood::Hangs, Mood::HangsAtSetup, Mood::WrongState] {
        fake.modem().mood = mood;
        a_position_source_without_a_fix(&mut driver(&bus));
    }
    let lie = |_, _| Some(Value::Unsigned('t', 17));
    *fake.modem() = showing(lie);
    a_position_source_without_a_fix(&mut driver(&bus));
}

#[test]
fn a_modem_manager_that_is_restarted_while_it_searches_is_asked_again() {
    let Some(bus) = Bus::start() else { return };
    let silent = |_, _| None;
    let mut fake = FakeModemManager::start(&bus, Some(showing(silent)));
    thread::scope(|scope| {
        let search = scope.spawn(|| short(&bus, 30_000));
        eventually("it is asked", || fake.modem().looks > 0);
        fake.end();
        *fake.modem() = showing(fixed);
        fake.appear(&bus, true);
        assert_eq!(search.join().unwrap(), Ok(525_000_000));
    });
    assert_eq!(fake.modem().enabled, CELL);
}

#[test]
fn what_a_search_that_was_killed_left_on_is_switched_off_by_the_next_or_at_the_start() {
    let Some(bus) = Bus::start() else { return };
    let mut fake = FakeModemManager::start(&bus, Some(showing(fixed)));
    let guid = bus.guid();
    let note_of = |guid: &str, owner: &str| {
        let path = "/org/freedesktop/ModemManager1/Modem/0";
        format!(r#"{{"bus":"{guid}","owner":"{owner}","path":"{path}","added":4}}"#)
    };
    let note = |owner: &str| note_of(&guid, owner);
    fake.modem().enabled = CELL | GPS_NMEA;
    fs::write(bus.note(), note(&fake.unique_name())).unwrap();
    driver(&bus).put_back(&Cancel::new()).unwrap();
    assert_eq!(fake.modem().enabled, CELL);
    assert!(!bus.note().exists());

    fake.modem().enabled = CELL | GPS_NMEA;
    fs::write(bus.note(), note(&fake.unique_name())).unwrap();
    assert_eq!(short(&bus, 20_000), Ok(525_000_000));
    assert_eq!(fake.modem().enabled, CELL);
    assert!(!bus.note().exists());

    // A ModemManager that was started since knows nothing of us: what is on there is somebody else's.
    fs::write(bus.note(), note(&fake.unique_name())).unwrap();
    fake.end();
    fake.modem().enabled = CELL | GPS_NMEA;
    fake.appear(&bus, true);
    driver(&bus).put_back(&Cancel::new()).unwrap();
    assert_eq!(fake.modem().enabled, CELL | GPS_NMEA);
    assert!(!bus.note().exists());

    // After a new start of phone or bus the same unique name may be anybody's: what is on is not ours.
    fs::write(bus.note(), note_of("f00d", &fake.unique_name())).unwrap();
    driver(&bus).put_back(&Cancel::new()).unwrap();
    assert_eq!(fake.modem().enabled, CELL | GPS_NMEA);
    assert!(!bus.note().exists());

    // A note that is none is no note.
    fs::write(bus.note(), "{").unwrap();
    driver(&bus).put_back(&Cancel::new()).unwrap();
}

#[test]
fn a_setup_that_is_never_answered_leaves_its_note_for_the_next_search() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(
        &bus,
        Some(Modem {
            mood: Mood::HangsAtSetup,
            ..showing(fixed)
        }),
    );
    let cancel = Cancel::new();
    let ended = thread::scope(|scope| {
        let search = scope.spawn(|| driver(&bus).locate(PATIENCE * 3, &cancel));
        eventually("it is set up", || bus.note().exists());
        cancel.cancel();
        search.join().unwrap()
    });
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
    assert!(bus.note().exists());
    // It was obeyed after all.
    fake.modem().mood = Mood::Works;
    fake.modem().enabled = CELL | GPS_NMEA;
    driver(&bus).put_back(&Cancel::new()).unwrap();
    assert_eq!(fake.modem().enabled, CELL);
}

/// A bus that does this with each connection; nothing of it may hang a search.
fn with_a_bus_that(says: &'static [u8]) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("dbus")).unwrap();
    let socket = folder.path().join("dbus/system_bus_socket");
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut first = [0; 64];
            let _ = stream.read(&mut first);
            let _ = stream.write_all(says);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let roots = Roots {
        run: folder.path().into(),
        ..Roots::default()
    };
    let began = Instant::now();
    let ended = ModemManager::new(&roots, None).locate(Duration::from_secs(2), &Cancel::new());
    assert!(ended.is_err(), "{ended:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_bus_that_is_silent_talks_nonsense_or_stops_in_the_middle_does_not_hang_the_search() {
    const OK: &[u8] = b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n";
    // The beginning of an answer to Hello: 64 KiB are announced and never come.
    const HALF: &[u8] = b"OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\nl\x02\x01\x01\x00\x00\x01\x00\x01\x00\x00\x00";
    thread::scope(|scope| {
        for says in [b"".as_slice(), b"REJECTED\r\n", b"\xff\xfe\r\n", OK, HALF] {
            scope.spawn(move || with_a_bus_that(says));
        }
    });
}

#[test]
fn the_real_modem_manager_says_that_it_knows_no_modem() {
    let Some(bus) = Bus::start() else { return };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join("ModemManager"))
        .find(|program| program.exists());
    let Some(program) = program else {
        eprintln!("SKIPPED: no ModemManager in PATH nor in /usr/sbin");
        return;
    };
    let started = Command::new(program)
        .args(["--no-auto-scan", "--test-no-suspend-resume"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _process = Process(started);
    let source = driver(&bus);
    let until = Instant::now() + PATIENCE;
    let reason = loop {
        match source.probe() {
            Probe::Unsupported { reason } if !reason.contains("not on the system bus") => {
                break reason;
            }
            probe => assert!(Instant::now() < until, "{probe}"),
        }
        let _ = Cancel::new().rest(Instant::now() + Duration::from_millis(50));
    };
    assert!(reason.contains("knows no modem"), "{reason}");
}
