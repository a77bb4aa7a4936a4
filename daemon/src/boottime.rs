//! The clock that counts from the start of the phone and goes on while it sleeps; it must not be mistaken for the time of day.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::error::Error;

/// How many times faster than the kernel's a simulated phone's clock goes.
static RATE: AtomicU32 = AtomicU32::new(1);

/// Lets a simulated phone's clock go so many times faster, at least once, in this process.
pub fn simulate_rate(times: u32) {
    RATE.store(times.max(1), Ordering::Relaxed);
}

/// A moment of [`now`] as the kernel counts it.
#[must_use]
pub fn to_kernel(moment: Duration) -> Duration {
    moment / RATE.load(Ordering::Relaxed)
}

/// Time since the phone started, sleep included (`CLOCK_BOOTTIME`).
///
/// # Errors
/// [`Error::Kernel`] when the kernel has no such clock (it has had one since 2.6.39).
pub fn now() -> Result<Duration, Error> {
    #[cfg(test)]
    if let Some(pretended) = PRETENDED.get() {
        return Ok(pretended);
    }
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(|time| Duration::from(time) * RATE.load(Ordering::Relaxed))
        .map_err(|errno| Error::Kernel {
            doing: "read the clock since boot",
            source: io::Error::from(errno),
        })
}

#[cfg(test)]
thread_local! {
    /// What this thread's clock says, where a test lets time pass by itself.
    pub(crate) static PRETENDED: std::cell::Cell<Option<Duration>> = const { std::cell::Cell::new(None) };
}

/// [`now`] in whole milliseconds, as the siren's files carry it.
///
/// # Errors
/// As [`now`].
pub fn now_ms() -> Result<u64, Error> {
    // 584 million years fit.
    Ok(u64::try_from(now()?.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_since_boot_never_goes_back() {
        let first = now_ms().unwrap();
        assert!(first > 0);
        assert!(now_ms().unwrap() >= first);
    }
}
