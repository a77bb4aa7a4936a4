//! The movement history, row by row: when the next position is due, the last gasp, what is asked for again, what is forgotten.

use crate::house::*;
use crate::locate::PLACE;
use homing_policy::record::Place;
use homing_policy::track::{MOST_REPORTS, due_in_ms};
use homing_policy::{Effect, Event, Outgoing, Record, SearchOutcome, TrackSettings};
use homing_protocol::authority::Capabilities;
use homing_protocol::command::Op;
use homing_protocol::id::BootId;
use homing_protocol::measure::{Battery, Charging, Position};
use homing_protocol::receipt::CommandState::*;

const SETTINGS: TrackSettings = TrackSettings {
    retention_days: 30,
    moving_s: 300,
    stationary_s: 3600,
    last_gasp_percent: 20,
};
const MINUTE_MS: u64 = 60_000;
const BOOT: BootId = BootId([1; 16]);

fn at(percent: u8) -> Battery {
    Battery {
        percent: Some(percent),
        charging: Charging::Discharging,
    }
}

fn look_with(phone: &mut Phone, settings: TrackSettings, battery: Battery) -> Vec<Effect> {
    phone.hear(&Event::TrackLook { settings, battery })
}

fn look(phone: &mut Phone, battery: Battery) -> Vec<Effect> {
    look_with(phone, SETTINGS, battery)
}

fn found(phone: &mut Phone, position: Position) {
    let outcome = SearchOutcome::Found(position);
    let _ = phone.hear(&Event::TrackEnded { outcome });
}

/// So many metres north of the usual place.
fn north(metres: i32) -> Position {
    Position {
        latitude_e7: PLACE.latitude_e7 + metres * 90,
        ..PLACE
    }
}

fn due_in(phone: &Phone, battery: Battery) -> Option<u64> {
    due_in_ms(&phone.state, &phone.now, &SETTINGS, battery)
}

#[test]
fn the_first_position_is_due_at_once_and_the_next_by_movement_and_battery() {
    let mut phone = Phone::new();
    assert_eq!(look(&mut phone, at(80)), [Effect::TrackSearch]);
    assert!(look(&mut phone, at(80)).is_empty(), "one is on its way");
    found(&mut phone, PLACE);
    // Whether it moves is not known before the second one.
    for (position, percent, minutes) in [
        (PLACE, 80, 60),
        (north(40), 80, 60),
        (north(90), 80, 5),
        (north(140), 80, 5),
        (north(140), 80, 60),
        (north(140), 29, 120),
        (north(340), 29, 10),
        (north(540), 30, 5),
    ] {
        phone.later(3 * 60 * MINUTE_MS);
        assert_eq!(look(&mut phone, at(percent)), [Effect::TrackSearch]);
        found(&mut phone, position);
        assert_eq!(due_in(&phone, at(percent)), Some(minutes * MINUTE_MS));
        phone.later(minutes * MINUTE_MS - 1);
        assert!(look(&mut phone, at(percent)).is_empty());
        assert_eq!(due_in(&phone, at(percent)), Some(1));
    }
}

#[test]
fn a_slow_drift_is_movement_as_soon_as_it_is_far_enough() {
    let mut phone = Phone::new();
    for metres in [0, 20, 40] {
        phone.later(2 * 60 * MINUTE_MS);
        let _ = look(&mut phone, at(80));
        found(&mut phone, north(metres));
    }
    assert!(phone.state.place.is_some_and(|place| !place.moving));
    found(&mut phone, north(60));
    assert!(phone.state.place.is_some_and(|place| place.moving));
}

#[test]
fn distances_are_measured_along_the_globe_and_the_short_way_around_it() {
    let place = |latitude_e7, longitude_e7| Place {
        boot: BOOT,
        boottime_ms: 0,
        latitude_e7,
        longitude_e7,
        accuracy_dm: 50,
        moving: false,
    };
    // At 60 degrees north a degree of longitude is half as long as at the equator: 10⁻⁷ of it are 5.6 mm.
    for (from, to, left) in [
        ((600_000_000, 100_000_000), (600_000_000, 100_014_400), true),
        ((600_000_000, 100_000_000), (600_000_000, 99_985_600), true),
        (
            (600_000_000, 100_000_000),
            (600_000_000, 100_007_000),
            false,
        ),
        (
            (450_000_000, 100_000_000),
            (450_000_000, 100_005_500),
            false,
        ),
        ((0, 100_000_000), (0, 100_007_000), true),
        ((0, 100_000_000), (0, 100_004_000), false),
        (
            (600_000_000, 1_799_999_900),
            (600_000_000, -1_799_999_900),
            false,
        ),
        (
            (600_000_000, 1_799_991_000),
            (600_000_000, -1_799_991_000),
            true,
        ),
        ((0, -900_000_000), (0, 900_000_000), true),
    ] {
        let position = Position {
            latitude_e7: to.0,
            longitude_e7: to.1,
            ..PLACE
        };
        let place = place(from.0, from.1);
        assert_eq!(place.is_left_by(&position), left, "{from:?} {to:?}");
    }
    // Two radii of 60 m explain 110 m and not 130.
    let wide = Place {
        accuracy_dm: 600,
        ..place(0, 0)
    };
    for (metres, left) in [(110, false), (130, true)] {
        let position = Position {
            latitude_e7: metres * 90,
            longitude_e7: 0,
            accuracy_dm: 600,
            ..PLACE
        };
        assert_eq!(wide.is_left_by(&position), left, "{metres} m");
    }
}

