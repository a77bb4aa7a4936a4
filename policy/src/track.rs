//! The times of the movement history: how long until the next position, by movement and battery. Pure arithmetic; it must not read a clock.

use crate::event::Now;
use crate::record::Place;
use crate::state::State;
use homing_protocol::measure::{Battery, Charging, Position};

/// Positions kept on the phone, whatever was confirmed (protocol v1).
pub const MOST_REPORTS: u64 = 10_000;
/// Below this charge positions are taken half as often, percent.
pub const LOW_BATTERY_PERCENT: u8 = 30;
/// How far the battery must rise above the last gasp's mark before there may be another one, percent points: a charge
/// that flickers around the mark must not cost a search each time.
pub const GASP_HYSTERESIS_PERCENT: u8 = 5;
/// Speed that counts as moving, centimetres per second: a slow walk; below it lies the noise of a receiver at rest.
const WALKING_CM_S: u32 = 100;
/// Least distance that counts as moving, metres, when both radii are small: about the width of a building.
const LEAST_MOVE_M: f64 = 50.0;
/// Metres in 10⁻⁷ degrees of latitude: the meridian is 40,007,863 m long (WGS 84).
const METRES_PER_E7: f64 = 40_007_863.0 / 3.6e9;

/// What was agreed and configured about the movement history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackSettings {
    /// The retention that was consented to, days; 0 means that no history is kept, and none is made.
    pub retention_days: u16,
    /// Time between two positions of a phone that moves, seconds.
    pub moving_s: u32,
    /// Time between two positions of a phone that lies still, seconds.
    pub stationary_s: u32,
    /// Charge at which one last position is taken, percent; 0 for never.
    pub last_gasp_percent: u8,
}

impl TrackSettings {
    /// Whether there is a movement history at all.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.retention_days > 0
    }
}

impl Place {
    /// Whether a position shows that the phone has left: by its speed, or by a distance that the two radii do not explain.
    #[must_use]
    pub fn is_left_by(&self, position: &Position) -> bool {
        if position
            .speed_cm_s
            .is_some_and(|speed| speed >= WALKING_CM_S)
        {
            return true;
        }
        let north = f64::from(position.latitude_e7) - f64::from(self.latitude_e7);
        let mut east = (f64::from(position.longitude_e7) - f64::from(self.longitude_e7)).abs();
        // Across the date line the short way counts.
        if east > 1.8e9 {
            east = 3.6e9 - east;
        }
        let shrink = (f64::from(self.latitude_e7) * 1e-7).to_radians().cos();
        let distance = (north * METRES_PER_E7).hypot(east * METRES_PER_E7 * shrink);
        let radii = f64::from(self.accuracy_dm) / 10.0 + f64::from(position.accuracy_dm) / 10.0;
        distance > radii.max(LEAST_MOVE_M)
    }
}

const fn is_discharging(battery: Battery) -> bool {
    !matches!(battery.charging, Charging::Charging | Charging::Full)
}

/// Time between two positions, milliseconds: a phone that moves, whose movement is not known yet, or that rings counts as moving.
#[must_use]
pub fn interval_ms(state: &State, settings: &TrackSettings, battery: Battery) -> u64 {
    let moving = state.place.as_ref().is_none_or(|place| place.moving);
    // A phone that its owner has declared lost is looked for.
    let wanted = state.open_ring().is_some() || state.open_lost().is_some();
    let seconds = if moving || wanted {
        settings.moving_s
    } else {
        settings.stationary_s
    };
    let low = is_discharging(battery)
        && battery
            .percent
            .is_some_and(|percent| percent < LOW_BATTERY_PERCENT);
    u64::from(seconds) * 1_000 * if low { 2 } else { 1 }
}

/// How long until the next position is due, milliseconds; 0 when it is, `None` when there is no history.
#[must_use]
pub fn due_in_ms(
    state: &State,
    now: &Now,
    settings: &TrackSettings,
    battery: Battery,
) -> Option<u64> {
    if !settings.is_kept() {
        return None;
    }
    let searched = state.track_search;
    let placed = state
        .place
        .as_ref()
        .map(|place| (place.boot, place.boottime_ms));
    // Times of another start say nothing about now: after one, a position is due.
    let newest = [searched, placed]
        .into_iter()
        .flatten()
        .filter(|(boot, _)| *boot == now.boot)
        .map(|(_, at)| at)
        .max();
    let Some(newest) = newest else { return Some(0) };
    let since = now.boottime_ms.saturating_sub(newest);
    Some(interval_ms(state, settings, battery).saturating_sub(since))
}

/// Whether it is time for the one last position before the phone switches itself off.
#[must_use]
pub fn is_gasp_due(state: &State, settings: &TrackSettings, battery: Battery) -> bool {
    settings.is_kept()
        && !state.gasped
        && is_discharging(battery)
        && battery
            .percent
            .is_some_and(|percent| percent <= settings.last_gasp_percent)
        && settings.last_gasp_percent > 0
}

pub(crate) fn is_recovered(settings: &TrackSettings, battery: Battery) -> bool {
    let mark = settings
        .last_gasp_percent
        .saturating_add(GASP_HYSTERESIS_PERCENT);
    battery.percent.is_some_and(|percent| percent > mark)
}
