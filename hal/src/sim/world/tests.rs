//! What time and requests do to the simulated phone. Nothing here opens a socket.

use super::*;
use crate::sim::request::Request;

fn world() -> (World, Instant) {
    let now = Instant::now();
    (World::new(1, Place::from([52.5, 13.4]), now), now)
}

fn set(world: &mut World, line: &str, now: Instant) -> Result<(), String> {
    match Request::parse(line).unwrap() {
        Request::Set(set) => world.set(set, now),
        other => panic!("{other:?}"),
    }
}

#[test]
fn there_is_no_fix_under_a_roof_nor_before_the_time_to_first_fix() {
    let (mut world, now) = world();
    let second = Duration::from_secs(1);
    assert_eq!(world.statement(now, now), None);
    assert!(world.statement(now, now + second).is_some());
    set(
        &mut world,
        r#"{"set":"position","indoors":true}"#,
        now + second,
    )
    .unwrap();
    assert_eq!(world.statement(now, now + second * 60), None);
    set(
        &mut world,
        r#"{"set":"position","indoors":false,"first_fix_ms":35000}"#,
        now + second * 60,
    )
    .unwrap();
    assert_eq!(world.statement(now, now + second * 94), None);
    assert!(world.statement(now, now + second * 95).is_some());
}

#[test]
fn a_battery_empties_at_its_rate_and_not_below_nothing() {
    let (mut world, now) = world();
    set(
        &mut world,
        r#"{"set":"battery","percent":20,"percent_per_hour":-10}"#,
        now,
    )
    .unwrap();
    assert_eq!(
        world.battery(now + Duration::from_secs(3600))["percent"],
        10.0
    );
    assert_eq!(
        world.battery(now + Duration::from_secs(36_000))["percent"],
        0.0
    );
}

#[test]
fn values_that_make_no_sense_change_nothing() {
    let (mut world, now) = world();
    let before = world.everything(now);
    for line in [
        r#"{"set":"position","lat":91,"lon":0}"#,
        r#"{"set":"position","lat":1}"#,
        r#"{"set":"position","noise_m":-1}"#,
        r#"{"set":"battery","percent":101}"#,
        r#"{"set":"mixer","volume":101}"#,
        r#"{"set":"track","points":[],"speed_m_s":1}"#,
    ] {
        assert!(set(&mut world, line, now).is_err(), "{line}");
    }
    assert_eq!(world.everything(now), before);
}
