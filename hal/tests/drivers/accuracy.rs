//! Whether a stated radius is honest: labelled fixes from the simulator's seeds, through the quality gate. It must not know how the gate decides.

use std::time::Duration;

use homing_hal::capability::gate::{Gate, Reading, Verdict};
use homing_hal::sim::track::{Place, noise_m};
use homing_protocol::measure::Position;

/// Radius that holds 95 % of a circular normal error, in standard deviations per axis: √(−2 ln 0.05).
const CIRCLE_95: f64 = 2.447_746_8;
/// Metres in a degree of latitude (WGS 84, mean).
const DEGREE_M: f64 = 111_132.95;
/// Attempts of each kind.
const ATTEMPTS: u64 = 400;

/// One kind of receiver under one kind of sky.
#[derive(Clone, Copy, Debug)]
struct Sky {
    name: &'static str,
    /// Standard deviation of the error on each axis, metres.
    sigma_m: f64,
    /// Whether the receiver states a radius, else only its dilution.
    states_radius: bool,
    hdop: f64,
    /// Speed over ground, m/s.
    speed_m_s: f64,
    /// One reading in so many is ten times as wrong: multipath. 0 for none.
    wild_every: u64,
}

/// From open sky to a street between high houses; the dilution grows with the error as it does for real receivers, whose
/// range error has a standard deviation of some 6 m (15 m at 95 %).
const SKIES: [Sky; 6] = [
    Sky {
        name: "open sky, radius stated",
        sigma_m: 3.0,
        states_radius: true,
        hdop: 0.9,
        speed_m_s: 0.0,
        wild_every: 0,
    },
    Sky {
        name: "walking, radius stated",
        sigma_m: 5.0,
        states_radius: true,
        hdop: 1.2,
        speed_m_s: 1.4,
        wild_every: 0,
    },
    Sky {
        name: "driving, radius stated",
        sigma_m: 8.0,
        states_radius: true,
        hdop: 1.5,
        speed_m_s: 25.0,
        wild_every: 0,
    },
    Sky {
        name: "open sky, dilution only",
        sigma_m: 5.0,
        states_radius: false,
        hdop: 0.9,
        speed_m_s: 0.0,
        wild_every: 0,
    },
    Sky {
        name: "narrow street, dilution only",
        sigma_m: 18.0,
        states_radius: false,
        hdop: 3.2,
        speed_m_s: 1.4,
        wild_every: 0,
    },
    Sky {
        name: "multipath, radius stated",
        sigma_m: 5.0,
        states_radius: true,
        hdop: 1.2,
        speed_m_s: 0.0,
        wild_every: 20,
    },
];

fn truth(sky: &Sky, second: u64) -> Place {
    let start = Place::from([52.516_27, 13.377_70]);
    start.moved(sky.speed_m_s * second as f64, 0.0)
}

fn reading(sky: &Sky, seed: u64, second: u64) -> Reading {
    let wild = sky.wild_every > 0 && (seed * 7 + second).is_multiple_of(sky.wild_every);
    let sigma = sky.sigma_m * if wild { 10.0 } else { 1.0 };
    let (east, north) = noise_m(seed, second, sigma);
    let place = truth(sky, second).moved(east, north);
    Reading {
        at: Duration::from_secs(second),
        time_unix_ms: Some(1_767_225_600_000 + i64::try_from(second).unwrap() * 1_000),
        latitude_deg: place.latitude_deg,
        longitude_deg: place.longitude_deg,
        radius_m: sky.states_radius.then_some(sky.sigma_m * CIRCLE_95),
        hdop: Some(sky.hdop),
        satellites: Some(8),
        altitude_m: None,
        speed_m_s: Some(sky.speed_m_s),
        course_deg: None,
    }
}

/// The fix of one attempt and the true place when it was measured.
fn attempt(sky: &Sky, seed: u64) -> (Position, Place) {
    let mut gate = Gate::new();
    for second in 0..10 {
        if let Verdict::Confirmed(fix) = gate.offer(reading(sky, seed, second)) {
            return (fix.position, truth(sky, second));
        }
    }
    let position = gate.best(Duration::from_secs(10)).unwrap().position;
    let measured = position.time_unix_ms.unwrap() - 1_767_225_600_000;
    (
        position,
        truth(sky, u64::try_from(measured / 1_000).unwrap()),
    )
}

fn error_m(position: &Position, truth: Place) -> f64 {
    let north = (f64::from(position.latitude_e7) * 1e-7 - truth.latitude_deg) * DEGREE_M;
    let east = (f64::from(position.longitude_e7) * 1e-7 - truth.longitude_deg) * DEGREE_M;
    north.hypot(east * truth.latitude_deg.to_radians().cos())
}

#[test]
fn the_stated_radius_holds_the_truth_in_95_of_100_fixes_under_every_sky() {
    let mut all = 0;
    for sky in &SKIES {
        let mut radii = 0.0;
        let held = (1..=ATTEMPTS)
            .filter(|seed| {
                let (position, truth) = attempt(sky, seed * 1_000_003);
                let radius = f64::from(position.accuracy_dm) / 10.0;
                radii += radius;
                error_m(&position, truth) <= radius
            })
            .count();
        let share = 100.0 * held as f64 / ATTEMPTS as f64;
        println!(
            "| {} | {held} of {ATTEMPTS} | {share:.1} % | {:.1} m |",
            sky.name,
            radii / ATTEMPTS as f64
        );
        assert!(share >= 95.0, "{}: {share} %", sky.name);
        all += held;
    }
    println!("| all | {all} of {} | |", ATTEMPTS * SKIES.len() as u64);
}
