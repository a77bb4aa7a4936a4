//! The owner asks where the phone is. Positions come from a real gpsd unless the story is not about them.

use crate::story::{
    Watch, each_has_one_end, metres, number, queue, start_locate, steps, text, told, truth,
};
use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};
use std::time::Instant;

/// Walking speed of the track, m/s.
const SPEED: f64 = 5.0;

fn place(found: &Value) -> [f64; 2] {
    ["latitude", "longitude"].map(|name| number(&found[name]))
}

/// Locates the phone and checks the answer against the world: at some moment of the search it was there.
fn located(household: &Household) -> Value {
    let (before, began) = (truth(household), Instant::now());
    let found = household.owner.json(&["locate", PHONE]);
    let walked = SPEED * began.elapsed().as_secs_f64();
    let away = metres(place(&found), before);
    assert!(
        away <= number(&found["accuracy_m"]) + walked,
        "{away:.1} m away after {walked:.1} m: {found}"
    );
    found
}

#[test]
fn a_walking_phone_is_located_from_a_real_gpsd() {
    let household = Household::enrolled(Receiver::Gpsd);
    // Far below what the receiver states, so that the one position in twenty that may lie outside is none of ours.
    household.sim.ask(json!({"set": "position", "noise_m": 1}));
    household.sim.ask(
        json!({"set": "track", "points": [[52.5163, 13.3777], [52.5363, 13.3777]], "speed_m_s": SPEED}),
    );
    let first = located(&household);
    assert_eq!(first["source"], "gnss");
    assert!(
        (0.0..50.0).contains(&number(&first["accuracy_m"])),
        "{first}"
    );
    assert!(number(&first["age_s"]) < 30.0, "{first}");
    assert!((number(&first["speed_m_s"]) - SPEED).abs() < 3.0, "{first}");
    let second = located(&household);
    assert!(
        place(&second)[0] > place(&first)[0],
        "it walks north: {first}, then {second}"
    );
    assert_eq!(number(&second["number"]), number(&first["number"]) + 1.0);

    // What is known is told without anybody's help, in both forms.
    let mut household = household;
    household.handset.stop();
    household.broker.stop();
    let last = household.owner.json(&["locate", PHONE, "--last"]);
    assert_eq!(place(&last), place(&second));
    assert_eq!(last["number"], second["number"]);
    assert_eq!(last["time"], second["time"]);
    let told = household.owner.homing(&["locate", PHONE, "--last"]);
    let told = told.expect_success().stdout;
    let [latitude, longitude] = place(&last).map(|degrees| format!("{degrees:.7}"));
    for part in [
        &format!("{PHONE}: {latitude}, {longitude} ± "),
        " m (95 %), at ",
        " ago, source gnss",
        &format!("openstreetmap.org/?mlat={latitude}&mlon={longitude}"),
    ] {
        assert!(told.contains(part), "no {part:?} in: {told}");
    }
}

#[test]
fn a_phone_indoors_says_in_time_that_it_finds_no_position() {
    let household = Household::without_phone(Receiver::Gpsd);
    household
        .handset
        .configure("search", "[locate]\ndeadline_s = 6\n");
    household
        .sim
        .ask(json!({"set": "position", "indoors": true}));
    let mut household = household;
    household.enrol();
    let nothing = household.owner.homing(&["locate", PHONE, "--last"]);
    let nothing = nothing.expect_code(75);
    assert!(nothing.stderr.contains("no position of phone"), "{nothing}");

    // Its search takes 6 s; one that is not answered within the wait ends with another code.
    let answer = household.owner.homing(&["locate", PHONE, "--wait", "30s"]);
    let answer = answer.expect_code(69);
    assert!(
        answer.stderr.contains("the order to locate is failed (")
            && answer.stderr.contains("no fix"),
        "no reason: {answer}"
    );
    // Under the open sky it is found again.
    household
        .sim
        .ask(json!({"set": "position", "indoors": false}));
    let found = household.owner.json(&["locate", PHONE]);
    assert!(!answer.stdout.contains("Last known"), "{answer}");

    // And when it has gone in once more, the order fails with the place where it was last seen.
    household
        .sim
        .ask(json!({"set": "position", "indoors": true}));
    let answer = household.owner.homing(&["locate", PHONE, "--wait", "60s"]);
    let answer = answer.expect_code(69);
    let [latitude, longitude] = place(&found).map(|degrees| format!("{degrees:.7}"));
    let known = format!("Last known: {latitude}, {longitude} ± ");
    assert!(answer.stdout.contains(&known), "{answer}");
    let answer = household.owner.homing(&["--json", "locate", PHONE]);
    let answer = answer.expect_code(69);
    let object: serde_json::Value = serde_json::from_str(answer.stdout.trim()).unwrap();
    assert_eq!(object["state"], "failed");
    assert_eq!(object["last_known"]["number"], found["number"]);
    assert_eq!(object["last_known_to_phone"], found["number"]);
    each_has_one_end(&household);
}

