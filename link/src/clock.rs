//! The time by which the broker's certificate is judged. It must not be used for anything that a sender could gain from.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{pki_types::UnixTime, time_provider::TimeProvider};

/// When this source was last released, seconds since 1970 (2026-11-22 00:00 UTC). Raised at each release; a build
/// that sets `SOURCE_DATE_EPOCH` (reproducible-builds.org) overrides it, so that no build reads the clock.
const RELEASED_UNIX_S: u64 = 1_795_305_600;

/// The moment this program cannot have existed before.
#[must_use]
pub fn build_time() -> SystemTime {
    let stated = option_env!("SOURCE_DATE_EPOCH")
        .and_then(|text| text.parse().ok())
        .unwrap_or(RELEASED_UNIX_S);
    UNIX_EPOCH + Duration::from_secs(stated)
}

/// The earliest time it can be now: the later of the build time and the last time that was written to disk by a
/// process which had seen it (`None` when there is none yet).
#[must_use]
pub fn floor(build_time: SystemTime, durable: Option<SystemTime>) -> SystemTime {
    durable.map_or(build_time, |durable| durable.max(build_time))
}

/// The verifier's clock: max(system clock, floor). A phone whose battery was empty boots in 1970 and must still
/// find its broker.
pub(crate) struct VerifierClock {
    pub(crate) system: fn() -> SystemTime,
    pub(crate) floor: SystemTime,
}

impl fmt::Debug for VerifierClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierClock")
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}

impl TimeProvider for VerifierClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = (self.system)().max(self.floor);
        now.duration_since(UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_at_1970_is_lifted_to_the_floor_and_a_right_one_is_kept() {
        let floor = floor(build_time(), None);
        let lifted = VerifierClock {
            system: || UNIX_EPOCH,
            floor,
        };
        let expected = floor
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        assert_eq!(
            lifted.current_time().map(|time| time.as_secs()),
            Some(expected)
        );
        let right = VerifierClock {
            system: || UNIX_EPOCH + Duration::from_secs(4_102_444_800),
            floor,
        };
        assert_eq!(
            right.current_time().map(|time| time.as_secs()),
            Some(4_102_444_800)
        );
    }

    #[test]
    fn the_durable_time_counts_only_when_it_is_later_than_the_build() {
        let later = build_time() + Duration::from_secs(1);
        assert_eq!(floor(build_time(), Some(later)), later);
        assert_eq!(floor(build_time(), Some(UNIX_EPOCH)), build_time());
    }
}
