//! Whether this machine has slept: connections that seem to stand then lead nowhere. Asks the two clocks and does nothing about it.
use crate::error::Error;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Shorter sleeps are survived by a connection.
const LEAST: Duration = Duration::from_secs(5);

/// How far the clock that goes on in sleep is ahead of the one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sleep {
    ahead: Duration,
}

impl Sleep {
    /// From now on.
    pub(crate) fn watch() -> Result<Self, Error> {
        Ok(Self { ahead: ahead()? })
    }

    /// Whether the machine has slept since this was last asked.
    pub(crate) fn is_over(&mut self) -> Result<bool, Error> {
        let now = ahead()?;
        Ok(self.was_over(now))
    }

    fn was_over(&mut self, ahead: Duration) -> bool {
        let slept = ahead.saturating_sub(self.ahead);
        self.ahead = ahead;
        slept >= LEAST
    }
}

/// `CLOCK_BOOTTIME` counts sleep, `CLOCK_MONOTONIC` does not (clock_gettime(2)); neither is ever set.
fn ahead() -> Result<Duration, Error> {
    let read = |clock| {
        clock_gettime(clock)
            .map(Duration::from)
            .map_err(|errno| Error::Clock(errno.into()))
    };
    // In this order, so that being interrupted in between looks like no sleep at all.
    let boot = read(ClockId::CLOCK_BOOTTIME)?;
    Ok(boot.saturating_sub(read(ClockId::CLOCK_MONOTONIC)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_told_once_and_being_awake_is_none() {
        let at = Duration::from_secs;
        let mut sleep = Sleep { ahead: at(100) };
        for (ahead, over) in [
            (at(100), false),
            (at(104), false),
            (at(109), true),
            (at(109), false),
            (at(4_000), true),
            (at(3_999), false),
        ] {
            assert_eq!(sleep.was_over(ahead), over, "{ahead:?}");
        }
        let mut awake = Sleep::watch().expect("clocks");
        assert!(!awake.is_over().expect("clocks"));
    }
}
