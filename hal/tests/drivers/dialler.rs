//! The driver for emergency calls against a ModemManager that places, refuses or forgets them.

use std::thread;
use std::time::Duration;

use homing_hal::capability::call::{CallState, Calls, Dialler, EmergencyNumber, Progress};
use homing_hal::conformance::eventually;
use homing_hal::fault::{Cancel, Fault, Probe};
use homing_hal::linux::calls::ModemCalls;
use homing_hal::linux::dialler::ModemDialler;

use crate::bus::{Bus, FakeModemManager, Modem};
use crate::voice::{Call, Network};

const PATIENCE: Duration = Duration::from_secs(30);

/// On as small a stack as the lost screen gives it.
fn dial(dialler: &mut ModemDialler) -> Result<EmergencyNumber, Fault> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(128 * 1024);
        let dialled = builder.spawn_scoped(scope, || dialler.dial(PATIENCE, &Cancel::new()));
        dialled.unwrap().join().unwrap()
    })
}

fn progress(dialler: &mut ModemDialler) -> Result<Progress, Fault> {
    dialler.progress(PATIENCE, &Cancel::new())
}

fn hang_up(dialler: &mut ModemDialler) -> Result<(), Fault> {
    dialler.hang_up(PATIENCE, &Cancel::new())
}

/// ModemManager ends, and the bus has noticed.
fn end(fake: &mut FakeModemManager, dialler: &ModemDialler) {
    fake.end();
    eventually("it is gone", || {
        dialler
            .probe()
            .to_string()
            .contains("not on the system bus")
    });
}

#[test]
fn an_emergency_call_is_placed_silences_the_siren_and_ends_when_it_is_hung_up() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    let mut dialler = ModemDialler::new(&bus.roots());
    let mut calls = ModemCalls::new(&bus.roots());
    let speaks = |calls: &mut ModemCalls| calls.state(PATIENCE, &Cancel::new());
    assert!(matches!(dialler.probe(), Probe::Ready { .. }));
    assert!(fake.modem().voice.calls.is_empty(), "a probe calls nobody");
    assert_eq!(speaks(&mut calls), Ok(CallState::None));

    assert_eq!(dial(&mut dialler), Ok(EmergencyNumber::OneOneTwo));
    assert_eq!(fake.modem().voice.started, ["112"]);
    assert_eq!(progress(&mut dialler), Ok(Progress::Ongoing));
    assert_eq!(speaks(&mut calls), Ok(CallState::Ongoing));
    fake.modem().voice.turn(4, 3);
    assert_eq!(progress(&mut dialler), Ok(Progress::Ongoing));
    assert_eq!(speaks(&mut calls), Ok(CallState::Ongoing));
    assert_eq!(hang_up(&mut dialler), Ok(()));
    assert!(
        fake.modem().voice.calls.is_empty(),
        "it is left on the list"
    );
    assert_eq!(speaks(&mut calls), Ok(CallState::None));
    assert_eq!(hang_up(&mut dialler), Ok(()));
}

#[test]
fn a_call_that_the_other_side_ends_has_ended_and_one_that_reached_nobody_has_failed() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    let mut dialler = ModemDialler::new(&bus.roots());
    // State and reason, one after the other, and how it is over.
    let stories: [(&[(i32, i32)], Progress); 4] = [
        (&[(4, 3), (7, 4)], Progress::Ended),
        (&[(4, 3), (7, 6)], Progress::Ended),
        (&[(2, 1), (7, 5)], Progress::Failed),
        (&[(7, 0)], Progress::Failed),
    ];
    for (story, over) in stories {
        dial(&mut dialler).unwrap();
        for (state, reason) in story {
            assert_eq!(progress(&mut dialler), Ok(Progress::Ongoing));
            fake.modem().voice.turn(*state, *reason);
        }
        assert_eq!(progress(&mut dialler), Ok(over), "{story:?}");
        assert!(fake.modem().voice.calls.is_empty());
    }
}

