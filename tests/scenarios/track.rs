//! The movement history: taken by the phone, kept through everything that keeps it from the owner, delivered without a gap, and forgotten when it must be.

use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};

/// A position each second, moving or not.
const BUSY: &str = "[track]\nmoving_s = 1\nstationary_s = 1\n";
/// None within a test, unless the battery asks for it.
const LAZY: &str = "[track]\nmoving_s = 86400\nstationary_s = 86400\n";

/// A household whose phone takes positions as configured.
fn household(track: &str) -> Household {
    let mut household = Household::without_phone(Receiver::Simulated);
    household.handset.configure("track", track);
    household.enrol();
    household
}

/// From now on as configured.
fn configure(household: &Household, track: &str) {
    household.handset.configure("track", track);
    household.handset.reload();
}

fn reports(household: &Household) -> u64 {
    household.status()["agent"]["reports"].as_u64().unwrap_or(0)
}

/// Waits until the phone has made so many positions.
#[track_caller]
fn wait_reports(household: &Household, wanted: u64) {
    wait_until(PATIENCE * 2, "the phone's positions", || {
        (reports(household) >= wanted).then_some(())
    });
}

/// `homing track --json`, and what it says of gaps.
fn track(household: &Household) -> (Vec<Value>, String) {
    let answer = household
        .owner
        .homing(&["track", PHONE, "--json", "--wait", "20s"])
        .expect_success();
    (answer.json_lines(), answer.stderr)
}

/// Every number from 1 to the phone's newest, once.
#[track_caller]
fn assert_whole(household: &Household, least: u64) -> Vec<Value> {
    let (points, said) = track(household);
    let numbers: Vec<u64> = points
        .iter()
        .map(|point| point["number"].as_u64().unwrap())
        .collect();
    let newest = numbers.last().copied().unwrap_or(0);
    assert_eq!(numbers, (1..=newest).collect::<Vec<_>>(), "{said}");
    assert!(newest >= least, "{newest} < {least}\n{said}");
    points
}

