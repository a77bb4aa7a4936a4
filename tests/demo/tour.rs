//! The steps of the tour, each a function that ends with a check; it must not go on after one that failed.

use crate::archive;
use crate::household::{Household, PHONE};
use crate::lost;
use crate::stage::Stage;
use crate::thief;
use e2e::{PATIENCE, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

/// Every step, in the order of the story.
pub(crate) fn run(stage: &Stage, household: &mut Household) {
    enrol(stage, household);
    locate(stage, household);
    ring_although_muted(stage, household);
    order_waits_for_an_absent_phone(stage, household);
    thief::refused(stage, household);
    lost::locked(stage, household);
    archive::brought_back(stage, household);
}

fn enrol(stage: &Stage, household: &mut Household) {
    stage.heading("1. The phone joins the account");
    let bundle = household.scratch.path().join("phone.bundle");
    let path = bundle.display().to_string();
    let arguments = ["device", "add", PHONE, "--out", &path, "--wait", "60s"];
    stage.command(&format!(
        "homing device add {PHONE} --out phone.bundle --wait 60s"
    ));
    let mut adding = household.owner.start("device-add", &arguments);
    wait_until(PATIENCE, "the bundle", || {
        if let Some(status) = adding.ended() {
            assert!(status.success(), "device add: {status}\n{}", adding.log());
        }
        bundle.is_file().then_some(())
    });
    household.way.lead(&bundle);
    let answer = household.handset().enrol(&bundle);
    stage.answer(
        "homingd enrol phone.bundle --yes        # on the phone",
        &answer,
    );
    household.handset().start();
    household.handset().start_lock();
    let status = adding.wait(Duration::from_secs(60));
    stage.output(&adding.log());
    assert!(status.success(), "device add ended with {status}");
    household.homing(stage, &["devices"]);
    household.start_watch();
    stage.say("`homing watch` now runs in the background, as on a computer at home.");
}

fn locate(stage: &Stage, household: &mut Household) {
    stage.heading("2. Where is it? The position comes from the real gpsd, and moves");
    let first = located(stage, household);
    let before = truth(household);
    wait_until(PATIENCE, "the phone to walk 30 m", || {
        (metres(before, truth(household)) > 30.0).then_some(())
    });
    let second = located(stage, household);
    let walked = metres(first, second);
    stage.say(&format!("Between the two positions lie {walked:.0} m."));
    assert!(
        walked > 5.0,
        "the phone walks, but its position stands still"
    );
}

/// Locates the phone, checks the answer against the simulated world, and returns it.
fn located(stage: &Stage, household: &Household) -> [f64; 2] {
    household.homing(stage, &["locate", PHONE]);
    let known = household.owner.json(&["locate", PHONE, "--last"]);
    let place = ["latitude", "longitude"].map(|name| {
        number(&known, name).unwrap_or_else(|| panic!("locate --json holds no {name}: {known}"))
    });
    let away = metres(place, truth(household));
    stage.say(&format!(
        "  The simulated phone really is {away:.0} m from there, and still walking."
    ));
    // Seconds at 4 m/s, and the receiver's radius.
    assert!(away < 150.0, "the position is {away:.0} m wrong: {known}");
    place
}

fn ring_although_muted(stage: &Stage, household: &mut Household) {
    stage.heading("3. It rings, although somebody muted it and plugged in a headset");
    household
        .sim
        .ask(json!({"set": "mixer", "volume": 0, "mute": true}));
    household.sim.ask(json!({"set": "route", "to": "headset"}));
    show_siren(stage, &household.sim.siren());
    household.homing(stage, &["ring", PHONE, "--for", "1m"]);
    show_siren(stage, &loud(household));
    household.homing(stage, &["ring", PHONE, "--stop"]);
    household.silence();
    stage.say("Silent again.");
}

/// Waits for the full level: the ear beside the phone averages over a second.
fn loud(household: &Household) -> Value {
    wait_until(Duration::from_secs(60), "the siren at full level", || {
        let siren = household.sim.siren();
        (siren["level_dbfs"].as_f64()? > -10.0).then_some(siren)
    })
}

/// The level is computed from the samples played, the mixer and the route: no flag says "it rings".
fn show_siren(stage: &Stage, siren: &Value) {
    let heard = if siren["heard"] == true {
        "heard"
    } else {
        "not heard"
    };
    stage.say(&format!(
        "  Beside the phone: {heard}, {:.0} dBFS, through the {}, muted by its user: {}",
        siren["level_dbfs"].as_f64().unwrap_or(f64::NAN),
        siren["route"].as_str().unwrap_or("?"),
        siren["muted_by_user"]
    ));
}

fn order_waits_for_an_absent_phone(stage: &Stage, household: &mut Household) {
    stage.heading("4. The phone is off; the order waits for it");
    household.handset().stop();
    stage.say("(the phone is switched off)");
    let arguments = ["ring", PHONE, "--for", "4s", "--wait", "2s"];
    let answer = household.owner.homing(&arguments);
    stage.answer(&format!("homing {}", arguments.join(" ")), &answer);
    let order = newest_order(household);
    assert!(
        !order.contains("signed by the phone"),
        "who answered for a phone that is off? {order}"
    );
    show_newest_order(stage, household);
    stage.say("(the phone is switched on again)");
    household.handset().start();
    show_siren(stage, &loud(household));
    household.silence();
    wait_until(PATIENCE, "the order to be done", || {
        newest_order(household).contains("done").then_some(())
    });
    show_newest_order(stage, household);
}

fn show_newest_order(stage: &Stage, household: &Household) {
    stage.command(&format!("homing log {PHONE}        # its last order"));
    stage.output(&newest_order(household));
}

/// The end of `homing log`: each order begins at the line's start, its states are indented.
fn newest_order(household: &Household) -> String {
    let log = household
        .owner
        .homing(&["log", PHONE])
        .expect_success()
        .stdout;
    let lines: Vec<&str> = log.lines().collect();
    let begins = |line: &&str| !line.starts_with(' ');
    let first = lines.iter().rposition(begins).unwrap_or(0);
    lines[first..].join("\n")
}

/// Where the phone really is.
fn truth(household: &Household) -> [f64; 2] {
    let world = household.sim.ask(json!({"get": "world"}));
    ["lat", "lon"].map(|name| {
        world["position"][name]
            .as_f64()
            .unwrap_or_else(|| panic!("the world holds no {name}: {world}"))
    })
}

/// The first number under a key of that name, or beginning with it (`latitude_deg`), at any depth.
pub(crate) fn number(value: &Value, name: &str) -> Option<f64> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(key, inner)| key.starts_with(name).then(|| inner.as_f64()).flatten())
            .or_else(|| fields.values().find_map(|inner| number(inner, name))),
        Value::Array(items) => items.iter().find_map(|inner| number(inner, name)),
        _ => None,
    }
}

/// Metres between two places a few kilometres apart (equirectangular; the Earth's mean radius is 6,371,009 m).
fn metres(a: [f64; 2], b: [f64; 2]) -> f64 {
    let north = (a[0] - b[0]).to_radians();
    let east = (a[1] - b[1]).to_radians() * a[0].to_radians().cos();
    north.hypot(east) * 6_371_009.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_of_latitude_is_a_hundred_and_eleven_kilometres() {
        assert!((metres([52.0, 13.0], [53.0, 13.0]) - 111_195.0).abs() < 10.0);
        assert!((metres([60.0, 13.0], [60.0, 14.0]) - 55_597.0).abs() < 10.0);
    }

    #[test]
    fn a_number_is_found_under_its_name_with_a_unit_and_at_depth() {
        let value = json!({"device": "x", "position": {"latitude_deg": 52.5, "longitude": 13.4}});
        assert_eq!(number(&value, "latitude"), Some(52.5));
        assert_eq!(number(&value, "longitude"), Some(13.4));
        assert_eq!(number(&value, "altitude"), None);
    }
}
