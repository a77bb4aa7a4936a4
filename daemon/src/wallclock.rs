//! The time of day and whether it may be believed. It may refuse, never permit; durations are measured elsewhere.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homing_protocol::beacon::ClockTrust;

/// How far a simulated phone's clock is off, seconds.
static OFFSET_S: AtomicI64 = AtomicI64::new(0);

/// Sets a simulated phone's clock off by so many seconds.
pub fn simulate_offset(seconds: i64) {
    OFFSET_S.store(seconds, Ordering::Relaxed);
}

#[cfg(test)]
thread_local! {
    /// What this thread's clock says, seconds since 1970 UTC, and whether it may be believed: where a test sets it.
    pub(crate) static PRETENDED: std::cell::Cell<Option<(u64, ClockTrust)>> = const { std::cell::Cell::new(None) };
}

/// The wall clock, never before 1970.
#[must_use]
pub fn now() -> SystemTime {
    #[cfg(test)]
    if let Some((pretended, _)) = PRETENDED.get() {
        return UNIX_EPOCH + Duration::from_secs(pretended);
    }
    // This is the one place of the daemon that reads the time of day.
    let real = SystemTime::now();
    let offset = OFFSET_S.load(Ordering::Relaxed);
    let distance = Duration::from_secs(offset.unsigned_abs());
    let shifted = if offset < 0 {
        real.checked_sub(distance)
    } else {
        real.checked_add(distance)
    };
    shifted.unwrap_or(UNIX_EPOCH).max(UNIX_EPOCH)
}

/// The wall clock, seconds since 1970 UTC.
#[must_use]
pub fn unix_s() -> u64 {
    now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Whether the kernel says that its clock is synchronised. A simulated offset is never trusted.
#[must_use]
pub fn trust() -> ClockTrust {
    #[cfg(test)]
    if let Some((_, pretended)) = PRETENDED.get() {
        return pretended;
    }
    if OFFSET_S.load(Ordering::Relaxed) == 0 && homing_hal::linux::clock::is_synchronised() {
        ClockTrust::Synchronised
    } else {
        ClockTrust::Unset
    }
}
