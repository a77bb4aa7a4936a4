//! Where the simulated phone truly is, and what its receiver makes of that. Pure: time and seed come in as values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Metres in a degree of latitude on the mean sphere (π × 6,371,008.8 m / 180).
const METRES_PER_DEGREE: f64 = 111_195.08;

/// A place in degrees, north and east positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Place {
    /// Latitude, degrees.
    pub latitude_deg: f64,
    /// Longitude, degrees.
    pub longitude_deg: f64,
}

impl From<[f64; 2]> for Place {
    fn from([latitude_deg, longitude_deg]: [f64; 2]) -> Self {
        Self {
            latitude_deg,
            longitude_deg,
        }
    }
}

impl From<Place> for [f64; 2] {
    fn from(place: Place) -> Self {
        [place.latitude_deg, place.longitude_deg]
    }
}

impl Place {
    /// Whether it is on Earth.
    #[must_use]
    pub fn is_on_earth(&self) -> bool {
        (-90.0..=90.0).contains(&self.latitude_deg)
            && (-180.0..=180.0).contains(&self.longitude_deg)
    }

    /// The way to `other` as metres east and north on a plane, which is right for the kilometres of a track.
    fn way_to(&self, other: &Self) -> (f64, f64) {
        let north = (other.latitude_deg - self.latitude_deg) * METRES_PER_DEGREE;
        let shrink = self.latitude_deg.to_radians().cos();
        let turned = (other.longitude_deg - self.longitude_deg + 540.0).rem_euclid(360.0) - 180.0;
        (turned * METRES_PER_DEGREE * shrink, north)
    }

    /// The place this many metres east and north.
    #[must_use]
    pub fn moved(&self, east_m: f64, north_m: f64) -> Self {
        let shrink = self.latitude_deg.to_radians().cos().max(0.01);
        let longitude = self.longitude_deg + east_m / (METRES_PER_DEGREE * shrink);
        Self {
            latitude_deg: (self.latitude_deg + north_m / METRES_PER_DEGREE).clamp(-90.0, 90.0),
            longitude_deg: (longitude + 540.0).rem_euclid(360.0) - 180.0,
        }
    }
}

/// What happens at the end of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// The phone stays at the last point.
    #[default]
    Once,
    /// The phone goes on straight to the first point and around again.
    Loop,
}

/// Straight lines from point to point at one speed; a single point is a phone at rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// At least one point.
    points: Vec<Place>,
    speed_m_s: f64,
    repeat: Repeat,
}

/// Place and movement at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    /// The true place.
    pub place: Place,
    /// Speed over ground, m/s.
    pub speed_m_s: f64,
    /// Course, degrees from true north.
    pub course_deg: f64,
}

impl Track {
    /// A phone that lies still.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Self {
            points: vec![place],
            speed_m_s: 0.0,
            repeat: Repeat::Once,
        }
    }

    /// A phone that moves along `points`.
    ///
    /// # Errors
    /// A sentence, when there are no points, one is not on Earth, or the speed (m/s) is not a positive number.
    pub fn along(points: Vec<Place>, speed_m_s: f64, repeat: Repeat) -> Result<Self, String> {
        if points.is_empty() {
            return Err("a track needs at least one point".into());
        }
        if !points.iter().all(Place::is_on_earth) {
            return Err(
                "a point of the track is not on Earth: latitude −90…90, longitude −180…180".into(),
            );
        }
        if !(speed_m_s.is_finite() && speed_m_s > 0.0) {
            return Err("the speed must be a positive number of metres per second".into());
        }
        Ok(Self {
            points,
            speed_m_s,
            repeat,
        })
    }

    /// Where the phone is, this long after it set out.
    #[must_use]
    pub fn after(&self, elapsed: Duration) -> Motion {
        let count = self.points.len();
        let legs = match self.repeat {
            Repeat::Once => count - 1,
            Repeat::Loop => count,
        };
        let leg = |index: usize| {
            Some((
                self.points.get(index)?,
                self.points.get((index + 1) % count)?,
            ))
        };
        let length = |index| {
            leg(index).map_or(0.0, |(from, to)| {
                let (east, north) = from.way_to(to);
                east.hypot(north)
            })
        };
        let total: f64 = (0..legs).map(length).sum();
        let mut left = self.speed_m_s * elapsed.as_secs_f64();
        if self.repeat == Repeat::Loop && total > 0.0 {
            left %= total;
        }
        for index in 0..legs {
            let (Some((from, to)), metres) = (leg(index), length(index)) else {
                break;
            };
            if left < metres {
                let (east, north) = from.way_to(to);
                return Motion {
                    place: from.moved(east * left / metres, north * left / metres),
                    speed_m_s: self.speed_m_s,
                    course_deg: east.atan2(north).to_degrees().rem_euclid(360.0),
                };
            }
            left -= metres;
        }
        Motion {
            place: self
                .points
                .last()
                .copied()
                .unwrap_or(Place::from([0.0, 0.0])),
            speed_m_s: 0.0,
            course_deg: 0.0,
        }
    }
}

