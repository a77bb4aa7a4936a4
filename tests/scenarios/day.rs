//! A normal day in minutes: the agent's clock since boot goes faster, its owner asks, its networks change, its broker restarts; nothing grows. It must not judge by a single reading.

use e2e::{Household, PATIENCE, PHONE, Receiver, wait_until};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How many times faster the day passes: a step of some two seconds is eight minutes of it.
const RATE: u32 = 240;
/// How many steps are made at least.
const LEAST_STEPS: u32 = 12;
/// How much the agent may grow after its warm-up: the design's figure.
const MOST_DRIFT: f64 = 0.05;

/// What the agent uses at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    rss_kib: u64,
    descriptors: u64,
}

fn read(pid: u32) -> Reading {
    let process = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let rss = rss.and_then(|text| text.split_whitespace().next()?.parse().ok());
    Reading {
        rss_kib: rss.unwrap(),
        descriptors: std::fs::read_dir(process.join("fd")).unwrap().count() as u64,
    }
}

/// One step of the day; every kind comes round.
fn step(household: &mut Household, number: u32) {
    let sim = &household.sim;
    match number % 8 {
        0 => {
            let way = json!([[52.516, 13.377], [52.53, 13.41], [52.50, 13.36]]);
            sim.ask(json!({"set": "track", "points": way, "speed_m_s": 8.0, "repeat": "loop"}));
        }
        // A receiver takes real seconds, minutes of this day: some searches are answered as hanging, and their positions
        // come all the same.
        1 => drop(household.owner.homing(&["locate", PHONE])),
        2 => drop(sim.ask(json!({"set": "network", "kind": "cellular", "metered": "yes"}))),
        3 => {
            let rung = household.owner.json(&["ring", PHONE, "--for", "1h"]);
            // An hour is a quarter of a minute here: on a crowded machine it may be over when its owner hears of it.
            let sounded = ["running", "done"]
                .iter()
                .any(|state| rung["state"] == *state);
            assert!(sounded, "{rung}");
            let stopped = household.owner.json(&["ring", PHONE, "--stop"]);
            assert_eq!(stopped["state"], "done", "{stopped}");
        }
        4 => drop(sim.ask(json!({"set": "position", "lat": 52.52, "lon": 13.4}))),
        5 => drop(sim.ask(json!({"set": "network", "kind": "wifi", "metered": "no"}))),
        6 => {
            household.broker.restart();
            household.wait_connected();
        }
        _ => drop(household.owner.homing(&["track", PHONE, "--since", "24h"])),
    }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The readings after the warm-up.
fn warm(readings: &[Reading]) -> &[Reading] {
    let quarter = readings.len() / 4;
    &readings[quarter..2 * quarter]
}

fn descriptors(readings: &[Reading]) -> u64 {
    median(readings.iter().map(|reading| reading.descriptors).collect())
}

/// How a day went by.
struct Day {
    /// What was read after each step.
    readings: Vec<Reading>,
    /// How many descriptors were open when it had come to rest.
    left_open: u64,
    /// The agent's own words at its end.
    agent: Value,
}

/// Lives through so many hours.
fn live(hours: u32) -> Day {
    let mut household = Household::without_phone(Receiver::Simulated);
    household
        .sim
        .ask(json!({"set": "position", "first_fix_ms": 0}));
    household.handset.set_clock_rate(RATE);
    household.enrol();
    household.start_watch();
    household.wait_connected();
    let pid = household.handset.agent().unwrap().id();
    let (began, day) = (Instant::now(), Duration::from_secs(3600) * hours / RATE);
    let (mut readings, mut number) = (Vec::new(), 0);
    // On a crowded machine a step may take long: judged is by quarters, and by every kind of step.
    while began.elapsed() < day || number < LEAST_STEPS {
        let next = Instant::now() + Duration::from_secs(2);
        step(&mut household, number);
        number += 1;
        wait_until(Duration::from_secs(30), "the next step", || {
            (Instant::now() >= next).then_some(())
        });
        readings.push(read(pid));
    }
    let status = household.status();
    assert_eq!(household.handset.agent().unwrap().id(), pid);
    assert!(
        household.handset.agent().unwrap().ended().is_none(),
        "the same process"
    );
    // Searches and connections come and go: what has not been given back once they are over never will be.
    let least = warm(&readings).iter().map(|reading| reading.descriptors);
    let before = least.min().unwrap_or(0);
    let what = format!("no more than {before} open descriptors, after {readings:?}");
    let left_open = wait_until(PATIENCE, &what, || {
        Some(read(pid).descriptors).filter(|open| *open <= before)
    });
    Day {
        readings,
        left_open,
        agent: status["agent"].clone(),
    }
}

/// How a day went: what was used at first, after the warm-up, and at its end.
fn judge(day: &Day, most_drift: f64) -> Value {
    let readings = &day.readings;
    let rss = |part: &[Reading]| median(part.iter().map(|reading| reading.rss_kib).collect());
    let warm = warm(readings);
    let last = &readings[readings.len() - warm.len()..];
    let drift = (rss(last) as f64 - rss(warm) as f64) / rss(warm) as f64;
    assert!(
        drift < most_drift,
        "the agent grows by {drift:.3}: {readings:?}"
    );
    json!({
        "rss_kib_first": readings[0].rss_kib,
        "rss_kib_warm": rss(warm),
        "rss_kib_end": rss(last),
        "rss_drift": (drift * 10_000.0).round() / 10_000.0,
        "descriptors_warm": descriptors(warm),
        "descriptors_end": day.left_open,
        "steps": readings.len(),
    })
}

#[test]
fn a_part_of_a_day_in_seconds_leaves_nothing_behind() {
    let day = live(2);
    // In so short a time some pages of the program are still touched for the first time.
    judge(&day, 2.0 * MOST_DRIFT);
    let agent = day.agent;
    // Beacons each quarter of an hour at least while it is asked, and positions of a phone that moves.
    assert!(agent["beacons"].as_u64() >= Some(5), "{agent}");
    assert!(agent["reports"].as_u64() >= Some(3), "{agent}");
}

#[test]
#[ignore = "by hand: cargo xtask campaign day"]
fn a_whole_day() {
    let hours = std::env::var("HOMING_CAMPAIGN_COUNT").ok();
    let hours = hours.and_then(|text| text.parse().ok()).unwrap_or(24);
    let began = Instant::now();
    let day = live(hours);
    let mut result = judge(&day, MOST_DRIFT);
    for name in ["beacons", "receipts", "reports"] {
        result[name] = day.agent[name].clone();
    }
    result["campaign"] = "day".into();
    result["simulated_hours"] = hours.into();
    result["violations"] = 0.into();
    result["seconds"] = began.elapsed().as_secs().into();
    if let Some(path) = std::env::var_os("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(path, format!("{result:#}\n")).unwrap();
    }
}
