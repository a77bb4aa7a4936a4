//! Who stays and tells: `homing log --follow` beside others that deliver, and a watch whose machine's clock leaps.

use crate::story::{ENDS, Watch, each_has_one_end, orders, queue, text, wait_positions};
use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};

/// A year, seconds.
const YEAR: i64 = 365 * 86_400;

fn quick() -> Household {
    let household = Household::enrolled(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    household
}

/// The whole lines of JSON that a process has printed.
fn lines(log: &str) -> Vec<Value> {
    log.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[test]
fn who_follows_the_log_is_told_each_step_of_each_order_once_and_nothing_else() {
    let mut household = quick();
    let before = queue(&household.owner, &["locate", PHONE]);
    let following = household
        .owner
        .start("following", &["log", PHONE, "--follow", "--json"]);
    wait_until(PATIENCE, "what was ordered before", || {
        let told = lines(&following.log());
        told.iter()
            .any(|line| line["id"] == before.as_str())
            .then_some(())
    });
    // It delivers what it finds, and survives a broker that goes and comes.
    wait_until(PATIENCE, "the first order to be done", || {
        let log = household.log();
        log.iter()
            .any(|order| order["id"] == before.as_str() && order["state"] == "done")
            .then_some(())
    });
    household.broker.restart();
    household.wait_connected();
    let rung = household.owner.json(&["ring", PHONE, "--for", "1s"]);
    let located = household.owner.json(&["locate", PHONE, "--wait", "30s"]);
    assert!(located["latitude"].is_f64(), "{located}");
    let steps = |id: &str| -> Vec<String> {
        let told = lines(&following.log()).into_iter();
        told.filter(|line| line["kind"] == "state" && line["command"] == id)
            .map(|line| {
                text(&line["detail"])
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    let newest = orders(&household).into_iter().skip(1).collect::<Vec<_>>();
    assert_eq!(newest.len(), 2, "{newest:?}");
    assert_eq!(newest[0]["id"], rung["id"]);
    for order in &newest {
        let id = text(&order["id"]);
        let told = wait_until(PATIENCE, "the order's end", || {
            let told = steps(id);
            told.last()
                .is_some_and(|last| ENDS.contains(&last.as_str()))
                .then_some(told)
        });
        let logged = household.log();
        let logged = logged.iter().find(|known| known["id"] == id).unwrap();
        assert_eq!(
            told,
            crate::story::steps(logged),
            "each step once, in order"
        );
    }
    let strange: Vec<Value> = lines(&following.log())
        .into_iter()
        .filter(|line| line["kind"].is_string() && line["command"].is_null())
        .collect();
    assert_eq!(
        strange,
        Vec::<Value>::new(),
        "beacons and positions are not its business"
    );
}

#[test]
fn a_watch_whose_clock_leaps_a_year_to_and_fro_delivers_tells_and_forgets_nothing() {
    let household = quick();
    let file = household.scratch.path().join("clock");
    let path = file.display().to_string();
    let leap = |seconds: i64| {
        let whole = file.with_extension("new");
        std::fs::write(&whole, seconds.to_string()).unwrap();
        std::fs::rename(&whole, &file).unwrap();
    };
    leap(0);
    let clock = ["--clock-offset-from", &path];
    let watch = Watch::start_with(&household, &clock);
    let mut rings = Vec::new();
    for offset in [0, YEAR, -YEAR, 7_200, 0] {
        leap(offset);
        // Every program of the machine has the same clock.
        let order = |op: &[&str]| {
            let all: Vec<&str> = clock.iter().chain(op).copied().collect();
            queue(&household.owner, &all)
        };
        let located = order(&["locate", PHONE]);
        assert_eq!(watch.wait_end(&located), "done", "{offset}");
        let rung = order(&["ring", PHONE, "--for", "1s"]);
        assert_eq!(watch.wait_end(&rung), "done", "{offset}");
        rings.push(rung);
        wait_positions(&household, &watch);
    }
    each_has_one_end(&household);
    assert_eq!(rings.len(), 5);
    // Nothing that was stored has gone while the clock was ahead by more than anything is kept.
    let track = household
        .owner
        .homing(&["track", PHONE, "--json", "--since", "1h"]);
    let points = track.expect_success().json_lines();
    assert!(points.len() >= 5, "{points:?}");
}
