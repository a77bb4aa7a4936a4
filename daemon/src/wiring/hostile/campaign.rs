//! A thousand schedules on each run, more by hand; one that fails is made short and printed. Schedules that failed once are kept in `kept.txt` and come first.

use std::time::Instant;

use super::play::{Outcome, play, story};
use super::step::{Step, read_all, schedule, write};
use super::world::Templates;

/// Schedules on each run.
const EACH_RUN: u64 = 1_000;

/// Leaves out whatever the failure does not need: halves first, then ever smaller runs, then single steps.
fn shorten(schedule: &[Step], fails: &mut dyn FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut short = schedule.to_vec();
    let mut length = short.len().div_ceil(2);
    while length > 0 {
        let mut at = 0;
        while at < short.len() {
            let mut without = short.clone();
            without.drain(at..(at + length).min(short.len()));
            if fails(&without) {
                short = without;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    short
}

/// Plays one; when it fails, says what is wrong with the shortest schedule that fails in the same way.
fn failure(templates: &Templates, name: &str, steps: &[Step]) -> Result<Outcome, String> {
    let outcome = play(templates, steps);
    if outcome.faults.is_empty() {
        return Ok(outcome);
    }
    let kind = |outcome: &Outcome| outcome.faults.first().map(|fault| fault[..12].to_owned());
    let wanted = kind(&outcome);
    let short = shorten(steps, &mut |steps| kind(&play(templates, steps)) == wanted);
    let faults = play(templates, &short).faults.join("\n  ");
    let lines: Vec<String> = short.iter().map(ToString::to_string).collect();
    Err(format!(
        "{name}:\n  {faults}\nby these {} steps:\n  {}\nto be kept in kept.txt as\n{}",
        short.len(),
        lines.join("\n  "),
        write(&short)
    ))
}

#[test]
fn schedules_that_failed_once_hold() {
    let templates = Templates::new();
    for (index, steps) in read_all(include_str!("kept.txt")).iter().enumerate() {
        if let Err(words) = failure(&templates, &format!("kept schedule {index}"), steps) {
            panic!("{words}");
        }
    }
}

#[test]
#[ignore = "by hand, with the steps of one schedule in HOMING_SCHEDULE"]
fn the_story_of_one_schedule() {
    let text = std::env::var("HOMING_SCHEDULE").unwrap_or_default();
    for steps in read_all(&text) {
        for line in story(&Templates::new(), &steps) {
            println!("{line}");
        }
    }
}

/// Plays so many schedules; how many orders and effects there were.
fn run(first: u64, count: u64) -> Result<(usize, usize), String> {
    let templates = Templates::new();
    let (mut orders, mut effects) = (0, 0);
    for seed in first..first + count {
        let outcome = failure(&templates, &format!("seed {seed}"), &schedule(seed))?;
        orders += outcome.orders;
        effects += outcome.effects;
    }
    Ok((orders, effects))
}

#[test]
fn no_schedule_of_a_hostile_broker_has_a_wrong_effect_or_loses_anything() {
    match run(1, EACH_RUN) {
        Ok((orders, effects)) => {
            assert!(orders > 2_000 && effects > 1_000, "{orders} {effects}");
        }
        Err(words) => panic!("{words}"),
    }
}

#[test]
#[ignore = "by hand: cargo xtask campaign hostile-broker"]
fn a_campaign_of_hostile_schedules() {
    let number = |name: &str, otherwise: u64| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let (first, count) = (
        number("HOMING_CAMPAIGN_SEED", 1),
        number("HOMING_CAMPAIGN_COUNT", EACH_RUN),
    );
    let began = Instant::now();
    let (mut orders, mut effects) = (0, 0);
    for from in (first..first + count).step_by(1_000) {
        let these = (first + count - from).min(1_000);
        let (more, happened) = run(from, these).unwrap_or_else(|words| panic!("{words}"));
        (orders, effects) = (orders + more, effects + happened);
        eprintln!("{} schedules, {:?}", from + these - first, began.elapsed());
    }
    let result = serde_json::json!({
        "campaign": "hostile-broker",
        "schedules": count,
        "first_seed": first,
        "orders": orders,
        "effects": effects,
        "violations": 0,
        "seconds": began.elapsed().as_secs(),
    });
    if let Some(path) = std::env::var_os("HOMING_CAMPAIGN_RESULT") {
        std::fs::write(path, format!("{result:#}\n")).expect("written");
    }
}