#[test]
fn a_second_search_takes_the_place_of_the_first_and_both_are_answered() {
    let household = Household::enrolled(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "indoors": true}));
    let watch = Watch::start(&household);
    let mut first = start_locate(&household, "first");
    let id = wait_until(PATIENCE, "the first search", || {
        let news = watch.news();
        let running = news
            .iter()
            .find(|news| news["op"] == "locate" && news["detail"] == "running");
        running.map(|news| text(&news["command"]).to_owned())
    });
    let mut second = start_locate(&household, "second");
    assert_eq!(watch.wait_end(&id), "superseded");
    household
        .sim
        .ask(json!({"set": "position", "indoors": false}));
    // What the newer search finds answers both callers.
    for call in [&mut first, &mut second] {
        let status = call.wait(PATIENCE);
        assert!(status.success(), "{status}: {}", call.log());
        assert!(call.log().contains("source gnss"), "{}", call.log());
    }
    each_has_one_end(&household);
}

#[test]
fn a_gpsd_that_hangs_dies_or_is_absent_is_answered_for() {
    let mut household = Household::without_phone(Receiver::Gpsd);
    household
        .handset
        .configure("search", "[locate]\ndeadline_s = 8\n");
    household.enrol();
    let watch = Watch::start(&household);
    let locate = |household: &mut Household, meanwhile: &mut dyn FnMut(&mut Household)| {
        let id = queue(&household.owner, &["locate", PHONE]);
        watch.wait_state(&id, &["running"]);
        meanwhile(household);
        watch.wait_end(&id)
    };
    let gpsd = |household: &Household| household.gpsd.as_ref().map(|gpsd| gpsd.port());
    assert!(gpsd(&household).is_some());

    // It takes connections and says nothing.
    household.gpsd.as_ref().unwrap().freeze();
    let hanging = locate(&mut household, &mut |_| {});
    assert!(hanging.starts_with("failed "), "{hanging}");
    household.gpsd.as_ref().unwrap().thaw();
    assert_eq!(locate(&mut household, &mut |_| {}), "done");

    // It goes away in the middle of a search.
    household
        .sim
        .ask(json!({"set": "position", "indoors": true}));
    let died = locate(&mut household, &mut |household| {
        household.gpsd.as_mut().unwrap().kill9();
    });
    assert!(died.starts_with("failed "), "{died}");

    // It is not there at all.
    let absent = locate(&mut household, &mut |_| {});
    assert!(
        absent.starts_with("failed ") && absent.contains("gpsd"),
        "{absent}"
    );
    each_has_one_end(&household);
}

#[test]
fn the_list_of_phones_shows_the_world_as_it_is() {
    let household = Household::enrolled(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "battery", "percent": 21, "charging": "discharging"}));
    // A change of the network lets the phone connect anew, and each connection begins with a beacon.
    household
        .sim
        .ask(json!({"set": "network", "kind": "cellular", "metered": "yes"}));
    let listed = wait_until(PATIENCE, "the new beacon", || {
        let listed = household.owner.json(&["devices"]);
        (listed["battery_percent"] == 21 && listed["network"] == "cellular").then_some(listed)
    });
    let status = household.status();
    assert_eq!(listed["id"], status["device"]);
    assert_eq!(listed["name"], PHONE);
    assert_eq!(listed["standing"], "enrolled");
    assert_eq!(listed["charging"], "discharging");
    assert_eq!(listed["metered"], "yes");
    assert_eq!(listed["mode"], "normal");
    assert_eq!(listed["queued_orders"], 0);
    assert_eq!(listed["alarms"], json!([]));
    assert_eq!(listed["fingerprint"], status["fingerprint"]);
    // Beacons come each quarter of an hour unless configured otherwise.
    let seconds = |name: &str| seconds_of_day(text(&listed[name]));
    let until_next = (seconds("next_planned_contact") - seconds("last_contact")).rem_euclid(86_400);
    assert!((899..=901).contains(&until_next), "{listed}");

    let _ = household.owner.homing(&["ring", PHONE]).expect_success();
    household.sim.wait_heard(PATIENCE);
    // Told by the next beacon only.
    household
        .sim
        .ask(json!({"set": "network", "kind": "wifi", "metered": "no"}));
    let listed = wait_until(PATIENCE, "the beacon of a ringing phone", || {
        let listed = household.owner.json(&["devices"]);
        (listed["network"] == "wifi").then_some(listed)
    });
    assert_eq!(listed["mode"], "ringing");
    assert_eq!(listed["queued_orders"], 1);
    let line = household.owner.homing(&["devices"]).expect_success().stdout;
    for part in [
        PHONE,
        "LAST CONTACT",
        " ago",
        "by ",
        "21 %",
        "wifi",
        "ringing",
        "phone: 1 order under way",
    ] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
}