#[test]
fn hours_without_an_owner_arrive_whole_in_batches_and_as_files() {
    let household = household(BUSY);
    // Nobody listens: what the broker passes on now is lost.
    household
        .sim
        .ask(json!({"set": "track", "points": [[52.5, 13.4], [52.6, 13.4]], "speed_m_s": 10}));
    wait_reports(&household, 12);
    configure(&household, LAZY);
    let points = assert_whole(&household, 12);
    assert!(points.iter().all(|point| point["doubt"].is_null()));
    assert!(
        points
            .iter()
            .all(|point| point["accuracy_m"].as_f64() > Some(0.0))
    );
    // The second call finds everything confirmed.
    wait_until(PATIENCE, "the phone to hear that all is stored", || {
        let status = household.status();
        (status["agent"]["reports"] == status["agent"]["reports_stored"]).then_some(())
    });
    // Far fewer reports than positions were sent.
    let orders = household.owner.homing(&["log", PHONE, "--all", "--json"]);
    let orders = orders.expect_success().json_lines();
    let asked = orders
        .iter()
        .filter(|order| order["op"] == "resend-reports");
    assert!((1..=4).contains(&asked.count()), "{orders:?}");

    let file = household.scratch.path().join("track.out");
    let path = file.display().to_string();
    for (format, words) in [
        ("gpx", "<gpx version=\"1.1\""),
        ("geojson", "\"FeatureCollection\""),
        ("table", "positions"),
    ] {
        let _ = household
            .owner
            .homing(&["track", PHONE, "--format", format, "--output", &path])
            .expect_success();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn hours_without_a_network_arrive_whole_when_it_is_back() {
    let mut household = household(BUSY);
    household.start_watch();
    wait_reports(&household, 2);
    household.broker.stop();
    let before = reports(&household);
    wait_reports(&household, before + 8);
    // A crash in between loses nothing.
    household.handset.kill9_agent();
    household.handset.start_agent();
    wait_reports(&household, before + 10);
    household.broker.restart();
    household.wait_connected();
    configure(&household, LAZY);
    assert_whole(&household, before + 10);
}

#[test]
fn a_broker_that_forgets_everything_again_and_again_makes_no_gap() {
    let mut household = household(BUSY);
    household.start_watch();
    for round in 1..=3u64 {
        wait_reports(&household, round * 6);
        household.broker.kill9();
        household.broker.delete_database();
        let before = reports(&household);
        wait_reports(&household, before + 3);
        household.broker.restart();
        // A change of its network lets the phone try again at once.
        for kind in ["cellular", "wifi"] {
            household
                .sim
                .ask(json!({"set": "network", "kind": kind, "metered": "no"}));
        }
        household.wait_connected();
    }
    configure(&household, LAZY);
    assert_whole(&household, 18);
}

#[test]
fn the_last_gasp_comes_once_by_itself_and_again_after_a_recovery() {
    let household = household(LAZY);
    // Signals that come together are one: each is waited for.
    let battery = |percent: u8| {
        let reloads = || {
            let log = household.handset.agent_log();
            log.matches("the configuration was read again").count()
        };
        let before = reloads();
        household
            .sim
            .ask(json!({"set": "battery", "percent": percent, "charging": "discharging"}));
        household.handset.reload();
        wait_until(PATIENCE, "the agent to have looked", || {
            (reloads() > before).then_some(())
        });
    };
    // The first look takes a position in any case.
    battery(21);
    wait_reports(&household, 1);
    battery(20);
    wait_reports(&household, 2);
    for percent in [19, 25, 18, 26] {
        battery(percent);
    }
    battery(20);
    wait_reports(&household, 3);
    assert_eq!(assert_whole(&household, 3).len(), 3);
}

#[test]
fn an_owners_locate_is_answered_while_the_phone_keeps_searching_for_its_history() {
    let household = household(BUSY);
    household
        .sim
        .ask(json!({"set": "position", "indoors": true}));
    wait_until(PATIENCE, "a periodic search", || {
        household
            .handset
            .agent_log()
            .contains("connected")
            .then_some(())
    });
    household
        .sim
        .ask(json!({"set": "position", "indoors": false}));
    for _ in 0..3 {
        let found = household.owner.json(&["locate", PHONE, "--wait", "30s"]);
        assert_eq!(found["source"], "gnss");
    }
    let ends: Vec<_> = household
        .log()
        .into_iter()
        .filter(|order| order["op"] == "locate")
        .map(|order| order["state"].clone())
        .collect();
    assert_eq!(ends, ["done", "done", "done"]);
}

#[test]
fn a_phone_whose_user_wants_no_history_makes_none_and_a_wrong_clock_forgets_nothing() {
    let mut household = Household::without_phone(Receiver::Simulated);
    household.handset.configure("track", BUSY);
    let bundle = household.bundle();
    let path = bundle.display().to_string();
    let mut adding = household.owner.start(
        "device-add",
        &[
            "device",
            "add",
            PHONE,
            "--out",
            &path,
            "--wait",
            "60s",
            "--history",
            "off",
        ],
    );
    wait_until(PATIENCE, "the bundle", || bundle.is_file().then_some(()));
    household.handset.enrol(&bundle);
    household.handset.start();
    assert!(adding.wait(PATIENCE * 2).success(), "{}", adding.log());
    let _ = household.owner.json(&["locate", PHONE, "--wait", "30s"]);
    let _ = household.owner.json(&["locate", PHONE, "--wait", "30s"]);
    assert_eq!(reports(&household), 2, "only what was asked for");

    let mut household = self::household(BUSY);
    wait_reports(&household, 5);
    household.handset.stop();
    // Two years ahead, and nobody vouches for it.
    household.handset.set_clock_offset(2 * 365 * 86_400);
    household.handset.start();
    household.wait_connected();
    configure(&household, LAZY);
    assert_whole(&household, 5);
}
