//! The source of last resort against a NetworkManager and a ModemManager of the test's own; the service is a recording.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use homing_hal::capability::position::{PositionSource, Turn};
use homing_hal::capability::resolve::Resolve;
use homing_hal::fault::{Cancel, Fault, Probe};
use homing_hal::linux::dbus::message::Message;
use homing_hal::linux::dbus::value::Value;
use homing_hal::linux::surroundings::Surroundings;
use homing_protocol::measure::PositionSource as Kind;

use crate::bus::{Answer, Bus, CELL, FakeModemManager, Modem, join, properties, serve, variant};

const NAME: &str = "org.freedesktop.NetworkManager";
const PATIENCE: Duration = Duration::from_secs(20);

/// A NetworkManager with a wire, a radio, and three access points, one of which is gone when it is looked at.
struct FakeNetworkManager(UnixStream, Option<JoinHandle<()>>);

impl FakeNetworkManager {
    fn start(bus: &Bus) -> Self {
        let (stream, _) = join(bus, NAME);
        let serving = stream.try_clone().unwrap();
        Self(stream, Some(thread::spawn(move || serve(serving, answer))))
    }
}

impl Drop for FakeNetworkManager {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
        if let Some(thread) = self.1.take() {
            let _ = thread.join();
        }
    }
}

/// The last one first.
fn paths(kind: &str, count: u32) -> Value {
    let path = |index| {
        Value::Text(
            'o',
            format!("/org/freedesktop/NetworkManager/{kind}/{index}"),
        )
    };
    Value::Array("o".into(), (1..=count).rev().map(path).collect())
}

const FAILED: Answer = Answer::Error("org.freedesktop.NetworkManager.Failed", "it is gone");

fn answer(call: &Message) -> Answer {
    let path = call.path.as_deref().unwrap_or_default();
    let one = |value| Answer::Values(vec![value]);
    match (
        call.member.as_deref().unwrap_or_default(),
        path.rsplit_once('/'),
    ) {
        ("GetDevices", _) => {
            // 9 has vanished, of 8, which is Wi-Fi too, nothing is told.
            let path = |number| format!("/org/freedesktop/NetworkManager/Devices/{number}");
            let devices = [9, 8, 1, 2].map(|number| Value::Text('o', path(number)));
            one(Value::Array("o".into(), devices.into()))
        }
        ("Get", Some((_, "9"))) | ("GetAllAccessPoints", Some((_, "8"))) => FAILED,
        ("GetAll", Some((_, "3"))) => FAILED,
        ("Get", Some((_, "8"))) => one(variant(Value::number(2))),
        // 1 is Ethernet, 2 is Wi-Fi.
        ("Get", Some((_, number))) => one(variant(Value::number(number.parse().unwrap()))),
        ("RequestScan", _) => {
            Answer::Error("org.freedesktop.NetworkManager.Device.NotAllowed", "no")
        }
        ("GetAllAccessPoints", Some((_, "2"))) => one(paths("AccessPoint", 4)),
        ("GetAll", Some((_, number @ ("1" | "2")))) => one(properties(vec![
            ("Ssid", Value::Bytes(b"street".to_vec())),
            (
                "HwAddress",
                Value::text(&format!("AC:DE:48:00:11:0{number}")),
            ),
            ("Strength", Value::Byte(60)),
            ("Frequency", Value::number(2412)),
        ])),
        _ => Answer::Error("org.freedesktop.DBus.Error.UnknownMethod", "no such object"),
    }
}

/// A service that gives one answer and keeps what it was asked.
struct Service {
    asked: Arc<Mutex<Vec<String>>>,
    answer: Result<&'static str, Fault>,
}

impl Resolve for Service {
    fn name(&self) -> String {
        "example.org".into()
    }

    fn resolve(&self, question: &[u8], _until: Instant) -> Result<Vec<u8>, Fault> {
        let question = String::from_utf8(question.to_vec()).unwrap();
        self.asked.lock().unwrap().push(question);
        self.answer.clone().map(|answer| answer.as_bytes().to_vec())
    }
}

const PLACE: &str = r#"{"location":{"lat":52.5,"lng":13.4},"accuracy":30.5}"#;

fn driver(
    bus: &Bus,
    answer: Result<&'static str, Fault>,
) -> (Surroundings, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let service = Service {
        asked: Arc::clone(&asked),
        answer,
    };
    (Surroundings::new(&bus.roots(), Box::new(service)), asked)
}