/// `2026-08-04T12:34:56Z` (with or without a fraction) as the second of its day.
fn seconds_of_day(time: &str) -> i64 {
    let (_, clock) = time.split_once('T').expect("RFC 3339");
    let parts: Vec<i64> = clock[..8]
        .split(':')
        .map(|part| part.parse().expect("RFC 3339"))
        .collect();
    parts[0] * 3_600 + parts[1] * 60 + parts[2]
}

/// The order went its way forwards to this end, and what the phone signed is told from what it did not.
#[track_caller]
fn went_its_way(order: &Value, end: &str) {
    let order_of = ["queued", "sent", "delivered", "running", end];
    let states = steps(order);
    let ranks: Vec<_> = states
        .iter()
        .filter_map(|state| order_of.iter().position(|known| known == state))
        .collect();
    assert!(ranks.is_sorted_by(|a, b| a < b), "{order}");
    assert_eq!(ranks.len(), states.len(), "{order}");
    assert_eq!(
        (states.first(), states.last()),
        (Some(&"queued"), Some(&end))
    );
    assert!(
        states.contains(&"running") && states.contains(&"delivered"),
        "{order}"
    );
    let mut times = Vec::new();
    for step in order["steps"].as_array().into_iter().flatten() {
        // Only what the phone signed is a fact.
        let own = ["queued", "sent"].contains(&text(&step["state"]));
        assert_eq!(step["signed"], !own, "{order}");
        times.push(text(&step["at"]));
    }
    assert!(times.is_sorted(), "{order}");
}

#[test]
fn the_log_tells_every_state_in_order_and_the_ledger_every_order() {
    let household = Household::enrolled(Receiver::Simulated);
    let _ = household.owner.homing(&["locate", PHONE]).expect_success();
    let _ = household
        .owner
        .homing(&["ring", PHONE, "--for", "60s"])
        .expect_success();
    let _ = household
        .owner
        .homing(&["ring", PHONE, "--stop"])
        .expect_success();

    let log = household.log();
    let ops: Vec<_> = log.iter().map(|order| text(&order["op"])).collect();
    assert_eq!(ops, ["locate", "ring", "ring-stop"]);
    for (order, end) in log.iter().zip(["done", "cancelled", "done"]) {
        went_its_way(order, end);
    }
    let shown = household
        .owner
        .homing(&["log", PHONE])
        .expect_success()
        .stdout;
    for line in shown.lines().filter(|line| line.starts_with("    ")) {
        let own = line.contains("queued") || line.contains("  sent ");
        let witness = if own {
            "said by this machine"
        } else {
            "signed by the phone"
        };
        assert!(line.contains(witness), "{line:?} in {shown}");
    }

    let ledger = household.ledger();
    for order in &log {
        let id = text(&order["id"]);
        let received = ledger
            .iter()
            .find(|entry| entry["command"] == id && entry["event"] == "received")
            .unwrap_or_else(|| panic!("{id} is not in {ledger:?}"));
        assert_eq!(received["order"], order["op"]);
        assert_eq!(told(&ledger, id, text(&order["state"])), 1, "{ledger:?}");
    }
    each_has_one_end(&household);
    let printed = household
        .handset
        .homingd(&["ledger"])
        .expect_success()
        .stdout;
    for order in &log {
        assert!(printed.contains(text(&order["id"])), "{printed}");
    }
}
