//! What a movement history says and whether it can be true: distances, speeds, and jumps that no phone makes. Hides nothing, reads no clock.

use homing_protocol::measure::Position;

/// Speed between two positions that nothing on the ground or in an airliner explains, metres per second: 1,000 km/h.
pub const IMPOSSIBLE_M_S: f64 = 1_000.0 / 3.6;
/// Mean radius of the Earth, metres (IUGG 1980, R1).
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// Time within which two positions count as of the same moment, seconds: receivers report at 1 Hz.
const SAME_MOMENT_S: f64 = 1.0;

/// Why a position cannot be true together with the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Getting there would have taken more than 1,000 km/h, both radii given away.
    TooFast,
    /// Two places at one moment whose radii do not meet.
    Elsewhere,
}

impl Doubt {
    /// The word printed and written to files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooFast => "impossible-speed",
            Self::Elsewhere => "contradicts-accuracy",
        }
    }
}

/// Distance between two positions along the surface, metres (haversine on a sphere, at worst 0.5 % wrong).
#[must_use]
pub fn distance_m(a: &Position, b: &Position) -> f64 {
    let radians = |e7: i32| (f64::from(e7) * 1e-7).to_radians();
    let (south, north) = (radians(a.latitude_e7), radians(b.latitude_e7));
    let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
    let east = half(radians(a.longitude_e7), radians(b.longitude_e7));
    let square = half(south, north) + south.cos() * north.cos() * east;
    2.0 * EARTH_RADIUS_M * square.sqrt().min(1.0).asin()
}

/// Whether `next` cannot follow `before`; nothing is said of positions without a time.
fn doubt(before: &Position, next: &Position) -> Option<Doubt> {
    let radii = (f64::from(before.accuracy_dm) + f64::from(next.accuracy_dm)) / 10.0;
    let least = distance_m(before, next) - radii;
    if least <= 0.0 {
        return None;
    }
    let ms = next.time_unix_ms?.checked_sub(before.time_unix_ms?)?;
    // Forty years of milliseconds are exact.
    #[expect(
        clippy::cast_precision_loss,
        reason = "times of a history lie within 2^52 ms of each other"
    )]
    let seconds = (ms as f64 / 1_000.0).abs();
    if seconds < SAME_MOMENT_S {
        // A second at the highest speed is still a place that can be reached.
        (least > IMPOSSIBLE_M_S).then_some(Doubt::Elsewhere)
    } else {
        (least / seconds > IMPOSSIBLE_M_S).then_some(Doubt::TooFast)
    }
}

/// What is doubtful about each position, in the order of their numbers.
///
/// A position is held against the last one that was not in doubt. One that is in doubt, but that the next one confirms,
/// is where the phone is from then on: the jump is marked once, not everything after it.
#[must_use]
pub fn doubts<'a>(positions: impl IntoIterator<Item = &'a Position>) -> Vec<Option<Doubt>> {
    let mut believed: Option<&Position> = None;
    let mut suspected: Option<&Position> = None;
    let judge = |position: &'a Position| {
        let found = believed.and_then(|before| doubt(before, position));
        let confirms =
            found.is_some() && suspected.is_some_and(|other| doubt(other, position).is_none());
        if found.is_none() || confirms {
            believed = Some(position);
            suspected = None;
            return None;
        }
        suspected = Some(position);
        found
    };
    positions.into_iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use homing_protocol::measure::PositionSource;

    /// So many metres north of a place and so many seconds after a moment.
    fn at(metres: i32, seconds: i64) -> Position {
        Position {
            time_unix_ms: Some(1_767_225_600_000 + seconds * 1_000),
            latitude_e7: 525_000_000 + metres * 90,
            longitude_e7: 133_000_000,
            accuracy_dm: 100,
            altitude_dm: None,
            speed_cm_s: None,
            course_cdeg: None,
            source: PositionSource::Gnss,
            age_s: 0,
        }
    }

    #[test]
    fn distances_agree_with_known_ones() {
        let place = |latitude_e7, longitude_e7| Position {
            latitude_e7,
            longitude_e7,
            ..at(0, 0)
        };
        for (a, b, metres) in [
            // A quarter of a meridian, a degree at the equator over the date line, Berlin to Munich.
            (place(0, 0), place(900_000_000, 0), 10_007_557.0),
            (place(0, 1_795_000_000), place(0, -1_795_000_000), 111_195.0),
            (
                place(525_200_000, 134_050_000),
                place(481_351_000, 115_820_000),
                504_400.0,
            ),
        ] {
            let found = distance_m(&a, &b);
            assert!((found - metres).abs() < metres * 0.002, "{found} {metres}");
        }
    }

    #[test]
    fn a_jump_is_marked_and_what_follows_it_is_not() {
        let minute = 60;
        for (track, expected) in [
            // A car, an airliner, a phone at rest.
            (
                vec![at(0, 0), at(2_000, minute), at(18_000, 2 * minute)],
                vec![None, None, None],
            ),
            // One wild reading.
            (
                vec![
                    at(0, 0),
                    at(900_000, minute),
                    at(100, 2 * minute),
                    at(200, 3 * minute),
                ],
                vec![None, Some(Doubt::TooFast), None, None],
            ),
            // A real leap (a receiver that was wrong before, or a phone that was spoofed): marked once.
            (
                vec![
                    at(0, 0),
                    at(900_000, minute),
                    at(900_100, 2 * minute),
                    at(900_200, 3 * minute),
                ],
                vec![None, Some(Doubt::TooFast), None, None],
            ),
            // One moment, two places.
            (
                vec![at(0, 0), at(5_000, 0)],
                vec![None, Some(Doubt::Elsewhere)],
            ),
            // Backwards in time is no excuse.
            (
                vec![at(0, minute), at(900_000, 0)],
                vec![None, Some(Doubt::TooFast)],
            ),
        ] {
            assert_eq!(doubts(&track), expected);
        }
    }

    #[test]
    fn wide_radii_and_unknown_times_raise_no_doubt() {
        let vague = Position {
            accuracy_dm: 9_100_000,
            ..at(900_000, 1)
        };
        let timeless = Position {
            time_unix_ms: None,
            ..at(900_000, 1)
        };
        assert_eq!(doubts(&[at(0, 0), vague]), [None, None]);
        assert_eq!(doubts(&[at(0, 0), timeless]), [None, None]);
    }
}