/// The receiver's error at one second, metres east and north: normal with standard deviation `sigma_m` on each axis, the same for the same seed and second.
#[must_use]
pub fn noise_m(seed: u64, second: u64, sigma_m: f64) -> (f64, f64) {
    let unit = |salt: u64| {
        let bits = mixed(seed ^ mixed(second.wrapping_mul(2).wrapping_add(salt)));
        // The upper 32 bits as a fraction in (0, 1).
        (f64::from(u32::try_from(bits >> 32).unwrap_or(0)) + 0.5) / 4_294_967_296.0
    };
    // Box and Muller's transform of two uniform numbers into two normal ones.
    let radius = (-2.0 * unit(0).ln()).sqrt() * sigma_m;
    let (sin, cos) = (std::f64::consts::TAU * unit(1)).sin_cos();
    (radius * cos, radius * sin)
}

/// Steele, Lea and Flood's SplitMix64 output function (OOPSLA 2014).
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square() -> Vec<Place> {
        [[0.0, 0.0], [0.0, 0.01], [0.01, 0.01], [0.01, 0.0]]
            .map(Place::from)
            .to_vec()
    }

    #[test]
    fn a_phone_walks_from_point_to_point_and_stays_at_the_last() {
        let track = Track::along(square(), METRES_PER_DEGREE / 100.0, Repeat::Once).unwrap();
        let half = track.after(Duration::from_millis(500));
        assert!((half.place.longitude_deg - 0.005).abs() < 1e-9);
        assert!((half.course_deg - 90.0).abs() < 1e-6);
        let end = track.after(Duration::from_secs(60));
        assert_eq!(end.place, Place::from([0.01, 0.0]));
        assert!(end.speed_m_s == 0.0);
    }

    #[test]
    fn a_loop_comes_around_again() {
        let track = Track::along(square(), 50.0, Repeat::Loop).unwrap();
        let metres = 4.0 * METRES_PER_DEGREE / 100.0;
        let around = track.after(Duration::from_secs_f64(metres / 50.0 * 10.0 + 1.0));
        assert!(around.place.longitude_deg > 0.0003 && around.place.latitude_deg < 0.0001);
    }

    #[test]
    fn noise_is_seeded_and_as_wide_as_it_says() {
        assert_eq!(noise_m(7, 3, 4.0), noise_m(7, 3, 4.0));
        assert_ne!(noise_m(7, 3, 4.0), noise_m(8, 3, 4.0));
        let inside = (0..10_000)
            .filter(|second| {
                let (east, north) = noise_m(1, *second, 4.0);
                east.hypot(north) <= 2.448 * 4.0
            })
            .count();
        assert!(
            (9_400..9_600).contains(&inside),
            "{inside} of 10,000 within the 95 % radius"
        );
    }

    #[test]
    fn a_track_without_points_speed_or_earth_is_refused() {
        assert!(Track::along(vec![], 1.0, Repeat::Once).is_err());
        assert!(Track::along(square(), 0.0, Repeat::Once).is_err());
        assert!(Track::along(square(), f64::NAN, Repeat::Once).is_err());
        assert!(Track::along(vec![Place::from([91.0, 0.0])], 1.0, Repeat::Once).is_err());
    }
}
