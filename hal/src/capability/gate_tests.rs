//! Tests of the quality gate.

use proptest::prelude::*;

use super::*;

fn reading(second: u64) -> Reading {
    Reading {
        at: Duration::from_secs(second),
        time_unix_ms: Some(1_790_000_000_000 + i64::try_from(second).unwrap() * 1000),
        latitude_deg: 52.5163,
        longitude_deg: 13.3777,
        radius_m: Some(12.0),
        hdop: Some(0.9),
        satellites: Some(8),
        altitude_m: Some(34.0),
        speed_m_s: Some(0.1),
        course_deg: Some(271.5),
    }
}

fn north(reading: Reading, metres: f64) -> Reading {
    Reading {
        latitude_deg: reading.latitude_deg + metres / 111_195.0,
        ..reading
    }
}

#[test]
fn two_good_readings_of_different_epochs_confirm_each_other() {
    let mut gate = Gate::new();
    assert_eq!(gate.offer(reading(1)), Verdict::Waiting);
    let Verdict::Confirmed(fix) = gate.offer(reading(2)) else {
        panic!("not confirmed")
    };
    assert_eq!(fix.position.latitude_e7, 525_163_000);
    assert_eq!(fix.position.longitude_e7, 133_777_000);
    assert_eq!(fix.position.accuracy_dm, 120);
    assert_eq!(fix.position.speed_cm_s, Some(10));
    assert_eq!(fix.position.course_cdeg, Some(27_150));
    assert_eq!(fix.satellites, Some(8));
}

#[test]
fn one_epoch_told_twice_confirms_nothing() {
    let mut gate = Gate::new();
    for _ in 0..5 {
        assert_eq!(gate.offer(reading(1)), Verdict::Waiting);
    }
}

#[test]
fn the_first_fix_of_a_phone_at_rest_with_62_metres_per_second_is_not_believed() {
    let mut gate = Gate::new();
    gate.offer(Reading {
        speed_m_s: Some(62.0),
        ..reading(1)
    });
    assert_eq!(gate.offer(reading(2)), Verdict::Waiting);
    assert!(matches!(gate.offer(reading(3)), Verdict::Confirmed(_)));
}

#[test]
fn a_moving_phone_is_confirmed_where_it_is_now() {
    let mut gate = Gate::new();
    let driving = |second: u64| {
        let moved = f64::from(u32::try_from(second).unwrap()) * 30.0;
        Reading {
            speed_m_s: Some(30.0),
            ..north(reading(second), moved)
        }
    };
    gate.offer(driving(1));
    let Verdict::Confirmed(fix) = gate.offer(driving(2)) else {
        panic!("not confirmed")
    };
    assert_eq!(
        fix.position.latitude_e7,
        to_i32(driving(2).latitude_deg * 1e7)
    );
}

#[test]
fn numbers_that_are_none_and_places_that_are_not_on_earth_are_rejected() {
    let bad = [
        Reading {
            latitude_deg: f64::NAN,
            ..reading(1)
        },
        Reading {
            longitude_deg: f64::INFINITY,
            ..reading(1)
        },
        Reading {
            latitude_deg: 90.01,
            ..reading(1)
        },
        Reading {
            longitude_deg: -180.01,
            ..reading(1)
        },
        Reading {
            latitude_deg: 0.0,
            longitude_deg: 0.0,
            ..reading(1)
        },
        Reading {
            speed_m_s: Some(1_000.0),
            ..reading(1)
        },
        Reading {
            speed_m_s: Some(f64::NAN),
            ..reading(1)
        },
    ];
    let mut gate = Gate::new();
    for reading in bad {
        assert!(matches!(gate.offer(reading), Verdict::Rejected(_)));
    }
    assert_eq!(gate.best(Duration::from_secs(5)), None);
}

#[test]
fn a_single_jump_is_rejected_and_leaves_the_place_alone() {
    let mut gate = Gate::new();
    gate.offer(reading(1));
    assert!(matches!(
        gate.offer(north(reading(2), 500_000.0)),
        Verdict::Rejected(_)
    ));
    let Verdict::Confirmed(fix) = gate.offer(reading(3)) else {
        panic!("not confirmed")
    };
    assert_eq!(fix.position.latitude_e7, 525_163_000);
}

#[test]
fn a_wrong_first_reading_is_outvoted_by_two_that_agree() {
    let mut gate = Gate::new();
    gate.offer(north(reading(1), 500_000.0));
    gate.offer(reading(2));
    assert!(matches!(gate.offer(reading(3)), Verdict::Confirmed(_)));
}

#[test]
fn a_poor_reading_is_never_confirmed_but_reported_with_a_wider_radius() {
    let poor = |second| Reading {
        hdop: Some(8.0),
        radius_m: None,
        satellites: Some(4),
        ..reading(second)
    };
    let mut gate = Gate::new();
    for second in 1..30 {
        assert_eq!(gate.offer(poor(second)), Verdict::Waiting);
    }
    let fix = gate.best(Duration::from_secs(31)).unwrap();
    assert_eq!(fix.position.accuracy_dm, 2_400, "8 × 15 m × 2");
    assert_eq!(fix.position.age_s, 2);
}

#[test]
fn two_places_that_contradict_each_other_widen_the_radius_to_hold_both() {
    let mut gate = Gate::new();
    gate.offer(reading(1));
    gate.offer(north(reading(2), 300.0));
    let fix = gate.best(Duration::from_secs(2)).unwrap();
    assert!(
        fix.position.accuracy_dm >= 3_000,
        "{}",
        fix.position.accuracy_dm
    );
}

#[test]
fn a_receiver_that_states_no_quality_gets_the_widest_radius() {
    let bare = |second| Reading {
        hdop: None,
        radius_m: None,
        satellites: None,
        ..reading(second)
    };
    let mut gate = Gate::new();
    gate.offer(bare(1));
    assert_eq!(gate.offer(bare(2)), Verdict::Waiting);
    let fix = gate.best(Duration::from_secs(2)).unwrap();
    assert_eq!(fix.position.accuracy_dm, 3_000, "10 × 15 m × 2");
}

#[test]
fn debug_output_carries_no_place() {
    let text = format!("{:?} {:?}", reading(1), Gate::new().offer(reading(1)));
    assert!(!text.contains("52.5") && !text.contains("5251"), "{text}");
}

proptest! {
    #[test]
    fn arbitrary_readings_never_panic_and_give_only_places_on_earth(
        values in proptest::collection::vec(
            (any::<f64>(), any::<f64>(), any::<Option<f64>>(), any::<Option<f64>>(), any::<Option<f64>>(), any::<u16>()), 0..20)
    ) {
        let mut gate = Gate::new();
        for (latitude_deg, longitude_deg, radius_m, hdop, speed_m_s, at) in values {
            let reading = Reading {
                at: Duration::from_millis(at.into()),
                time_unix_ms: None,
                latitude_deg, longitude_deg, radius_m, hdop, speed_m_s,
                satellites: None, altitude_m: radius_m, course_deg: hdop,
            };
            gate.offer(reading);
            if let Some(fix) = gate.best(Duration::from_millis(at.into())) {
                prop_assert!(fix.position.latitude_e7.unsigned_abs() <= 900_000_000);
                prop_assert!(fix.position.longitude_e7.unsigned_abs() <= 1_800_000_000);
                prop_assert!(fix.position.accuracy_dm >= 96);
                prop_assert!(fix.position.course_cdeg.is_none_or(|course| course < 36_000));
            }
        }
    }
}
