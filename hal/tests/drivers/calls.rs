//! The driver for calls against a ModemManager that has some, hangs, or is not there.

use std::time::{Duration, Instant};

use homing_hal::capability::call::{CallState, Calls};
use homing_hal::conformance::a_working_list_of_calls;
use homing_hal::fault::{Cancel, Fault, Probe};
use homing_hal::linux::calls::ModemCalls;

use crate::bus::{Bus, FakeModemManager, Modem, Mood};

const PATIENCE: Duration = Duration::from_secs(20);

fn ask(calls: &mut ModemCalls) -> Result<CallState, Fault> {
    calls.state(PATIENCE, &Cancel::new())
}

#[test]
fn modem_managers_list_of_calls_conforms() {
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    a_working_list_of_calls(
        &mut ModemCalls::new(&bus.roots()),
        &|| fake.modem().calls = vec![7, 4],
        &|| fake.modem().calls = vec![7],
    );
}

#[test]
fn somebody_speaks_in_a_call_that_is_dialled_or_connected_and_not_in_one_that_comes_in_or_is_held()
{
    let Some(bus) = Bus::start() else { return };
    let fake = FakeModemManager::start(&bus, Some(Modem::default()));
    let mut calls = ModemCalls::new(&bus.roots());
    let quiet = [0, 3, 5, 6, 7, -1, 99];
    for state in [1, 2, 4].into_iter().chain(quiet) {
        fake.modem().calls = vec![state];
        let wanted = match quiet.contains(&state) {
            true => CallState::None,
            false => CallState::Ongoing,
        };
        assert_eq!(ask(&mut calls), Ok(wanted), "{state}");
    }
}

#[test]
fn a_modem_manager_that_is_absent_hangs_or_is_restarted_is_told_apart() {
    let Some(bus) = Bus::start() else { return };
    let mut calls = ModemCalls::new(&bus.roots());
    assert!(matches!(ask(&mut calls), Err(Fault::Absent(_))));
    let mut fake = FakeModemManager::start(&bus, None);
    assert!(matches!(calls.probe(), Probe::Unsupported { .. }));
    assert_eq!(ask(&mut calls), Ok(CallState::None));
    fake.end();
    assert!(matches!(ask(&mut calls), Err(Fault::Absent(_))));
    fake.appear(&bus, true);
    fake.modem().calls = vec![4];
    assert_eq!(ask(&mut calls), Ok(CallState::Ongoing));
    fake.modem().mood = Mood::Hangs;
    let began = Instant::now();
    let ended = calls.state(Duration::from_millis(300), &Cancel::new());
    assert!(matches!(ended, Err(Fault::TimedOut(_))), "{ended:?}");
    assert!(began.elapsed() < PATIENCE);
}