#[test]
fn without_a_network_a_call_fails_and_where_only_calls_for_help_are_taken_it_is_placed() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    let mut dialler = ModemDialler::new(&bus.roots());
    fake.modem().voice.network = Network::None;
    let refused = dial(&mut dialler);
    assert!(matches!(refused, Err(Fault::Broken(_))), "{refused:?}");
    assert!(
        fake.modem().voice.calls.is_empty(),
        "it is left on the list"
    );
    fake.modem().voice.network = Network::Unauthorized;
    let refused = dial(&mut dialler);
    assert!(matches!(refused, Err(Fault::Denied(_))), "{refused:?}");

    fake.modem().voice.network = Network::None;
    fake.modem().voice.emergency_only = true;
    assert!(dialler.probe().to_string().contains("emergency"));
    assert_eq!(dial(&mut dialler), Ok(EmergencyNumber::OneOneTwo));
}

#[test]
fn it_dials_112_unless_the_sim_lists_911_without_it() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    let mut dialler = ModemDialler::new(&bus.roots());
    let lists = [
        (vec!["911"], EmergencyNumber::NineOneOne),
        (vec!["911", "112"], EmergencyNumber::OneOneTwo),
        (vec!["0900123"], EmergencyNumber::OneOneTwo),
        (vec![], EmergencyNumber::OneOneTwo),
    ];
    for (listed, number) in lists {
        fake.modem().voice.sim = Some(listed);
        assert_eq!(dial(&mut dialler), Ok(number));
        hang_up(&mut dialler).unwrap();
    }
    assert_eq!(fake.modem().voice.started, ["911", "112", "112", "112"]);
}

#[test]
fn a_successor_goes_on_with_the_call_of_a_killed_process_and_with_nobody_elses() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    let roots = bus.roots();
    for (number, state, direction) in [("+491701234567", 4, 2), ("112", 3, 1), ("112", 7, 2)] {
        fake.modem().voice.place(Call {
            number: number.into(),
            state,
            reason: 0,
            direction,
        });
    }
    let others = fake.modem().voice.calls.clone();
    assert_eq!(hang_up(&mut ModemDialler::new(&roots)), Ok(()));
    assert_eq!(fake.modem().voice.calls, others);
    dial(&mut ModemDialler::new(&roots)).unwrap();
    assert_eq!(fake.modem().voice.started, ["112"]);

    let mut successor = ModemDialler::new(&roots);
    assert_eq!(dial(&mut successor), Ok(EmergencyNumber::OneOneTwo));
    assert_eq!(fake.modem().voice.started, ["112"], "it is dialled twice");
    assert_eq!(hang_up(&mut successor), Ok(()));
    assert_eq!(fake.modem().voice.calls, others);
}

#[test]
fn a_modem_that_does_not_answer_is_cancelled_and_the_call_it_placed_is_hung_up() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    fake.modem().voice.network = Network::Silent;
    let mut dialler = ModemDialler::new(&bus.roots());
    let cancel = Cancel::new();
    let ended = thread::scope(|scope| {
        let dialled = scope.spawn(|| dialler.dial(PATIENCE * 3, &cancel));
        eventually("it is dialled", || !fake.modem().voice.started.is_empty());
        cancel.cancel();
        dialled.join().unwrap()
    });
    assert!(matches!(ended, Err(Fault::Cancelled(_))), "{ended:?}");
    assert_eq!(hang_up(&mut dialler), Ok(()));
    assert!(fake.modem().voice.calls.is_empty());
}

#[test]
fn a_modem_manager_that_is_absent_or_started_anew_has_no_call_of_ours() {
    let Some(bus) = Bus::start() else { return };
    let mut dialler = ModemDialler::new(&bus.roots());
    assert!(matches!(dialler.probe(), Probe::Unsupported { .. }));
    assert!(matches!(dial(&mut dialler), Err(Fault::Absent(_))));
    let mut fake = FakeModemManager::start(&bus, None);
    assert!(matches!(dialler.probe(), Probe::Unsupported { .. }));
    assert!(matches!(dial(&mut dialler), Err(Fault::Absent(_))));
    end(&mut fake, &dialler);
    fake.appear(&bus, true);
    dial(&mut dialler).unwrap();
    end(&mut fake, &dialler);
    fake.modem().voice.calls.clear();
    // The modem comes back under another path.
    fake.modem().index = 1;
    fake.appear(&bus, true);
    assert_eq!(progress(&mut dialler), Ok(Progress::Failed));
    assert_eq!(dial(&mut dialler), Ok(EmergencyNumber::OneOneTwo));
    assert_eq!(progress(&mut dialler), Ok(Progress::Ongoing));
    end(&mut fake, &dialler);
    assert_eq!(hang_up(&mut dialler), Ok(()));
}
