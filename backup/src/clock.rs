//! The archive's notion of now, and what speaks against it. The only place of this crate that reads the system clock; everybody else is handed one.

use crate::error::{Error, Result};
use crate::timestamp::Timestamp;

/// Two right clocks differ by less.
const DIFFERENCE_SECONDS: i64 = 10 * 60;
/// What is later than now by more than this was made under a clock that was ahead, or ours is behind; less is two clocks that
/// differ, or a zone taken for another.
pub(crate) const AHEAD_SECONDS: i64 = 86_400;
/// After so long without anything new it is asked whether the clock is right, before anything is removed.
const IDLE_SECONDS: i64 = 366 * 86_400;

/// Whether a clock that is contradicted is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// No: nothing is removed then.
    Check,
    /// Yes: a person looked at it.
    Believe,
}

/// Compares the clock with that of a store, if it tells.
pub(crate) fn agrees(now: Timestamp, store: Option<Timestamp>) -> Result<()> {
    match store {
        Some(store) if now.seconds_since(store).abs() > DIFFERENCE_SECONDS => Err(doubtful(
            now,
            format!("that of the repository says {store}"),
        )),
        _ => Ok(()),
    }
}

/// Compares the clock with the newest time that stands in a repository.
pub(crate) fn fits(now: Timestamp, newest: Option<Timestamp>) -> Result<()> {
    let Some(newest) = newest else {
        return Ok(());
    };
    let age = now.seconds_since(newest);
    if age < -AHEAD_SECONDS {
        Err(doubtful(
            now,
            format!("something in the repository is of {newest}"),
        ))
    } else if age > IDLE_SECONDS {
        Err(doubtful(
            now,
            format!("nothing in the repository is newer than {newest}"),
        ))
    } else {
        Ok(())
    }
}

fn doubtful(now: Timestamp, why: String) -> Error {
    Error::ClockDoubtful {
        now: now.to_string(),
        why,
    }
}

/// Somebody who knows what time it is.
pub trait Clock {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Timestamp::new(now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}

/// A clock that stands still.
#[derive(Clone, Copy, Debug)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}