#[test]
fn speed_is_movement_whatever_the_distance_and_wide_radii_explain_a_distance() {
    let mut phone = Phone::new();
    found(&mut phone, PLACE);
    found(&mut phone, PLACE);
    let walking = Position {
        speed_cm_s: Some(140),
        ..PLACE
    };
    found(&mut phone, walking);
    assert!(phone.state.place.is_some_and(|place| place.moving));
    let vague = Position {
        accuracy_dm: 20_000,
        ..north(1_500)
    };
    found(&mut phone, vague);
    assert!(phone.state.place.is_some_and(|place| !place.moving));
}

#[test]
fn a_search_that_found_nothing_is_not_repeated_before_the_next_is_due() {
    let mut phone = Phone::new();
    let _ = look(&mut phone, at(80));
    let outcome = SearchOutcome::Failed("indoors");
    assert!(phone.hear(&Event::TrackEnded { outcome }).is_empty());
    phone.later(4 * MINUTE_MS);
    assert!(look(&mut phone, at(80)).is_empty());
    phone.later(MINUTE_MS);
    assert_eq!(look(&mut phone, at(80)), [Effect::TrackSearch]);
    assert_eq!(phone.state.reports, 0);
}

#[test]
fn an_owners_search_is_never_joined_by_a_periodic_one_and_counts_as_a_position() {
    let (house, mut phone) = (House::new(), Phone::new());
    assert!(searches(&phone.receive(&house.sign(&locate(1, 1))), 1));
    phone.later(10 * 60 * MINUTE_MS);
    assert!(look(&mut phone, at(80)).is_empty());
    let _ = phone.hear(&Event::SearchEnded {
        command: command_id(1),
        outcome: SearchOutcome::Found(PLACE),
    });
    assert_eq!(phone.said(1), [Running, Done]);
    assert_eq!(due_in(&phone, at(80)), Some(5 * MINUTE_MS));
}

#[test]
fn an_owners_order_during_a_periodic_search_begins_at_once() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = look(&mut phone, at(80));
    assert!(searches(&phone.receive(&house.sign(&locate(1, 1))), 1));
    assert_eq!(phone.said(1), [Running]);
}

#[test]
fn without_retention_there_is_no_history_not_even_a_last_gasp() {
    let mut phone = Phone::new();
    let off = TrackSettings {
        retention_days: 0,
        ..SETTINGS
    };
    for percent in [80, 20, 3] {
        phone.later(5 * 60 * MINUTE_MS);
        assert!(look_with(&mut phone, off, at(percent)).is_empty());
    }
    assert_eq!(due_in_ms(&phone.state, &phone.now, &off, at(80)), None);
}

#[test]
fn the_last_gasp_comes_once_and_again_only_after_a_recovery() {
    let mut phone = Phone::new();
    let gasp = [Effect::TrackSearch, Effect::BeaconSoon];
    let _ = look(&mut phone, at(21));
    assert_eq!(look(&mut phone, at(20)), gasp);
    for percent in [20, 19, 21, 25, 20, 15] {
        assert!(look(&mut phone, at(percent)).is_empty(), "{percent} %");
    }
    // It is remembered over restarts of the agent and of the phone.
    let _ = phone.restart();
    assert!(look(&mut phone, at(16)).is_empty());
    assert!(look(&mut phone, at(26)).is_empty());
    assert_eq!(look(&mut phone, at(19)), gasp);
}

#[test]
fn where_no_last_gasp_is_wanted_an_empty_battery_is_no_reason_for_one() {
    let mut phone = Phone::new();
    let never = TrackSettings {
        last_gasp_percent: 0,
        ..SETTINGS
    };
    let _ = look_with(&mut phone, never, at(80));
    assert!(look_with(&mut phone, never, at(0)).is_empty());
}

