//! The session's helper that gets a sound card for the siren, on a real message bus with holders that yield and that do not. No card is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use homing_hal::fault::{Cancel, Fault};
use homing_hal::linux::dbus::value::Value;
use homing_hal::linux::dbus::{self, Callee, Limit};
use homing_hal::linux::reserve;

use crate::bus::{Answer, Bus, join_with, serve};

const NAME: &str = "org.freedesktop.ReserveDevice1.Audio0";
const OBJECT: &str = "/org/freedesktop/ReserveDevice1/Audio0";
const INTERFACE: &str = "org.freedesktop.ReserveDevice1";
const PATIENCE: Duration = Duration::from_secs(30);
/// Flags of `RequestName`: the name may be taken from its holder; nobody waits in a queue.
const ALLOW_REPLACEMENT: u32 = 1;
const DO_NOT_QUEUE: u32 = 4;

/// A session's bus on which the siren claims card 0, somebody who looks at it, and the helper.
struct Session {
    bus: Bus,
    looker: dbus::Bus,
    cancel: Cancel,
    helper: Option<JoinHandle<Result<(), Fault>>>,
}

impl Session {
    fn claimed(bus: Bus) -> Self {
        let folder = bus.folder.path().join("homing-siren");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("audio0"), "").unwrap();
        let user = nix::unistd::geteuid().to_string();
        let sessions = bus.folder.path().join("user").join(user);
        std::fs::create_dir_all(&sessions).unwrap();
        std::os::unix::fs::symlink(bus.socket(), sessions.join("bus")).unwrap();
        let roots = bus.roots();
        let helper = thread::spawn(move || reserve::serve(&roots));
        let cancel = Cancel::new();
        let until = Instant::now() + PATIENCE;
        let limit = Limit {
            until,
            cancel: &cancel,
        };
        let looker = dbus::Bus::at(&bus.socket(), limit).unwrap();
        Self {
            bus,
            looker,
            cancel,
            helper: Some(helper),
        }
    }

    fn owner(&mut self) -> Result<String, Fault> {
        let limit = Limit {
            until: Instant::now() + PATIENCE,
            cancel: &self.cancel,
        };
        self.looker.owner(NAME, limit)
    }

    fn wait_until(&mut self, what: &str, mut holds: impl FnMut(Result<String, Fault>) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let owner = self.owner();
            if holds(owner) {
                return;
            }
            assert!(Instant::now() < until, "{what}");
            self.cancel
                .rest(Instant::now() + Duration::from_millis(10))
                .unwrap();
        }
    }

    fn ask(&mut self, interface: &str, method: &str, body: Vec<Value>) -> Result<Value, Fault> {
        let limit = Limit {
            until: Instant::now() + PATIENCE,
            cancel: &self.cancel,
        };
        let callee = Callee {
            service: NAME,
            path: OBJECT,
            interface,
        };
        self.looker.call(callee, method, body, limit)
    }

    /// The siren is over; returns how the helper ended.
    fn end(&mut self) -> Result<(), Fault> {
        let claim = self.bus.folder.path().join("homing-siren/audio0");
        std::fs::remove_file(claim).unwrap();
        self.helper.take().unwrap().join().unwrap()
    }
}

/// A sound server that holds the card's name and answers this to whoever wants it; it counts who does.
fn holder(bus: &Bus, flags: u32, yields: bool) -> (String, Arc<AtomicU32>) {
    let (stream, name) = join_with(bus, NAME, flags);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    // It ends when the bus does.
    thread::spawn(move || {
        serve(stream, move |call| {
            assert_eq!(call.path.as_deref(), Some(OBJECT));
            assert_eq!(call.member.as_deref(), Some("RequestRelease"));
            assert_eq!(call.body, [Value::Signed('i', i32::MAX.into())]);
            count.fetch_add(1, Ordering::SeqCst);
            Answer::Values(vec![Value::Bool(yields)])
        });
    });
    (name, asked)
}

#[test]
fn a_claimed_card_is_held_given_to_nobody_and_let_go_with_its_claim() {
    let Some(bus) = Bus::start() else { return };
    let mut session = Session::claimed(bus);
    session.wait_until("the card to be held", |owner| owner.is_ok());
    let higher = vec![Value::Signed('i', i32::MAX.into())];
    let given = session.ask(INTERFACE, "RequestRelease", higher).unwrap();
    assert_eq!(given, Value::Bool(false));
    let properties = "org.freedesktop.DBus.Properties";
    let all = session
        .ask(properties, "GetAll", vec![Value::text(INTERFACE)])
        .unwrap();
    let priority = all.get("Priority").and_then(Value::as_i32);
    assert_eq!(priority, Some(i32::MAX), "{all:?}");
    let name = vec![Value::text(INTERFACE), Value::text("ApplicationDeviceName")];
    let device = session.ask(properties, "Get", name).unwrap();
    assert_eq!(device.as_text(), Some("hw:0"));
    let nonsense = session.ask(INTERFACE, "GiveItToMe", Vec::new());
    assert!(matches!(nonsense, Err(Fault::Absent(_))), "{nonsense:?}");
    assert_eq!(session.end(), Ok(()));
    assert!(matches!(session.owner(), Err(Fault::Absent(_))));
}

#[test]
fn a_sound_server_that_yields_loses_the_card_to_the_siren() {
    let Some(bus) = Bus::start() else { return };
    let (server, asked) = holder(&bus, ALLOW_REPLACEMENT | DO_NOT_QUEUE, true);
    let mut session = Session::claimed(bus);
    session.wait_until("the siren to have the card", |owner| {
        owner.is_ok_and(|owner| owner != server)
    });
    // Asked, and not robbed; once more where its answer came too late.
    assert!(asked.load(Ordering::SeqCst) >= 1);
    assert_eq!(session.end(), Ok(()));
}

#[test]
fn a_sound_server_that_keeps_the_card_is_asked_again_until_the_claim_is_over() {
    let Some(bus) = Bus::start() else { return };
    let (server, asked) = holder(&bus, DO_NOT_QUEUE, false);
    let mut session = Session::claimed(bus);
    session.wait_until("it to be asked twice", |_| {
        asked.load(Ordering::SeqCst) >= 2
    });
    assert_eq!(session.owner(), Ok(server));
    assert_eq!(session.end(), Ok(()));
}

#[test]
fn a_holder_that_knows_no_such_request_keeps_the_card_although_its_name_could_be_taken() {
    let Some(bus) = Bus::start() else { return };
    let (stream, server) = join_with(&bus, NAME, ALLOW_REPLACEMENT | DO_NOT_QUEUE);
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        serve(stream, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Answer::Error("org.freedesktop.DBus.Error.UnknownMethod", "no")
        });
    });
    let mut session = Session::claimed(bus);
    session.wait_until("it to be asked twice", |_| {
        asked.load(Ordering::SeqCst) >= 2
    });
    assert_eq!(session.owner(), Ok(server));
    assert_eq!(session.end(), Ok(()));
}

#[test]
fn without_a_bus_the_helper_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let roots = homing_hal::Roots {
        run: folder.path().into(),
        ..homing_hal::Roots::default()
    };
    let said = reserve::serve(&roots);
    assert!(matches!(said, Err(Fault::Absent(_))), "{said:?}");
}
