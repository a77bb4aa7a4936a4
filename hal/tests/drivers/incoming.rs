//! The driver for calls that come in against a ModemManager that tells of them: the owner's, and no other.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use homing_hal::capability::call::{Expected, IncomingCalls, Ring};
use homing_hal::fault::{Cancel, Fault};
use homing_hal::linux::incoming::ModemIncoming;

use crate::bus::{Bus, FakeModemManager, Modem};

const PATIENCE: Duration = Duration::from_secs(30);
const OWNER: &str = "+49 170 1234567";
const MODEM: (&str, &str) = (
    "/org/freedesktop/ModemManager1/Modem/0",
    "org.freedesktop.ModemManager1.Modem.Voice",
);
const CALL: &str = "org.freedesktop.ModemManager1.Call";

fn owner() -> Expected {
    Expected::of(OWNER).unwrap()
}

/// Somebody who listens until the test is over.
struct Listening {
    driver: Arc<ModemIncoming>,
    heard: Receiver<Result<Ring, Fault>>,
    cancel: Cancel,
}

impl Listening {
    fn start(bus: &Bus) -> Self {
        let driver = Arc::new(ModemIncoming::new(&bus.roots()));
        let (tell, heard) = channel();
        let cancel = Cancel::new();
        let (theirs, ended) = (Arc::clone(&driver), cancel.clone());
        // On as small a stack as the lost screen gives it.
        let builder = thread::Builder::new().stack_size(128 * 1024);
        let _ = builder.spawn(move || {
            let mut seen = Ring::None;
            loop {
                let next = theirs.next(&owner(), seen, &ended);
                let stop = next.is_err();
                seen = *next.as_ref().unwrap_or(&seen);
                if tell.send(next).is_err() || stop {
                    return;
                }
            }
        });
        Self {
            driver,
            heard,
            cancel,
        }
    }

    #[track_caller]
    fn hears(&self, ring: Ring) {
        assert_eq!(self.heard.recv_timeout(PATIENCE), Ok(Ok(ring)));
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

#[test]
fn the_owner_s_call_is_heard_answered_and_hung_up_and_nobody_else_s_is_told() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    let listening = Listening::start(&bus);
    // It rings for somebody else first, whom nobody hears of.
    let stranger = fake.modem().voice.ring("+49 30 7654321");
    fake.tell(MODEM, "CallAdded");
    let call = fake.modem().voice.ring("01701234567");
    fake.tell(MODEM, "CallAdded");
    listening.hears(Ring::Ringing);

    let driver = &listening.driver;
    assert_eq!(driver.answer(&owner(), PATIENCE, &Cancel::new()), Ok(()));
    fake.tell((&call, CALL), "StateChanged");
    listening.hears(Ring::Connected);
    // Answering what is answered already does nothing.
    assert_eq!(driver.answer(&owner(), PATIENCE, &Cancel::new()), Ok(()));
    assert_eq!(driver.hang_up(&owner(), PATIENCE, &Cancel::new()), Ok(()));
    fake.tell((&call, CALL), "StateChanged");
    listening.hears(Ring::None);
    assert_eq!(driver.hang_up(&owner(), PATIENCE, &Cancel::new()), Ok(()));
    let states: Vec<_> = fake
        .modem()
        .voice
        .calls
        .values()
        .map(|call| call.state)
        .collect();
    assert_eq!(states, [3], "the stranger's call was touched: {stranger}");
}

#[test]
fn a_call_is_heard_of_a_modem_manager_that_comes_later_and_ends_with_it() {
    let Some(bus) = Bus::start() else { return };
    let listening = Listening::start(&bus);
    let mut fake = FakeModemManager::start(&bus, Some(Modem::default()));
    let call = fake.modem().voice.ring(OWNER);
    fake.tell(MODEM, "CallAdded");
    listening.hears(Ring::Ringing);
    fake.end();
    listening.hears(Ring::None);
    // Its successor knows the call, but not yet whose it is.
    fake.modem().voice.turn(3, 2);
    fake.modem().voice.name(&call, "");
    fake.appear(&bus, true);
    fake.modem().voice.name(&call, OWNER);
    fake.tell(
        (&call, "org.freedesktop.DBus.Properties"),
        "PropertiesChanged",
    );
    listening.hears(Ring::Ringing);
}

#[test]
fn without_a_bus_or_a_modem_there_is_nobody_to_hear_and_nothing_to_end() {
    let Some(bus) = Bus::start() else { return };
    let driver = ModemIncoming::new(&bus.roots());
    let answered = driver.answer(&owner(), PATIENCE, &Cancel::new());
    assert!(matches!(answered, Err(Fault::Absent(_))), "{answered:?}");
    assert_eq!(driver.hang_up(&owner(), PATIENCE, &Cancel::new()), Ok(()));
    let _fake = FakeModemManager::start(&bus, None);
    assert_eq!(driver.hang_up(&owner(), PATIENCE, &Cancel::new()), Ok(()));
    let listening = Listening::start(&bus);
    listening.cancel.cancel();
    let heard = listening.heard.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(heard, Err(Fault::Cancelled(_))), "{heard:?}");
    let nowhere = homing_hal::Roots {
        run: bus.folder.path().join("nowhere"),
        ..homing_hal::Roots::default()
    };
    let next = ModemIncoming::new(&nowhere).next(&owner(), Ring::None, &Cancel::new());
    assert!(matches!(next, Err(Fault::Absent(_))), "{next:?}");
}