#[test]
fn a_phone_that_is_being_charged_does_not_gasp() {
    let mut phone = Phone::new();
    let _ = look(&mut phone, at(80));
    let charging = Battery {
        percent: Some(12),
        charging: Charging::Charging,
    };
    assert!(look(&mut phone, charging).is_empty());
    let unknown = Battery {
        percent: None,
        charging: Charging::Unknown,
    };
    assert!(look(&mut phone, unknown).is_empty());
}

#[test]
fn after_a_restart_of_the_phone_a_position_is_due() {
    let mut phone = Phone::new();
    let _ = look(&mut phone, at(80));
    found(&mut phone, PLACE);
    let _ = phone.restart();
    assert!(look(&mut phone, at(80)).is_empty());
    let _ = phone.reboot();
    assert_eq!(look(&mut phone, at(80)), [Effect::TrackSearch]);
}

#[test]
fn positions_asked_for_again_are_answered_with_the_lowest_number_that_is_left() {
    let (house, mut phone) = (House::new(), Phone::new());
    for _ in 0..10 {
        found(&mut phone, PLACE);
    }
    let _ = phone.hear(&Event::ReportsExpired { through: 4 });
    // Beyond what was made, and backwards: neither changes anything.
    let _ = phone.hear(&Event::ReportsExpired { through: 11 });
    let _ = phone.hear(&Event::ReportsExpired { through: 3 });
    assert_eq!(phone.state.reports_forgotten, 4);
    for (id, first, last, left) in [(1, 1, 3, 5), (2, 3, 8, 5), (3, 6, 8, 6), (4, 20, 30, 11)] {
        let op = Op::ResendReports { first, last };
        let effects = phone.receive(&house.sign(&order(id.into(), id, op)));
        assert_eq!(effects, [Effect::ResendReports { first, last }]);
        assert_eq!(phone.said(id), [Done]);
        let told = phone.journal.sent.iter().rev().find_map(|sent| match sent {
            Outgoing::Receipt { report, .. } => *report,
            _ => None,
        });
        assert_eq!(told, Some(left));
    }
}

#[test]
fn what_has_expired_is_written_down_once() {
    let mut phone = Phone::new();
    for _ in 0..5 {
        found(&mut phone, PLACE);
    }
    let written = phone.journal.records.len();
    for _ in 0..3 {
        let _ = phone.hear(&Event::ReportsExpired { through: 5 });
    }
    assert_eq!(phone.journal.records.len(), written + 1);
}

#[test]
fn what_a_reader_has_stored_is_written_down_once() {
    let mut phone = Phone::new();
    found(&mut phone, PLACE);
    let written = phone.journal.records.len();
    for through in [1, 1, 0] {
        let rights = Capabilities::find();
        let _ = phone.hear(&Event::ReportsStored { through, rights });
    }
    assert_eq!(phone.journal.records.len(), written + 1);
}

#[test]
fn more_positions_than_a_phone_keeps_push_the_oldest_out() {
    let mut phone = Phone::new();
    let counter = MOST_REPORTS + 7;
    phone.state.apply(&Record::Report { counter });
    assert_eq!(phone.state.reports_forgotten, 7);
}

#[test]
fn a_position_that_was_asked_for_puts_the_next_one_of_the_history_off() {
    let (house, mut phone) = (House::new(), Phone::new());
    let ask = |phone: &mut Phone, number: u8| {
        let _ = phone.receive(&house.sign(&locate(number.into(), number)));
        let _ = phone.hear(&Event::SearchEnded {
            command: command_id(number),
            outcome: SearchOutcome::Found(PLACE),
        });
    };
    ask(&mut phone, 1);
    phone.later(40 * MINUTE_MS);
    ask(&mut phone, 2);
    assert_eq!(due_in(&phone, at(80)), Some(60 * MINUTE_MS));
    // Also after a restart of the phone, at the same place.
    let _ = phone.reboot();
    phone.beacon();
    assert_eq!(due_in(&phone, at(80)), Some(0));
    ask(&mut phone, 3);
    assert_eq!(due_in(&phone, at(80)), Some(60 * MINUTE_MS));
}

#[test]
fn a_phone_in_lost_mode_is_looked_for_as_if_it_moved() {
    let (house, mut phone) = (House::new(), Phone::new());
    let _ = look(&mut phone, at(80));
    found(&mut phone, PLACE);
    phone.later(60_000);
    found(&mut phone, PLACE);
    let resting = due_in(&phone, at(80)).unwrap();
    let _ = phone.receive(&house.sign(&crate::lost::lost(1, 1)));
    let wanted = due_in(&phone, at(80)).unwrap();
    let earlier = u64::from(SETTINGS.stationary_s - SETTINGS.moving_s) * 1_000;
    assert_eq!(resting - wanted, earlier);
}