fn registered() -> Modem {
    Modem {
        shows: |source, _| (source == CELL).then(|| Value::text("262,02,1F,2A3B4C,C35")),
        ..Modem::default()
    }
}

#[test]
fn indoors_cells_and_access_points_give_a_place_with_source_and_radius() {
    let Some(bus) = Bus::start() else { return };
    let _network = FakeNetworkManager::start(&bus);
    let modem = FakeModemManager::start(&bus, Some(registered()));
    let (mut source, asked) = driver(&bus, Ok(PLACE));
    assert_eq!(source.turn(), Turn::Last);
    let probe = source.probe().to_string();
    assert_eq!(
        probe,
        "1 cells and 2 access points around, told to example.org"
    );
    assert!(asked.lock().unwrap().is_empty(), "a probe tells nobody");
    let fix = source.locate(PATIENCE, &Cancel::new()).unwrap();
    assert_eq!(fix.position.source, Kind::Wifi);
    assert_eq!(fix.position.accuracy_dm, 310);
    assert_eq!(fix.position.latitude_e7, 525_000_000);
    let asked = asked.lock().unwrap().join("");
    assert!(
        asked.contains("ac:de:48:00:11:01") && asked.contains("\"cellId\":2767692"),
        "{asked}"
    );
    assert!(!asked.contains("street"), "a network's name was told");
    assert!(
        modem.modem().setups.is_empty(),
        "the modem is left as it is"
    );
}

/// A service that says nothing until it is let go.
struct Silent(Mutex<std::sync::mpsc::Receiver<()>>, Cancel);

impl Resolve for Silent {
    fn name(&self) -> String {
        "example.org".into()
    }

    fn resolve(&self, _question: &[u8], _until: Instant) -> Result<Vec<u8>, Fault> {
        self.1.cancel();
        let _ = self.0.lock().unwrap().recv();
        Err(Fault::Absent("let go".into()))
    }
}

#[test]
fn a_search_that_is_over_does_not_wait_for_a_service_that_says_nothing() {
    let Some(bus) = Bus::start() else { return };
    let _modem = FakeModemManager::start(&bus, Some(registered()));
    let (_let_go, silence) = std::sync::mpsc::channel();
    // Being asked ends the search, as a satellite fix would.
    let cancel = Cancel::new();
    let service = Silent(Mutex::new(silence), cancel.clone());
    let mut source = Surroundings::new(&bus.roots(), Box::new(service));
    let ended = source.locate(PATIENCE, &cancel);
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
}

#[test]
fn without_one_half_of_the_surroundings_the_other_is_enough_and_without_both_nobody_is_asked() {
    let Some(bus) = Bus::start() else { return };
    let (mut source, asked) = driver(&bus, Ok(PLACE));
    let ended = source.locate(PATIENCE, &Cancel::new());
    assert!(matches!(ended, Err(Fault::Absent(_))), "{ended:?}");
    assert!(matches!(source.probe(), Probe::Unsupported { .. }));
    assert!(asked.lock().unwrap().is_empty());
    let _modem = FakeModemManager::start(&bus, Some(registered()));
    let fix = source.locate(PATIENCE, &Cancel::new()).unwrap();
    assert_eq!(fix.position.source, Kind::Cell);
}

#[test]
fn a_service_that_refuses_or_talks_nonsense_and_a_caller_that_gives_up_are_told_apart() {
    let Some(bus) = Bus::start() else { return };
    let _modem = FakeModemManager::start(&bus, Some(registered()));
    let denied = Err(Fault::Denied("status 403".into()));
    let (mut source, _) = driver(&bus, denied.clone());
    assert_eq!(
        source.locate(PATIENCE, &Cancel::new()).map(drop),
        denied.map(drop)
    );
    let (mut source, _) = driver(&bus, Ok("{}"));
    let ended = source.locate(PATIENCE, &Cancel::new());
    assert!(matches!(ended, Err(Fault::Broken(_))), "{ended:?}");
    let (mut source, asked) = driver(&bus, Ok(PLACE));
    let cancel = Cancel::new();
    cancel.cancel();
    let ended = source.locate(PATIENCE, &cancel);
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
    assert!(asked.lock().unwrap().is_empty());
}
