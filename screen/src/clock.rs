//! The wall clock for the screen: hour and minute in the phone's time zone, where the clock can be believed at all.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tz::TimeZone;

/// A clock in the phone's time zone.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
}

impl Clock {
    /// Reads the time zone from a system's `/etc`; UTC without one.
    #[must_use]
    pub fn of_system(etc: &Path) -> Self {
        let data = std::fs::read(etc.join("localtime"));
        let zone = data
            .ok()
            .and_then(|data| TimeZone::from_tz_data(&data).ok());
        Self {
            zone: zone.unwrap_or_else(TimeZone::utc),
        }
    }

    /// Hour and minute at a time, seconds since 1970; none before `not_before`: a phone whose battery was empty begins in 1970.
    #[must_use]
    pub fn read(&self, unix_s: i64, not_before: i64) -> Option<(u8, u8)> {
        if unix_s < not_before {
            return None;
        }
        let kind = self.zone.find_local_time_type(unix_s).ok()?;
        let local = unix_s + i64::from(kind.ut_offset());
        let minute = local.div_euclid(60).rem_euclid(24 * 60);
        Some((
            u8::try_from(minute / 60).ok()?,
            u8::try_from(minute % 60).ok()?,
        ))
    }
}

/// Since 1970, by the system's clock.
#[must_use]
pub fn now() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default()
}

/// How long until the minute changes.
#[must_use]
pub fn until_next_minute(now: Duration) -> Duration {
    let into = Duration::new(now.as_secs() % 60, now.subsec_nanos());
    Duration::from_secs(60) - into
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_tells_hour_and_minute_and_nothing_where_it_is_before_the_episode() {
        let clock = Clock::of_system(Path::new("/nowhere"));
        assert_eq!(clock.read(1_800_000_000, 1_700_000_000), Some((8, 0)));
        assert_eq!(clock.read(5, 1_700_000_000), None);
    }

    #[test]
    fn a_minute_has_sixty_seconds_left_when_it_begins() {
        assert_eq!(
            until_next_minute(Duration::from_secs(120)),
            Duration::from_secs(60)
        );
        assert_eq!(
            until_next_minute(Duration::from_millis(179_500)),
            Duration::from_millis(500)
        );
    }
}
