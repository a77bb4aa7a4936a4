//! Clocks that are wrong, on the phone and at the owner's: nothing that finds a phone may depend on them. Everything goes over real TLS.

use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// A day, seconds.
const DAY: i64 = 86_400;
/// The second after a signed 32-bit clock has overflowed, 2038-01-19 03:14:08 UTC.
const AFTER_32_BITS: i64 = 1 << 31;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A household whose phone believes that it is `phone_clock`, seconds since 1970, already while it joins.
fn joined_at(phone_clock: i64) -> Household {
    let mut household = Household::without_phone(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    household.handset.set_clock_offset(phone_clock - now());
    household.enrol();
    household
}

/// Runs `homing` on a machine whose clock is off by so many seconds.
fn homing_at(household: &Household, offset: i64, arguments: &[&str]) -> Value {
    let offset = offset.to_string();
    let all: Vec<&str> = ["--clock-offset", &offset]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    household.owner.json(&all)
}

fn located_and_rung(household: &Household, owner_offset: i64) {
    let found = homing_at(household, owner_offset, &["locate", PHONE]);
    assert!(found["latitude"].is_f64(), "{found}");
    let rung = homing_at(household, owner_offset, &["ring", PHONE, "--for", "1m"]);
    assert_eq!(rung["state"], "running", "{rung}");
    household.sim.wait_heard(PATIENCE);
    let stopped = homing_at(household, owner_offset, &["ring", PHONE, "--stop"]);
    assert_eq!(stopped["state"], "done", "{stopped}");
    household.sim.wait_silent(PATIENCE);
}

#[test]
fn a_phone_that_believes_it_is_1970_joins_is_located_and_rings() {
    located_and_rung(&joined_at(0), 0);
}

#[test]
fn a_phone_that_believes_it_is_2038_joins_is_located_and_rings() {
    located_and_rung(&joined_at(AFTER_32_BITS), 0);
}

#[test]
fn a_phone_whose_clock_falls_back_to_1970_between_two_starts_is_still_found() {
    let mut household = joined_at(now());
    household.handset.stop();
    household.handset.set_clock_offset(-now());
    household.handset.start();
    located_and_rung(&household, 0);
}

#[test]
fn an_owner_whose_clock_is_a_day_behind_or_ahead_finds_the_phone() {
    let household = joined_at(now());
    located_and_rung(&household, -DAY);
    // By the phone's clock even this one has expired long ago; that it quotes a beacon of a moment ago proves it young.
    let short = ["ring", PHONE, "--for", "1m", "--within", "1h"];
    assert_eq!(homing_at(&household, -DAY, &short)["state"], "running");
    located_and_rung(&household, DAY);
    leaves_no_contact_in_the_future(&household);
}

/// The clock is right again: what was written while it was ahead does not stay.
fn leaves_no_contact_in_the_future(household: &Household) {
    let known = household.owner.json(&["locate", PHONE]);
    assert!(known["age_s"].as_u64() < Some(60), "{known}");
    let device = household.owner.json(&["devices"]);
    let today = household.owner.json(&["locate", PHONE])["time"].clone();
    let date = |time: &Value| time.as_str().map(|text| text[..10].to_owned());
    // Around midnight the two may differ by the day that has just begun, never by the one ahead.
    assert!(
        date(&device["last_contact"]) <= date(&today),
        "{device} {today}"
    );
}

#[test]
fn an_order_made_under_a_wrong_clock_is_delivered_when_the_clock_is_right_again() {
    let mut household = joined_at(now());
    for offset in [DAY, -DAY] {
        household.handset.stop();
        let waiting = ["ring", PHONE, "--for", "1s", "--wait", "1s"];
        let made = homing_at(&household, offset, &waiting);
        assert_ne!(made["state"], "running", "{made}");
        household.handset.start();
        wait_until(PATIENCE, "the order to be done", || {
            let log = household.log();
            let order = log.iter().find(|order| order["id"] == made["id"]);
            (order?["state"] == "done").then_some(())
        });
    }
}
