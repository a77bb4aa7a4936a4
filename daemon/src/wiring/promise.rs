//! What a beacon promises about the next one, over a day of simulated time and after a sleep. It must not wait for real time.

use std::collections::BTreeMap;
use std::time::Duration;

use homing_protocol::command::Op;

use super::rig::Rig;

/// How far a promise may be missed: the design's figure.
const MINUTE: Duration = Duration::from_secs(60);
/// An owner asks something so often.
const ASKED_EVERY: Duration = Duration::from_secs(3 * 3600);

/// Lets the phone wake when its loop says that something is due, until `end`; each beacon's number and when it was made.
fn live(rig: &mut Rig, end: Duration) -> BTreeMap<u64, Duration> {
    let mut made = BTreeMap::new();
    let mut asked = rig.now;
    while rig.now < end {
        let patience = rig.brain.as_ref().expect("it runs").patience();
        // A turn takes a second of the rig's time.
        let rest = patience.saturating_sub(Duration::from_secs(1));
        rig.now += rest;
        rig.wall.0 += rest.as_secs();
        rig.turn();
        if rig.now - asked >= ASKED_EVERY {
            asked = rig.now;
            rig.order(Op::Status);
        }
        let brain = rig.brain.as_ref().expect("it runs");
        if let Some(newest) = brain.state.newest_beacon() {
            made.entry(newest.counter).or_insert(rig.now);
        }
    }
    made
}

#[test]
fn over_a_simulated_day_the_next_contact_comes_within_a_minute_of_its_promise() {
    let folder = tempfile::tempdir().expect("folder");
    let mut rig = Rig::new(folder.path());
    rig.start();
    let end = rig.now + Duration::from_secs(24 * 3600);
    let made = live(&mut rig, end);
    let promised = rig.promises();
    let missed_by = |(number, at): (&u64, &Duration)| {
        let next = made.get(&(number + 1))?;
        let expected = *at + Duration::from_secs(promised[number].into());
        Some(next.abs_diff(expected))
    };
    let missed: Vec<Duration> = made.iter().filter_map(missed_by).collect();
    let kept = missed.iter().filter(|missed| **missed <= MINUTE).count();
    println!(
        "{kept} of {} promises kept, the worst missed by {:?}",
        missed.len(),
        missed.iter().max()
    );
    assert!(missed.len() >= 48, "two an hour at least: {}", missed.len());
    assert!(kept * 100 >= missed.len() * 95, "{missed:?}");
}

#[test]
fn a_phone_that_has_slept_through_its_promise_shows_itself_when_it_wakes() {
    let folder = tempfile::tempdir().expect("folder");
    let mut rig = Rig::new(folder.path());
    rig.start();
    let end = rig.now + Duration::from_secs(2 * 3600);
    let before = live(&mut rig, end);
    rig.now += Duration::from_secs(5 * 3600);
    rig.wall.0 += 5 * 3600;
    rig.turn();
    let newest = rig.brain.as_ref().expect("it runs").state.newest_beacon();
    assert_eq!(
        newest.map(|newest| newest.counter),
        before.keys().last().map(|last| last + 1)
    );
}
